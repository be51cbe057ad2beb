"""From an HTTP request to an operation, and from answers to snapshots and back. Plain Django; drf.py builds on it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch

from . import bodies, doors, on_behalf
from .core import fingerprints, keys
from .core.engine import Idempotency, Operation, Snapshot
from .core.policies import Policy
from .encryption import answer_body, sealed
from .exceptions import IdempotencyError, OutcomeUnknown, ScopeUnavailable
from .scopes import scope_of
from .stored_requests import Body, StoredParts, body_of, stored_path

logger = logging.getLogger("django_idempotency")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
STATUSES = {
    "key-missing": (400, "An idempotency key is required"),
    "key-invalid": (400, "The idempotency key is not valid"),
    "key-reused": (422, "The idempotency key belongs to another request"),
    "in-flight": (409, "The first request is still running"),
    "outcome-unknown": (409, "The outcome of the first request is unknown"),
    "key-expired": (412, "The answer to this request is no longer kept"),
    "body-invalid": (400, "The body cannot be read"),
    "body-too-large": (413, "The body is too large"),
    "scope-unavailable": (503, "The owner of the key cannot be told"),
    "too-many-keys": (429, "Too many idempotency keys are in use"),
    "store-unavailable": (503, "The store of idempotency keys is unavailable"),
    "retry-later": (503, "The operation goes on later"),
}
"""Code: status and title of the problem document (RFC 9457)."""

REPLAYED = frozenset(
    {"content-type", "content-encoding", "content-language", "content-disposition", "location", "link", "etag"}
)
# Belongs to one client or one connection, whatever a project allows (RFC 9110 7.6.1).
NEVER_REPLAYED = frozenset(
    {
        "set-cookie",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Exchange:
    """One request under a policy, and the answers to it."""

    def __init__(self, request: HttpRequest, policy: Policy) -> None:
        self.request: Any = request
        """What the view was called with."""
        self.http = request
        self.policy = policy

    def key(self) -> str | None:
        """The key of this request; None without one. Raises KeyInvalid, BodyInvalid and BodyTooLarge."""
        if self.policy.key:
            bodies.refuse_too_large(self.http, self.policy)
            return doors.from_callable(self.policy.key, self.request)
        header = self.header()
        if header is None:
            return doors.from_form(self.form_values(), self.policy)
        return doors.from_header(header, self.policy)

    def header(self) -> str | None:
        """The value of the key's header."""
        found: str | None = self.http.META.get("HTTP_" + self.policy.header.upper().replace("-", "_"))
        return found

    def form_values(self) -> list[Any]:
        """What a form has in the field for the key. Raises BodyInvalid and BodyTooLarge."""
        return bodies.form_values(self.http, self.policy)

    def operation(self, key: str, **terms: Any) -> Operation:
        """What is asked, by whom, and on which terms of a lease. Raises ScopeUnavailable, BodyInvalid and BodyTooLarge."""
        scope, policy = self.scope(), self.policy
        if policy.key:
            scope = doors.endpoint_scope(scope, self.http)
        path = self.http.get_full_path()
        stored = stored_path(path)
        return Operation(
            namespace=policy.namespace,
            scope=scope,
            key=key,
            id=keys.record_id(policy.namespace, scope, key),
            fingerprints=self.fingerprints(key),
            method=str(self.http.method),
            path=stored,
            retention=policy.retention,
            tombstone=policy.tombstone,
            max_live_keys=policy.max_live_keys,
            parts=StoredParts(self.request, self.http, policy, self.read_body, same_path=stored == path),
            **terms,
        )

    def scope(self) -> str:
        """Whose key it is. Raises ScopeUnavailable where the SCOPE callable does not say."""
        return scope_of(self.request, self.policy, answers=self.answers())

    def answers(self) -> tuple[type[Exception], ...]:
        """Exceptions that are an answer of the project's own."""
        return (PermissionDenied, Http404, ScopeUnavailable)

    def fingerprints(self, key: str) -> tuple[bytes, ...]:
        """The fingerprint under the current secret, then under those still honoured."""
        if self.policy.key:
            # Matched by key alone: a second delivery of an event may differ from the first, whatever the secret is.
            return (fingerprints.fingerprint("", (b"key alone",)),)
        asked = (str(self.http.method), self.http.get_full_path(), self.version())
        parts = [*(part.encode() for part in asked), *self.body_part(key)]
        secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return tuple(fingerprints.fingerprint(secret, parts) for secret in secrets)

    def version(self) -> str:
        """The version of the API that is asked for."""
        return ""

    def body_part(self, key: str = "") -> tuple[bytes, ...]:
        """The body's part, without the field that carries the key: a retry may send it in the header instead."""
        chosen = self.policy.fingerprint
        if not callable(chosen):
            return bodies.body_part(self.http, self.policy, key)
        part = chosen(self.request)
        if isinstance(part, str):
            return (b"own", part.encode(errors="surrogatepass"))
        if not isinstance(part, bytes):
            raise TypeError(f"FINGERPRINT must return text or bytes, not {type(part).__name__}.")
        return (b"own", part)

    def read_body(self) -> Body:
        """What the key and the fingerprint have read of the body."""
        return body_of(self.http)

    def authorize(self) -> None:
        """Raises PermissionDenied where the project's own check says so, on a replay too."""
        if self.policy.authorize and not self.policy.authorize(self.request):
            raise PermissionDenied

    def wait(self) -> float:
        """Seconds to wait for a running first request: as many as the client is ready to (RFC 7240), within the limit."""
        limit = self.policy.wait.total_seconds()
        if self.header() is None and not self.policy.key and bodies.media_type(self.http) in bodies.FORMS:
            return limit  # A form cannot say so, and whoever has clicked twice sees the second answer only.
        return min(limit, preferred_wait(self.http.headers.get("Prefer", ""))) if limit else 0

    def attach(self, operation: Operation | None, attempt: int = 1) -> None:
        """Give the view its `request.idempotency`."""
        if operation is None:
            found = Idempotency(key=None, id=None, attempt=attempt, seed=uuid4())
        else:
            found = Idempotency(key=operation.key, id=operation.id, attempt=attempt, seed=operation.id)
        self.http.idempotency = on_behalf.marked(found, self.http)  # type: ignore[attr-defined]

    def refuse_nested(self, operation: Operation) -> None:
        """Raises ImproperlyConfigured where the view of this very request is running further out."""
        if operation.id in getattr(self.http, "_idempotency_running", ()):
            raise ImproperlyConfigured(NESTED)

    @contextmanager
    def inside(self, operation: Operation | None, attempt: int = 1) -> Iterator[None]:
        """While the view runs: its `request.idempotency`, and a mark that tells what is decorated inside it from others."""
        outer: frozenset[UUID | None] = getattr(self.http, "_idempotency_running", frozenset())
        outers_own = getattr(self.http, "idempotency", None)
        self.attach(operation, attempt)
        self.http._idempotency_running = outer | {operation and operation.id}  # type: ignore[attr-defined]
        try:
            yield
        finally:
            self.http._idempotency_running = outer  # type: ignore[attr-defined]
            if outer:
                self.http.idempotency = outers_own  # type: ignore[attr-defined]

    def finish(self, response: HttpResponseBase) -> HttpResponseBase:
        """The view's answer in its final form, rendered."""
        if hasattr(response, "accepted_renderer"):
            raise ImproperlyConfigured(MISPLACED)
        render = getattr(response, "render", None)
        return render() if callable(render) else response

    def keeps(self, response: HttpResponseBase) -> bool:
        """Whether a returned answer is an outcome, to be given to every retry."""
        if self.policy.keep:
            return bool(self.policy.keep(self.request, response))
        return self.policy.keeps_status(response.status_code) and not _is_login(response)

    def freeze(self, response: HttpResponseBase) -> Snapshot:
        allowed = replayed_headers(tuple(self.policy.replay_headers))
        headers = tuple((name, value) for name, value in response.items() if name.lower() in allowed)
        body = None if response.streaming else bytes(response.content)  # type: ignore[attr-defined]
        if body is not None and len(body) > self.policy.max_response:
            body = None
        return Snapshot(response.status_code, headers, *sealed(body, self.policy.encryption_keys))

    def final(self) -> None:
        """The answer is in its final form: nothing may be made of it again."""

    def thaw(self, snapshot: Snapshot) -> HttpResponse:
        body = answer_body(snapshot.body, snapshot.key_id, self.policy.encryption_keys)
        response = HttpResponse(body or b"", status=snapshot.status)
        del response["Content-Type"]
        for name, value in snapshot.headers:
            response[name] = value
        if 300 <= snapshot.status < 400 and "Location" in response:
            response.url = response["Location"]  # type: ignore[attr-defined]  # as a redirect has it: tests follow it
        response[self.policy.replayed_header] = "true"
        response["Cache-Control"] = "no-store"
        if snapshot.body is None:
            response["Idempotent-Replay-Body"] = "omitted"
        return response

    def refuse(self, error: IdempotencyError) -> Any:
        """The answer to a request that is not served: the project's own, or a problem document."""
        if self.policy.error_response:
            return self.policy.error_response(self.request, error)
        return self.problem(error)

    def problem(self, error: IdempotencyError) -> HttpResponse:
        document = problem_document(error, self.policy.problem_types)
        response = JsonResponse(document, status=document["status"], content_type="application/problem+json")
        response["Link"] = f'<{document["type"]}>; rel="describedby"'
        response["Cache-Control"] = "no-store"
        if error.retry_after is not None:
            response["Retry-After"] = str(error.retry_after)
        return response


@cache
def replayed_headers(added: tuple[str, ...]) -> frozenset[str]:
    return (REPLAYED | {name.lower() for name in added}) - NEVER_REPLAYED


MISPLACED = (
    "idempotent is round a DRF view and would answer before authentication. Put it on the method that does the work:\n\n"
    "    class Payments(APIView):\n"
    "        @idempotent\n"
    "        def post(self, request): ...\n\n"
    "    @api_view(['POST'])\n"
    "    @idempotent\n"
    "    def pay(request): ...\n"
)

NESTED = (
    "This view is idempotent and calls another that is, with the same request: the inner one would always find the outer "
    "in flight. Decorate one of them; where super().post() is decorated already, the override needs no decorator."
)


def problem_document(error: IdempotencyError, prefix: str) -> dict[str, Any]:
    """The members of the problem document for an error."""
    status, title = STATUSES[error.code]
    document = {
        "type": prefix + error.code,
        "title": title,
        "status": status,
        "detail": error.detail,
        "code": error.code,
        "retryable": error.retryable,
    }
    if isinstance(error, OutcomeUnknown):
        document["operation"] = str(error.operation)
    return document


def preferred_wait(prefer: str) -> float:
    """The seconds of a `wait=N` in a Prefer header; 0 without one."""
    for preference in prefer.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait" and value.strip().isdecimal():
            return float(value.strip())
    return 0


def _is_login(response: HttpResponseBase) -> bool:
    if not 300 <= response.status_code < 400:
        return False
    try:
        login = resolve_url(settings.LOGIN_URL)
    except NoReverseMatch:
        return False
    return response.get("Location", "").partition("?")[0] == login.partition("?")[0]
