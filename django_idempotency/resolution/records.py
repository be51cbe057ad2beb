"""What a person decides about the record of a view; that something never happened, of an operation, too."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import incidents
from ..audit import Actor
from ..backends.db.dialects import Records
from ..backends.db.errors import Held, own_statement
from ..core.acts import Act
from ..core.engine import GUARD
from ..core.policies import Policy
from ..core.states import State
from ..maintenance import CHOSEN, ago, records_in
from .acts import Asked, Row, done
from .operations import parked
from .refusals import Moved, NotFound, StillRunning, TooEarly, WrongState
from .unknowns import Unknown, unknown

NOT_AT_WORK = gettext_lazy(
    "The record {id} is {state}: there is nothing to free. Only a request in flight is released."
)
DOUBTFUL = gettext_lazy(
    "Nobody knows what it has done: it may have taken effect. Its key is not freed. Let idempotency_recover mark it as of "
    "unknown outcome, then record what happened, or that nothing did."
)
OF_AN_OPERATION = gettext_lazy("It is a durable operation. {do}")
RESUMED = gettext_lazy("Its key is not freed: idempotency_recover goes on with it.")
SAY_OF_CALL = gettext_lazy("Record what its call has come to: approved, declined, or another result.")
VIEW_TOO_EARLY = gettext_lazy(
    "It is too early to say that nothing happened: wait until a day has passed since it was last at work."
)
NO_ANSWER = gettext_lazy(
    "An answer with the status {status} is not one that is kept. Give the one the client should have got."
)
BODILESS = (204, 205, 304)
"""What is sent after the headers of these is taken for the next answer."""
TOO_LARGE = gettext_lazy("The answer is larger than MAX_RESPONSE.")
NEVER_HAPPENED = {
    "title": "The request was closed",
    "status": 410,
    "detail": "What this request asked for was not done, and will not be. For another attempt, use a new key.",
    "code": "never-happened",
    "retryable": False,
}


def release(record_id: UUID, *, claim: int, reason: str, actor: Actor, using: str | None = None) -> None:
    """
    Free the key of a request whose process has died, so that the client's next retry runs.

    `claim` is the record's as it was shown to whoever decides. Refused while the owner lives, which the row's lock tells,
    and where anything may have been done outside of the transaction that died: by a coroutine, or by a view that has
    committed on its own. An `abandoned` incident keeps the request. Raises NotResolved.
    """
    records = records_in(using)
    row = in_flight(records, record_id, claim)
    asked = Asked(act=Act.RELEASE, actor=actor, record_id=row["id"], arguments={"claim": claim, "reason": reason})
    with done(asked, row, records.db) as after:
        ours = dead(records, row)
        left = incidents.left(incidents.Kind.ABANDONED, {**row, **locked(ours)})
        if not incidents.together(records.db, left, lambda: ours._raw_delete(records.db)):
            raise Moved
        after["state"] = None


def happened(
    record_id: UUID,
    *,
    status: int,
    body: str,
    reference: str,
    evidence: str,
    actor: Actor,
    token: int | None = None,
    using: str | None = None,
) -> None:
    """
    Record that a view of unknown outcome has taken effect, and the answer that every retry gets: the one that the client
    would have got. `body` is JSON.

    `reference` names what was done, such as the payment's id; `evidence` is how that is known. `token` is the record's as
    it was shown to whoever decides. Raises NotResolved, and ValueError for an answer that is none.
    """
    # Not what Python alone takes for JSON: its clients could not read it.
    json.dumps(json.loads(body), allow_nan=False)
    said = {"status": status, "body": body, "reference": reference, "evidence": evidence, "token": token}
    with unknown(Act.HAPPENED, record_id, said, actor=actor, using=using) as held:
        if held.row["operation"]:
            raise WrongState(OF_AN_OPERATION.format(do=SAY_OF_CALL))
        _refuse_answer(held.policy, status, body)
        held.complete(status, "application/json", b"" if status in BODILESS else body.encode())
        held.after["reference"] = reference


def never_happened(
    record_id: UUID, *, evidence: str, actor: Actor, token: int | None = None, using: str | None = None
) -> None:
    """
    Record that nothing happened, and close the key: of a view, or of an operation whose call never reached the
    gateway.

    Until the key is forgotten, as that of any answer is, nothing is run or sent again: every retry is answered 410, and a
    new attempt takes a new key. What earlier
    steps of an operation have done stays. Refused for a day after it was last at work, and until the gateway has forgotten
    the call's key: until then it may still happen. Raises NotResolved.
    """
    said = {"evidence": evidence, "token": token}
    with unknown(Act.NEVER_HAPPENED, record_id, said, actor=actor, using=using) as held:
        if held.row["operation"]:
            operation = parked(held)
            call = operation.call()
            operation.refuse_early(call)
            operation.told_of(call)
        elif not held.has_rested():
            raise TooEarly(VIEW_TOO_EARLY)
        _close(held)


def _close(held: Unknown) -> None:
    problem = {"type": f"{held.policy.problem_types}never-happened", **NEVER_HAPPENED}
    held.complete(410, "application/problem+json", json.dumps(problem).encode())


def in_flight(records: Records, record_id: UUID, claim: int) -> Row:
    """The columns of a record that may be released. Raises NotResolved."""
    row = records.filter(id=record_id).values(*CHOSEN).first()
    if row is None:
        raise NotFound(_("There is no record {id}.").format(id=record_id))
    if row["state"] != State.PROCESSING.value:
        raise WrongState(NOT_AT_WORK.format(id=record_id, state=row["state"]))
    if row["operation"]:
        raise WrongState(OF_AN_OPERATION.format(do=RESUMED))
    if row["claim"] != claim:
        raise Moved
    if (
        row["lease_until"] is not None
        and records.filter(id=record_id, lease_until__gt=ago(records, timedelta(0))).exists()
    ):
        raise StillRunning
    if row["lease_until"] is not None or row["token"] > 0:
        raise WrongState(DOUBTFUL)
    if not dead(records, dict(row)).exists():
        raise StillRunning
    return dict(row)


def dead(records: Records, row: Row) -> Any:
    """The record, while it is the claim of a view that has committed nothing, and is older than its way to the lock."""
    as_seen = {"id": row["id"], "claim": row["claim"], "state": State.PROCESSING.value}
    return records.filter(**as_seen, token=0, lease_until=None, operation="", claimed_at__lte=ago(records, GUARD))


def locked(records: Any) -> Row:
    """The request of the record, which is ours from now on. Raises StillRunning, and Moved where it is another one now."""
    try:
        with own_statement():
            # Never waited for: whoever holds it may be about to complete it.
            found = records.select_for_update(nowait=True).values("request_headers", "request_body").first()
    except Held as exc:
        raise StillRunning from exc
    if found is None:
        raise Moved
    return dict(found)


def _refuse_answer(policy: Policy, status: int, body: str) -> None:
    """Raises ValueError for what could not have been the answer of a request that took effect."""
    if not 200 <= status < 500 or not policy.keeps_status(status):
        raise ValueError(NO_ANSWER.format(status=status))
    if len(body.encode()) > policy.max_response:
        raise ValueError(TOO_LARGE)
