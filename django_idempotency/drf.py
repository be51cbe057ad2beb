"""What is special to Django REST framework. The only module that imports it."""

from __future__ import annotations

from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, RawPostDataException
from django.http.response import HttpResponseBase
from rest_framework.exceptions import APIException, UnsupportedMediaType
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.request import Empty, Request
from rest_framework.response import Response
from rest_framework.views import APIView

from . import bodies
from .core import fingerprints
from .core.engine import Snapshot
from .core.policies import Policy
from .exceptions import BodyInvalid, BodyTooLarge, IdempotencyError, ScopeUnavailable
from .http import STATUSES, Exchange, logger
from .stored_requests import Body


class DRFExchange(Exchange):
    """A request inside a DRF view: authenticated, permitted and throttled already."""

    def __init__(self, request: Request, policy: Policy) -> None:
        super().__init__(request._request, policy)
        self.request = request
        self.view: APIView = request.parser_context["view"]

    def scope(self) -> str:
        scope = super().scope()
        told = self.policy.scope is not None or self.policy.key is not None
        if scope == "anonymous" and not told and self.request.auth is not None:
            logger.error("This request is authenticated by request.auth alone: SCOPE must tell whose its keys are.")
            raise ScopeUnavailable
        return scope

    def answers(self) -> tuple[type[Exception], ...]:
        return (*super().answers(), APIException)

    def version(self) -> str:
        return str(self.request.version or "")

    def form_values(self) -> list[Any]:
        media = bodies.media_type(self.http)
        if media not in bodies.FORMS:
            return []
        bodies.refuse_too_large(self.http, self.policy)
        with bodies.reading():
            if media == bodies.FORMS[0]:
                self._bytes(media)  # before it is parsed, so that the fingerprint may have the bytes
            parsed = self._parse()
        return [] if parsed is None else dict(_lists(parsed[0])).get(bodies.KEY_FIELD, [])

    def body_part(self, key: str = "") -> bodies.Parts:
        if callable(self.policy.fingerprint):
            return super().body_part()
        bodies.refuse_too_large(self.http, self.policy)
        with bodies.reading():
            return self._body_part(bodies.media_type(self.http), key)

    def _body_part(self, media: str, key: str) -> bodies.Parts:
        if media == bodies.FORMS[1]:
            return bodies.form_part(bodies.without_key(_lists(self.request.data), key))
        body = self._bytes(media)
        if body is None:
            return self._parsed_part(key)
        # After the bytes, so that the view may have both. What DRF cannot parse is DRF's own error, before any claim.
        if bodies.is_json(media) and body and self._parse() is not None and not self.request.FILES:
            return self._json_part(body)
        return bodies.bytes_part(self.http, bodies.without_pair(self.http, body, key))

    def _json_part(self, body: bytes) -> bodies.Parts:
        try:
            return bodies.json_part(self.http, body, self.policy)
        except BodyInvalid:
            return self._parsed_part()  # in another charset, say: DRF could read it

    def _bytes(self, media: str) -> bytes | None:
        """The body as it came; None where it was read already or is too large to be held in memory."""
        if not bodies.fits_memory(self.http):
            if bodies.is_json(media):
                raise BodyTooLarge
            return None
        try:
            return bodies.bounded(self.http.body, self.policy)
        except RawPostDataException:
            return None

    def _parse(self) -> Any:
        try:
            return (self.request.data,)
        except UnsupportedMediaType:
            return None

    def _parsed_part(self, key: str = "") -> bodies.Parts:
        """What DRF made of a body whose bytes are gone: read before us, or streamed into a file."""
        data = self.request.data
        if isinstance(data, bytes | str):
            return bodies.bytes_part(
                self.http, data if isinstance(data, bytes) else data.encode(errors="surrogatepass")
            )
        if hasattr(data, "lists") or any(hasattr(value, "chunks") for value in getattr(data, "values", list)()):
            return bodies.form_part(bodies.without_key(_lists(data), key))
        ignored = self.policy.fingerprint
        try:
            parsed = fingerprints.canonical(data, () if callable(ignored) else ignored)
        except (TypeError, ValueError, RecursionError) as exc:
            raise ImproperlyConfigured("The parsed body has no canonical form: give idempotent a FINGERPRINT.") from exc
        return (*bodies.json_kind(self.http), parsed)

    def read_body(self) -> Body:
        found = super().read_body()
        if found.known or self.request._full_data is Empty:
            return found
        data = self.request.data
        return Body(fields=_lists(data)) if hasattr(data, "lists") else Body(parsed=data)

    def finish(self, response: HttpResponseBase) -> HttpResponseBase:
        """Apply the view's `finalize_response` and render, inside the transaction; DRF does neither again."""
        view: Any = self.view
        headers = dict(view.headers)
        final = view.finalize_response(self.request, response, *view.args, **view.kwargs)
        # DRF has taken Vary out of them; whatever answers in place of this one must have it.
        view.headers = headers
        if not isinstance(final, Response):
            return super().finish(final)
        if isinstance(final.accepted_renderer, BrowsableAPIRenderer):
            self._render_for_machines(final)
        rendered: HttpResponseBase = final.render()
        return rendered

    def _render_for_machines(self, response: Any) -> None:
        # A retry gets these bytes whatever it accepts, and the browsable page would carry forms and a CSRF token.
        plain = (r for r in self.view.get_renderers() if not isinstance(r, BrowsableAPIRenderer))
        renderer = next(plain, None)
        if renderer is not None:
            response.accepted_renderer = renderer
            response.accepted_media_type = renderer.media_type

    def final(self) -> None:
        self.view.finalize_response = _as_it_is  # type: ignore[method-assign]

    def thaw(self, snapshot: Snapshot) -> HttpResponse:
        self.final()
        return super().thaw(snapshot)

    def problem(self, error: IdempotencyError) -> HttpResponse:
        self.final()
        return super().problem(error)


def _as_it_is(request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
    return response


def _lists(data: Any) -> list[tuple[str, list[Any]]]:
    if hasattr(data, "lists"):
        return list(data.lists())
    return [(name, [value]) for name, value in data.items()]


def is_view(view: Any) -> bool:
    """Whether a callable leads into a DRF view as a whole: `as_view()`, `@api_view`, a bound `dispatch`."""
    bound = getattr(view, "func", view)
    cls = getattr(view, "cls", None)
    dispatches = isinstance(getattr(bound, "__self__", None), APIView) and bound.__name__ == "dispatch"
    return dispatches or (isinstance(cls, type) and issubclass(cls, APIView))


def is_request(argument: Any) -> bool:
    return isinstance(argument, Request)


def is_dispatch(args: tuple[Any, ...]) -> bool:
    """Whether a method's arguments are those of an APIView's `dispatch`: DRF's own request is not made yet."""
    return len(args) > 1 and isinstance(args[0], APIView) and isinstance(args[1], HttpRequest)


class IdempotencyAPIException(APIException):
    """An idempotency error on its way through DRF's EXCEPTION_HANDLER."""

    def __init__(self, error: IdempotencyError) -> None:
        self.status_code = STATUSES[error.code][0]
        super().__init__(error.detail, error.code)
        self.error = error
        # DRF's handler makes a Retry-After of it.
        if error.retry_after is not None:
            self.wait = error.retry_after


def raise_api_exception(request: Any, error: IdempotencyError) -> NoReturn:
    """For ERROR_RESPONSE: let DRF's EXCEPTION_HANDLER shape the answer. The error is the exception's `error`."""
    raise IdempotencyAPIException(error) from error
