"""
What a person has found out about an operation whose outcome nobody knew. It is recorded with evidence, and the operation
goes on from there: upkeep takes it up, or the client's next retry.

Nothing here sends anything to anybody, and nothing guesses: what does not fit the state of the operation is refused.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from .backends.db import DatabaseBackend
from .backends.db.dialects import Records
from .backends.db.errors import Held, Unclear, own_statement
from .backends.db.statements import headers_text
from .core.engine import Claim
from .core.journal import Kind, Step
from .core.policies import Policy
from .core.states import State
from .encryption import KeyLost, sealed
from .gateways.results import Approved, Declined
from .maintenance import CHOSEN, ago, records_in
from .models import IdempotencyIncident, IdempotencyRecord, IdempotencyStep
from .operations.answers import as_json
from .operations.calls import store_of
from .operations.recovery import next_claim, policy_of
from .operations.store import Operations
from .signals import resolved

logger = logging.getLogger("django_idempotency")

SETTLED = timedelta(days=1)
"""How long nothing may have been sent before it can be said that a call never happened."""
LONGEST_NAME = 200

CHANGED = "It has been changed since it was read. Look at it again."
NO_CALL = (
    "No call of it is without a result. It was put aside for another reason, which its incident tells: mend that, then let "
    "it go on."
)
TOO_EARLY = (
    "It is too early to say that the call never happened: wait until {ttl} have passed since it was first sent, and a day "
    "since the operation was last at work."
)
NEVER_HAPPENED = {
    "title": "The operation was closed",
    "status": 410,
    "detail": "What this request asked for was not done, and will not be. For another attempt, use a new key.",
    "code": "never-happened",
    "retryable": False,
}


class NotResolved(Exception):
    """The operation cannot be resolved like this; nothing was changed."""


def approved(
    record_id: UUID,
    *,
    reference: str,
    evidence: str,
    by: str,
    amount: int | None = None,
    currency: str | None = None,
    token: int | None = None,
    using: str | None = None,
) -> None:
    """
    Record that the gateway has approved the call that nobody had heard of, exactly as it was asked.

    `reference` is the gateway's name for it, `evidence` how that is known, `by` who says so. `amount`, in minor units, and
    `currency` are what the call was given; say them where it was given them under other names. The call returns what a
    gateway's Approved is as JSON.

    `token` is the operation's as it was shown to whoever decides; it is refused where it has been at work since. `using`
    is the database's alias. Raises NotResolved.
    """
    _refuse_empty(reference=reference)
    with _held(record_id, _Word("approved", evidence, by), token, using) as held:
        call = held.call()
        money = _money(json.loads(call.input), amount, currency)
        held.settle(call, Approved(reference=reference, **money).as_json())


def declined(
    record_id: UUID, *, reason: str, evidence: str, by: str, token: int | None = None, using: str | None = None
) -> None:
    """
    Record that the gateway has declined the call, for a reason in its words. See approved().

    The call returns what a gateway's Declined is as JSON.
    """
    _refuse_empty(reason=reason)
    with _held(record_id, _Word("declined", evidence, by), token, using) as held:
        held.settle(held.call(), Declined(reason=reason).as_json())


def returned(
    record_id: UUID, *, result: Any, evidence: str, by: str, token: int | None = None, using: str | None = None
) -> None:
    """Record what else the call has come to: `result` is JSON, as the operation's function expects it. See approved()."""
    as_json(result, "The result of a call")
    with _held(record_id, _Word("returned", evidence, by), token, using) as held:
        held.settle(held.call(), result)


def never_happened(
    record_id: UUID, *, evidence: str, by: str, token: int | None = None, using: str | None = None
) -> None:
    """
    Record that the call never reached the gateway, and close the operation for good. See approved().

    It is not sent again, now or later: every retry is answered 410, and a new attempt takes a new key. What earlier steps
    have done stays. Refused until the gateway has forgotten the call's key, and for a day after the operation was last at
    work: until then a call may still arrive.
    """
    with _held(record_id, _Word("never-happened", evidence, by), token, using) as held:
        held.close(held.call())


def go_on(record_id: UUID, *, evidence: str, by: str, token: int | None = None, using: str | None = None) -> None:
    """
    Let an operation go on that was put aside because its steps had changed, or because it never came to its end, once
    that is mended. See approved().

    A call that nobody has heard of is looked up first, as always, and sent again only while the gateway knows its key.
    A phase that has ended its transaction itself is run again: see first what it has left. `evidence` goes to receivers
    of the signal `resolved`, and is not stored.
    """
    with _held(record_id, _Word("go-on", evidence, by), token, using) as held:
        held.free()


@dataclass(frozen=True, slots=True)
class _Word:
    """What somebody says, and who."""

    how: str
    evidence: str
    by: str

    def __post_init__(self) -> None:
        _refuse_empty(evidence=self.evidence, by=self.by)
        if len(self.by) > LONGEST_NAME:
            raise ValueError(f"by has {LONGEST_NAME} characters at most.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """An operation that was of unknown outcome, and whose record is locked by our transaction."""

    records: Records
    claim: Claim
    policy: Policy
    store: Operations
    word: _Word

    def call(self) -> Step:
        """The call without a result. Raises NotResolved."""
        try:
            steps = self.store.load(self.claim).steps
        except KeyLost:
            raise NotResolved("Its journal cannot be read: a key is not in ENCRYPTION_KEYS any more.") from None
        if not steps or steps[-1].kind is not Kind.REMOTE or steps[-1].finished:
            raise NotResolved(NO_CALL)
        return steps[-1]

    def settle(self, call: Step, result: Any) -> None:
        self.store.finish(self.claim, replace(call, result=as_json(result, "The result of a call")))
        self._told_of(call)
        self.free()

    def free(self) -> None:
        self.store.postpone(self.claim, timedelta(0))

    def close(self, call: Step) -> None:
        ttl = call.key_ttl or timedelta(0)
        sent = self._row(call).filter(requested_at__lte=ago(self.records, ttl))
        if not (sent.exists() and self._record().filter(lease_until__lte=ago(self.records, SETTLED)).exists()):
            raise NotResolved(TOO_EARLY.format(ttl=ttl))
        self._told_of(call)
        policy = self.policy
        problem = {"type": f"{policy.problem_types}never-happened", **NEVER_HAPPENED}
        body, key_id = sealed(json.dumps(problem).encode(), policy.encryption_keys)
        self._record().update(
            state=State.COMPLETED.value,
            status=NEVER_HAPPENED["status"],
            headers=headers_text((("Content-Type", "application/problem+json"),)),
            body=body,
            body_key_id=key_id,
            completed_at=ago(self.records, timedelta(0)),
            expires_at=ago(self.records, -policy.retention),
            forget_at=ago(self.records, -policy.retention - policy.tombstone),
        )

    def _told_of(self, call: Step) -> None:
        self._row(call).update(evidence=self.word.evidence, resolved_by=self.word.by)

    def _record(self) -> Records:
        return self.records.filter(id=self.claim.operation.id)

    def _row(self, call: Step) -> Any:
        steps = IdempotencyStep._base_manager.using(self.records.db)
        return steps.filter(record_id=self.claim.operation.id, position=call.position)


@contextmanager
def _held(record_id: UUID, word: _Word, token: int | None, using: str | None) -> Iterator[_Held]:
    """The operation, for one transaction that resolves it. Raises NotResolved."""
    records = records_in(using)
    row = _unknown(records, record_id, token)
    policy = policy_of(row, records.db)
    claim, store = next_claim(row, policy), store_of(DatabaseBackend(policy), policy)
    with transaction.atomic(using=records.db):
        _lock(records, row)
        yield _Held(records=records, claim=claim, policy=policy, store=store, word=word)
        _close_incidents(records.db, row["id"])
        tell = partial(
            resolved.send_robust, IdempotencyRecord, record=row, how=word.how, by=word.by, evidence=word.evidence
        )
        transaction.on_commit(tell, using=records.db, robust=True)
    logger.info("Operation %s was resolved by a person: %s.", row["id"], word.how)


def _unknown(records: Records, record_id: UUID, token: int | None) -> dict[str, Any]:
    """The record's columns. Raises NotResolved where there is nothing to resolve."""
    row = records.filter(id=record_id).values(*CHOSEN).first()
    if row is None:
        raise NotResolved(f"There is no record {record_id}.")
    if not row["operation"]:
        raise NotResolved(f"The record {record_id} is of a view, and not of a durable operation.")
    if row["state"] != State.UNKNOWN.value:
        raise NotResolved(f"The operation {record_id} is {row['state']}, not unknown.")
    if token is not None and token != row["token"]:
        raise NotResolved(CHANGED)
    return dict(row)


def _lock(records: Records, row: dict[str, Any]) -> None:
    """Raise the token, which ends whatever may still be at work on it. Raises NotResolved where somebody was faster."""
    same = records.filter(id=row["id"], claim=row["claim"], token=row["token"], state=State.UNKNOWN.value)
    try:
        with own_statement():
            hit = same.update(state=State.PROCESSING.value, token=F("token") + 1, resumes=0)
    except (Held, Unclear) as exc:
        raise NotResolved(CHANGED) from exc
    if not hit:
        raise NotResolved(CHANGED)


def _close_incidents(alias: str, record_id: UUID) -> None:
    incidents = IdempotencyIncident._base_manager.using(alias)
    open_ones = incidents.filter(record_id=record_id, kind=IdempotencyIncident.Kind.UNKNOWN, healed_at=None)
    open_ones.update(healed_at=timezone.now())


def _money(asked: dict[str, Any], amount: int | None, currency: str | None) -> dict[str, Any]:
    """Amount and currency of an approval: what was asked, and nothing else. Raises NotResolved."""
    said = {"amount": amount, "currency": currency and currency.upper()}
    given = asked.get("amount"), asked.get("currency")
    found = {
        "amount": given[0] if type(given[0]) is int else None,
        "currency": given[1].upper() if isinstance(given[1], str) else None,
    }
    for name, value in said.items():
        if value is None and found[name] is None:
            raise NotResolved(f"The call was not given its {name} under this name: say what it was.")
        if None not in (value, found[name]) and value != found[name]:
            raise NotResolved(
                f"The call has another {name}. An approval is of what was asked; record another outcome with returned()."
            )
    return {name: said[name] if said[name] is not None else found[name] for name in said}


def _refuse_empty(**texts: str) -> None:
    for name, text in texts.items():
        if not text.strip():
            raise ValueError(f"{name} must not be empty.")
