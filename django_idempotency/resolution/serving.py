"""
Serves a stored request as a server would: through all middleware and the view, in a thread of its own.

So nothing of it mixes with the request of the member of staff who asks for it: neither transactions nor what middleware
keeps for each thread, such as a tenant or a language.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIRequest
from django.core.signals import request_started
from django.db import connections, transaction
from django.http import HttpResponseBase
from django.urls import ResolverMatch, set_script_prefix
from django.utils.translation import gettext_lazy as _

from ..on_behalf import OnBehalf

ANOTHER_VIEW = _(
    "Another view answers this path under the host that the request was for: only its client can send it again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered. A body of None was streamed, or not stored."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    ran: bool = True
    """Whether the view has run for it; else it is the answer that was stored already."""
    kept: bool = False
    """Whether it is what every retry gets from now on."""
    left: str = ""
    """The state in which its record was left, if it was run and not kept; empty where its key is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request, ready to be sent."""

    environ: dict[str, Any] = field(repr=False)
    view: Any
    """Which has to answer it."""
    principal: Any
    auth: Any
    behalf: OnBehalf


def serve(prepared: Prepared) -> Answer:
    """What is answered to a request. Whether it has run, and what became of it, `prepared.behalf` says then."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_served, prepared).result()


def _served(prepared: Prepared) -> Answer:
    try:
        request_started.send(sender=_Handler, environ=prepared.environ)
        set_script_prefix(prepared.environ["SCRIPT_NAME"] + "/")
        with _taken_back() if prepared.behalf.dry_run else nullcontext():
            response = _Handler(prepared).get_response(_request(prepared))
            answer = answer_of(response)
        response.close()
        return answer
    finally:
        connections.close_all()


def answer_of(response: HttpResponseBase) -> Answer:
    body = None if response.streaming else bytes(response.content)  # type: ignore[attr-defined]
    return Answer(status=response.status_code, headers=tuple(response.items()), body=body)


@contextmanager
def _taken_back() -> Iterator[None]:
    """Transactions on all databases, which are rolled back whatever comes."""
    with ExitStack() as stack:
        for alias in connections:
            stack.enter_context(transaction.atomic(using=alias))
        yield
        for alias in connections:
            transaction.set_rollback(True, using=alias)


def _request(prepared: Prepared) -> WSGIRequest:
    request: Any = WSGIRequest(prepared.environ)
    request._idempotency_on_behalf = prepared.behalf
    # No browser has sent it, and so no page of somebody else's has made one send it.
    request._dont_enforce_csrf_checks = True
    # Where Django's own middleware, and Django REST framework, look before they ask a session or a token.
    request._cached_user = request._acached_user = prepared.principal
    if getattr(prepared.principal, "is_authenticated", True):
        request._force_auth_user, request._force_auth_token = prepared.principal, prepared.auth
    found: WSGIRequest = request
    return found


class _Handler(BaseHandler):
    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.load_middleware()

    def resolve_request(self, request: Any) -> ResolverMatch:
        """The view, once all middleware has had its say on who the user is; the last word is ours."""
        found: ResolverMatch = super().resolve_request(request)
        if found.func is not self.prepared.view:
            self.prepared.behalf.fault = ANOTHER_VIEW
            raise PermissionDenied
        request.user = self.prepared.principal
        return found
