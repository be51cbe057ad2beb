"""From an HTTP request to an operation, and from answers to snapshots and back. Plain Django; drf.py builds on it."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url

from .bodies import body_part
from .core import fingerprints, keys
from .core.engine import Idempotency, Operation, Snapshot
from .core.policies import Policy
from .exceptions import IdempotencyError, OutcomeUnknown, ScopeUnavailable

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
    "store-unavailable": (503, "The store of idempotency keys is unavailable"),
}
"""Code: status and title of the problem document (RFC 9457)."""

REPLAYED = frozenset(
    {
        "content-type",
        "content-encoding",
        "content-language",
        "content-disposition",
        "location",
        "link",
        "etag",
    }
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
        """The client's key; None without one. Raises KeyInvalid."""
        header = self.http.META.get("HTTP_" + self.policy.header.upper().replace("-", "_"))
        if header is None:
            return None
        rules = self.policy
        return keys.parse_key(
            header, strict=rules.strict_keys, min_length=rules.min_key_length, uuid_only=rules.uuid_keys
        )

    def operation(self, key: str) -> Operation:
        """What is asked, and by whom. Raises ScopeUnavailable, BodyInvalid and BodyTooLarge."""
        scope, policy = self.scope(), self.policy
        return Operation(
            namespace=policy.namespace,
            scope=scope,
            key=key,
            id=keys.record_id(policy.namespace, scope, key),
            fingerprints=self.fingerprints(),
            method=str(self.http.method),
            path=self.http.get_full_path(),
            retention=policy.retention,
            tombstone=policy.tombstone,
        )

    def scope(self) -> str:
        """Whose key it is. Raises ScopeUnavailable where the SCOPE callable does not say."""
        try:
            scope: Any = (self.policy.scope or default_scope)(self.request)
        except self.answers():
            raise
        except Exception as exc:
            logger.exception("The scope of an idempotency key could not be told.")
            raise ScopeUnavailable from exc
        if not isinstance(scope, str) or not scope or "\0" in scope or not scope.isprintable():
            logger.error("The scope of an idempotency key must be a text, not %r.", type(scope).__name__)
            raise ScopeUnavailable
        return str(scope)

    def answers(self) -> tuple[type[Exception], ...]:
        """Exceptions that are an answer of the project's own."""
        return (PermissionDenied, Http404, ScopeUnavailable)

    def fingerprints(self) -> tuple[bytes, ...]:
        """The fingerprint under the current secret, then under those still honoured."""
        asked = (str(self.http.method), self.http.get_full_path(), self.version())
        parts = [*(part.encode() for part in asked), *self.body_part()]
        secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return tuple(fingerprints.fingerprint(secret, parts) for secret in secrets)

    def version(self) -> str:
        """The version of the API that is asked for."""
        return ""

    def body_part(self) -> tuple[bytes, ...]:
        chosen = self.policy.fingerprint
        if not callable(chosen):
            return body_part(self.http, self.policy)
        part = chosen(self.request)
        if isinstance(part, str):
            return (b"own", part.encode(errors="surrogatepass"))
        if not isinstance(part, bytes):
            raise TypeError(f"FINGERPRINT must return text or bytes, not {type(part).__name__}.")
        return (b"own", part)

    def authorize(self) -> None:
        """Raises PermissionDenied where the project's own check says so, on a replay too."""
        if self.policy.authorize and not self.policy.authorize(self.request):
            raise PermissionDenied

    def wait(self) -> float:
        """Seconds that this client is ready to wait for a running first request (RFC 7240), within the limit."""
        limit = self.policy.wait.total_seconds()
        return min(limit, preferred_wait(self.http.headers.get("Prefer", ""))) if limit else 0

    def attach(self, operation: Operation | None, attempt: int = 1) -> None:
        """Give the view its `request.idempotency`."""
        if operation is None:
            found = Idempotency(key=None, id=None, attempt=attempt, seed=uuid4())
        else:
            found = Idempotency(key=operation.key, id=operation.id, attempt=attempt, seed=operation.id)
        self.http.idempotency = found  # type: ignore[attr-defined]

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
        return Snapshot(response.status_code, headers, body)

    def final(self) -> None:
        """The answer is in its final form: nothing may be made of it again."""

    def thaw(self, snapshot: Snapshot) -> HttpResponse:
        response = HttpResponse(snapshot.body or b"", status=snapshot.status)
        del response["Content-Type"]
        for name, value in snapshot.headers:
            response[name] = value
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


def default_scope(request: Any) -> str:
    """`user:<pk>`, `<app.model>:<pk>` for another kind of principal, `anonymous` without one."""
    user = getattr(request, "user", None)
    # A principal that says nothing about it is one: taken for anonymous, all merchants would share their keys.
    if user is None or not getattr(user, "is_authenticated", True):
        return "anonymous"
    if user.pk is None:
        raise ScopeUnavailable
    if isinstance(user, get_user_model()):
        return f"user:{user.pk}"
    meta, kind = getattr(user, "_meta", None), type(user)
    return f"{meta.label_lower if meta else f'{kind.__module__}.{kind.__qualname__}'}:{user.pk}"


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
    login = resolve_url(settings.LOGIN_URL)
    return response.get("Location", "").partition("?")[0] == login.partition("?")[0]
