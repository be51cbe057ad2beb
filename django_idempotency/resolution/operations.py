"""
What a person has found out about the call of a durable operation that nobody had heard of. The operation goes on from there:
upkeep takes it up, or the client's next retry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils.translation import gettext_lazy

from ..audit import Actor
from ..backends.db import DatabaseBackend
from ..core.acts import Act
from ..core.engine import Claim
from ..core.journal import Kind, Step
from ..encryption import KeyLost
from ..gateways.results import Approved, Declined
from ..maintenance import ago
from ..models import IdempotencyStep
from ..operations.answers import as_json
from ..operations.calls import store_of
from ..operations.recovery import next_claim
from ..operations.store import Operations
from .refusals import TooEarly, Unreadable, WrongState
from .unknowns import Unknown, unknown

OF_A_CALL = "The result of a call"
OF_A_VIEW = gettext_lazy("It is of a view, and not of a durable operation. Record what happened, or that nothing did.")
NO_CALL = gettext_lazy(
    "No call of it is without a result. It was put aside for another reason, which its incident tells: mend that, then let "
    "it go on."
)
TOO_EARLY = gettext_lazy(
    "It is too early to say that the call never happened: wait until {ttl} have passed since it was first sent, and a day "
    "since the operation was last at work."
)
NOT_GIVEN = gettext_lazy("The call was not given its {name} under this name: say what it was.")
ANOTHER = gettext_lazy(
    "The call has another {name}. An approval is of what was asked; record another outcome with returned()."
)


def approved(
    record_id: UUID,
    *,
    reference: str,
    evidence: str,
    actor: Actor,
    amount: int | None = None,
    currency: str | None = None,
    token: int | None = None,
    using: str | None = None,
) -> None:
    """
    Record that the gateway has approved the call that nobody had heard of, exactly as it was asked.

    `reference` is the gateway's name for it, `evidence` how that is known. `amount`, in minor units, and `currency` are what
    the call was given; say them where it was given them under other names. The call returns what a gateway's Approved is
    as JSON.

    `token` is the operation's as it was shown to whoever decides; it is refused where it has been at work since. `using`
    is the database's alias. Raises NotResolved.
    """
    if amount is not None and amount < 0:
        raise ValueError("amount must not be negative.")
    said = {"reference": reference, "amount": amount, "currency": currency, "evidence": evidence, "token": token}
    with _parked(Act.APPROVED, record_id, said, actor=actor, using=using) as found:
        call = found.call()
        money = _money(json.loads(call.input), amount, currency)
        found.settle(call, Approved(reference=reference, **money).as_json())
        found.held.after.update(reference=reference)


def declined(
    record_id: UUID, *, refusal: str, evidence: str, actor: Actor, token: int | None = None, using: str | None = None
) -> None:
    """
    Record that the gateway has declined the call; `refusal` is its reason, in its words. See approved().

    The call returns what a gateway's Declined is as JSON.
    """
    said = {"refusal": refusal, "evidence": evidence, "token": token}
    with _parked(Act.DECLINED, record_id, said, actor=actor, using=using) as found:
        found.settle(found.call(), Declined(reason=refusal).as_json())


def returned(
    record_id: UUID, *, result: Any, evidence: str, actor: Actor, token: int | None = None, using: str | None = None
) -> None:
    """Record what else the call has come to: `result` is JSON, as the operation's function expects it. See approved()."""
    as_json(result, OF_A_CALL)
    said = {"result": result, "evidence": evidence, "token": token}
    with _parked(Act.RETURNED, record_id, said, actor=actor, using=using) as found:
        found.settle(found.call(), result)


def go_on(record_id: UUID, *, evidence: str, actor: Actor, token: int | None = None, using: str | None = None) -> None:
    """
    Let an operation go on that was put aside because its steps had changed, or because it never came to its end, once
    that is mended. See approved().

    A call that nobody has heard of is looked up first, as always, and sent again only while the gateway knows its key.
    A phase that has ended its transaction itself is run again: see first what it has left.
    """
    said = {"evidence": evidence, "token": token}
    with _parked(Act.GO_ON, record_id, said, actor=actor, using=using) as found:
        found.free()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """An operation that was of unknown outcome, with its journal."""

    held: Unknown
    claim: Claim
    store: Operations

    def call(self) -> Step:
        """The call without a result. Raises NotResolved."""
        try:
            steps = self.store.load(self.claim).steps
        except KeyLost:
            raise Unreadable from None
        if not steps or steps[-1].kind is not Kind.REMOTE or steps[-1].finished:
            raise WrongState(NO_CALL)
        return steps[-1]

    def settle(self, call: Step, result: Any) -> None:
        """Write down what the call has come to, and let the operation go on."""
        self.store.finish(self.claim, replace(call, result=as_json(result, OF_A_CALL)))
        self.told_of(call)
        self.free()

    def free(self) -> None:
        self.store.postpone(self.claim, timedelta(0))
        self.held.after.update(state="processing")

    def told_of(self, call: Step) -> None:
        """Keep with the step who has said what became of it, and how that is known."""
        self._row(call).update(evidence=self.held.evidence, resolved_by=self.held.by)

    def refuse_early(self, call: Step) -> None:
        """Raises TooEarly where the call may still arrive."""
        ttl = call.key_ttl or timedelta(0)
        sent = self._row(call).filter(requested_at__lte=ago(self.held.records, ttl))
        if not (sent.exists() and self.held.has_rested()):
            raise TooEarly(TOO_EARLY.format(ttl=ttl))

    def _row(self, call: Step) -> Any:
        steps = IdempotencyStep._base_manager.using(self.held.records.db)
        return steps.filter(record_id=self.held.id, position=call.position)


def parked(held: Unknown) -> Parked:
    """The journal of a record. Raises WrongState where it is of a view."""
    if not held.row["operation"]:
        raise WrongState(OF_A_VIEW)
    store = store_of(DatabaseBackend(held.policy), held.policy)
    return Parked(held=held, claim=next_claim(held.row, held.policy), store=store)


@contextmanager
def _parked(act: Act, record_id: UUID, said: dict[str, Any], *, actor: Actor, using: str | None) -> Iterator[Parked]:
    with unknown(act, record_id, said, actor=actor, using=using) as held:
        yield parked(held)


def _money(asked: dict[str, Any], amount: int | None, currency: str | None) -> dict[str, Any]:
    """Amount and currency of an approval: what was asked, and nothing else. Raises WrongState."""
    said = {"amount": amount, "currency": currency and currency.upper()}
    given = asked.get("amount"), asked.get("currency")
    found = {
        "amount": given[0] if type(given[0]) is int else None,
        "currency": given[1].upper() if isinstance(given[1], str) else None,
    }
    for name, value in said.items():
        if value is None and found[name] is None:
            raise WrongState(NOT_GIVEN.format(name=name))
        if None not in (value, found[name]) and value != found[name]:
            raise WrongState(ANOTHER.format(name=name))
    return {name: said[name] if said[name] is not None else found[name] for name in said}
