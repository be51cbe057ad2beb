"""
A request that a member of staff sends on behalf of its client, on its way through the decorator like any other.

What it carries is set by resolution/ alone, on the request itself, where no client can put anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .core import fingerprints
from .core.engine import Idempotency, Operation, Outcome

if TYPE_CHECKING:
    from .core.policies import Policy

ANOTHER_KEY = _(
    "What is stored comes out as a request of another client or under another key. Somebody has changed it, or SCOPE, "
    "PRINCIPAL or NAMESPACE is another one now."
)
ANOTHER_REQUEST = _(
    "What is stored comes out as another request than the client's. Somebody has changed it, its view reads more of a "
    "request than is stored, or its secret is no longer among SECRET_KEY_FALLBACKS."
)
NOT_DRY = _("Its view is not marked with dry_run=True, so what it does cannot be taken back.")


@dataclass(slots=True, kw_only=True)
class OnBehalf:
    """What the decorator is to make sure of, and what it says of the request then."""

    by: str
    """Who sends it."""
    id: UUID
    """The record that it must come out as."""
    fingerprint: bytes
    """The request that it must come out as."""
    dry_run: bool = False
    reached: bool = False
    """Whether it has come to the decorator."""
    began: bool = False
    """Whether the work has begun: from then on, nobody may say that nothing was done."""
    fault: str | Promise = ""
    """Why the decorator has refused it."""
    outcome: Outcome | None = None
    """What became of it; None where the view raised, and after a dry run."""

    @property
    def admitted(self) -> bool:
        return self.reached and not self.fault


def of(http: HttpRequest) -> OnBehalf | None:
    """What a request carries; None for a client's."""
    found: OnBehalf | None = http.__dict__.get("_idempotency_on_behalf")
    return found


def refuse_changed(http: HttpRequest, operation: Operation, policy: Policy) -> None:
    """Raises PermissionDenied, before anything is claimed, where what staff sends is not the client's request."""
    found = of(http)
    if found is None or found.admitted:
        # What a view that was let in calls with its request has a key of its own.
        return
    found.reached = True
    found.fault = _fault(found, operation, policy)
    if found.fault:
        raise PermissionDenied


def _fault(found: OnBehalf, operation: Operation, policy: Policy) -> str | Promise:
    if operation.id != found.id:
        return ANOTHER_KEY
    if not fingerprints.same(found.fingerprint, operation.fingerprints):
        return ANOTHER_REQUEST
    return NOT_DRY if found.dry_run and not policy.dry_run else ""


def is_dry(http: HttpRequest) -> bool:
    found = of(http)
    return found is not None and found.dry_run


def begin(http: HttpRequest) -> None:
    """Let whoever sends it know that what it asks for is about to be done."""
    found = of(http)
    if found is not None:
        found.began = True


def tell(http: HttpRequest, outcome: Outcome) -> None:
    """Let whoever sends it know what became of it."""
    found = of(http)
    if found is not None:
        found.outcome = outcome


def marked(idempotency: Idempotency, http: HttpRequest) -> Idempotency:
    """
    A view's `request.idempotency`, which says who sends the request if that is not its client.

    Raises PermissionDenied where it would run without a key: then nothing keeps it from running twice.
    """
    found = of(http)
    if found is None:
        return idempotency
    if idempotency.id is None and not found.admitted:
        found.reached, found.fault = True, ANOTHER_KEY
        raise PermissionDenied
    begin(http)
    return replace(idempotency, replayed_by=found.by, dry_run=found.dry_run)
