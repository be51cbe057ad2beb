"""Records of unknown outcome: locked for the act that settles them, and completed by a person's word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from ..audit import Actor
from ..backends.db.dialects import Records
from ..backends.db.statements import headers_text
from ..core.acts import Act
from ..core.policies import Policy
from ..core.states import State
from ..encryption import sealed
from ..maintenance import CHOSEN, ago, records_in
from ..models import IdempotencyIncident
from ..operations.recovery import policy_of
from .acts import Asked, Row, done
from .grants import policies_of
from .refusals import Moved, NotFound, WrongState
from .routes import route

SETTLED = timedelta(days=1)
"""How long nothing may have been at work before it can be said that nothing happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A record whose outcome was unknown, and that is locked by our transaction."""

    records: Records
    row: Row
    """Its columns before."""
    policy: Policy
    evidence: str
    by: str
    after: dict[str, Any]
    """What the event says that it has come to."""

    @property
    def id(self) -> UUID:
        found: UUID = self.row["id"]
        return found

    def has_rested(self) -> bool:
        """Whether nothing has been at work on it for SETTLED."""
        past = ago(self.records, SETTLED)
        rested = Q(lease_until__lte=past) | Q(lease_until=None, claimed_at__lte=past)
        return self.records.filter(rested, id=self.id).exists()

    def complete(self, status: int, content_type: str, body: bytes) -> None:
        """Give it an answer, which every retry gets from now on."""
        policy, records = self.policy, self.records
        stored, key_id = sealed(body, policy.encryption_keys)
        records.filter(id=self.id).update(
            state=State.COMPLETED.value,
            status=status,
            headers=headers_text((("Content-Type", content_type),)),
            body=stored,
            body_key_id=key_id,
            completed_at=ago(records, timedelta(0)),
            expires_at=ago(records, -policy.retention),
            forget_at=ago(records, -policy.retention - policy.tombstone),
        )
        self.after.update(state=State.COMPLETED.value, status=status)


@contextmanager
def unknown(
    act: Act, record_id: UUID, arguments: dict[str, Any], *, actor: Actor, using: str | None
) -> Iterator[Unknown]:
    """
    A record of unknown outcome for one transaction that settles it, with `arguments` as the act was given them.

    Its incident is closed. Raises NotResolved.
    """
    records = records_in(using)
    row = refuse_known(records, record_id, arguments["token"])
    policy = policy_of(row, records.db) if row["operation"] else _policy_of_view(row, records.db)
    # What was not said to have been seen is what is here now: whoever approves the act later approves it of this.
    asked = Asked(act=act, actor=actor, record_id=row["id"], arguments={**arguments, "token": row["token"]})
    with done(asked, row, records.db) as after:
        _lock(records, row)
        yield Unknown(
            records=records,
            row=row,
            policy=replace(policy, database=records.db),
            evidence=arguments["evidence"],
            by=actor.name,
            after=after,
        )
        _close_incidents(records.db, row["id"])


def refuse_known(records: Records, record_id: UUID, token: int | None) -> Row:
    """The record's columns. Raises NotResolved where there is nothing to settle."""
    row = records.filter(id=record_id).values(*CHOSEN).first()
    if row is None:
        raise NotFound(_("There is no record {id}.").format(id=record_id))
    if row["state"] != State.UNKNOWN.value:
        raise WrongState(_("The record {id} is {state}, not unknown.").format(id=record_id, state=row["state"]))
    if token is not None and token != row["token"]:
        raise Moved
    return dict(row)


def _policy_of_view(row: Row, alias: str) -> Policy:
    """The rules of the view that answers the path; kept as long as the longest of its own and its profiles' rules say."""
    try:
        own = route(row, alias)[1]
    except WrongState:
        own = []
    policies = [*own, *policies_of(row["namespace"])]
    longest = max(policy.retention for policy in policies), max(policy.tombstone for policy in policies)
    return replace(policies[0], retention=longest[0], tombstone=longest[1])


def _lock(records: Records, row: Row) -> None:
    """Raise the token, which ends whatever may still be at work on it. Raises Moved where somebody was faster."""
    same = records.filter(id=row["id"], claim=row["claim"], token=row["token"], state=State.UNKNOWN.value)
    if not same.update(state=State.PROCESSING.value, token=F("token") + 1, resumes=0):
        raise Moved


def _close_incidents(alias: str, record_id: UUID) -> None:
    incidents = IdempotencyIncident._base_manager.using(alias)
    open_ones = incidents.filter(record_id=record_id, kind=IdempotencyIncident.Kind.UNKNOWN, healed_at=None)
    open_ones.update(healed_at=timezone.now())
