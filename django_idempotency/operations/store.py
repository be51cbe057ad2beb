"""
Durable operations in the database: the record is the fence, the journal says how far it came.

    claim      INSERT of the record with its input, committed on its own
    phase      UPDATE of the record, the function's own statements, INSERT of the step, in one transaction
    request    UPDATE of the record, INSERT of the step, before a remote call
    finish     UPDATE of the record, UPDATE of the step, after it
    complete   UPDATE of the record with the answer

Every write begins with the UPDATE of the record: it compares claim, token and state, lets the lease count from now, and
locks the row until the write is committed. To read the token only would let one write whose claim has been taken over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import DateTimeField, QuerySet, Value

from .. import incidents
from ..backends.db.dialects import Records
from ..backends.db.errors import Held, Unclear, own_statement
from ..backends.db.leases import Leases
from ..backends.db.runs import BoundaryBroken, close_if_lost
from ..core.engine import Claim, Durable, Snapshot
from ..core.journal import Kind, Step
from ..core.states import State
from ..encryption import opened, sealed
from ..exceptions import StoreUnavailable, TransactionBroken
from ..models import IdempotencyStep
from ..models.records import never
from .boundaries import no_writes

ELSEWHERE = (
    "A phase wrote to the database {alias!r}, which is not that of the journal: it would stay written where the phase is "
    "undone, and be written twice where it is run again. Name that database in the profile's DATABASE, or make it a remote "
    "call."
)

Result = TypeVar("Result")
Answer = tuple[str, int | None]
"""What a phase has returned, as JSON, and its status where it is an answer."""

EARLIEST = datetime.min.replace(tzinfo=UTC)
STEP = ("position", "name", "kind", "status", "gateway_key", "key_ttl", "requested_at")
BODIES = ("input", "input_key_id", "result", "result_key_id")


class Lost(Exception):
    """The claim has been taken over, or a person has settled it: nothing may be written any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a claimed operation is resumed from."""

    durable: Durable
    resumes: int = 0
    """How often upkeep has taken it up since it was begun."""
    steps: list[Step] = field(default_factory=list)
    now: datetime = EARLIEST
    """The database's time of reading it."""


class Operations:
    """The store of durable operations in one database."""

    def __init__(self, leases: Leases, keys: Sequence[str]) -> None:
        self.leases = leases
        self.keys = keys
        self.alias = leases.dialect.alias

    def load(self, claim: Claim) -> Progress:
        """Where the operation stands."""
        with available():
            record = self._record(claim)
            steps = IdempotencyStep._base_manager.using(self.alias).filter(record_id=claim.operation.id)
            rows = list(steps.order_by("position").values(*STEP, *BODIES))
        return Progress(
            durable=Durable(
                name=record["operation"], input=_bytes(record["operation_input"]), key_id=record["operation_key_id"]
            ),
            resumes=record["resumes"],
            steps=[self._step(row) for row in rows],
            now=record["now"],
        )

    def _record(self, claim: Claim) -> dict[str, Any]:
        now = self._now()
        now = Value(now, output_field=DateTimeField()) if isinstance(now, datetime) else now
        records = self.leases.dialect.records().filter(id=claim.operation.id).annotate(now=now)
        return dict(records.values("operation", "operation_input", "operation_key_id", "resumes", "now").get())

    def _step(self, row: dict[str, Any]) -> Step:
        given = opened(_bytes(row["input"]), row["input_key_id"], self.keys)
        result = opened(_bytes(row["result"]), row["result_key_id"], self.keys)
        known = {name: row[name] for name in STEP if name != "kind"}
        return Step(**known, kind=Kind(row["kind"]), input=_text(given) or "", result=_text(result))

    def extend(self, claim: Claim) -> bool:
        """Let the lease count from now; False where the claim is lost."""
        return self.leases.extend(claim)

    def phase(self, claim: Claim, step: Step, work: Callable[[], Answer], also: Callable[[], None]) -> Step:
        """Do the work and write its step in one transaction. Raises Lost; TransactionBroken where it did not stay one."""
        try:
            with transaction.atomic(using=self.alias):
                with available():
                    mark = self._hold(claim)
                result, status = self._work(mark, work)
                finished = replace(step, result=result, status=status)
                with available():
                    self._add_in(mark, claim, finished)
                also()
        except BoundaryBroken as exc:
            raise TransactionBroken(BoundaryBroken.__doc__, outcome_known=False) from exc
        except Exception as exc:
            close_if_lost(self.leases.connection, exc)
            raise
        return finished

    def _work(self, mark: str | None, work: Callable[[], Answer]) -> Answer:
        dialect = self.leases.dialect
        try:
            with no_writes(ELSEWHERE, but=self.alias):
                return work()
        except BaseException as exc:
            if not dialect.undid(exc) and not dialect.same_transaction(mark):
                raise BoundaryBroken from exc
            raise

    def request(self, claim: Claim, step: Step) -> None:
        """Write down that a call is about to be sent. Raises Lost."""

        def write() -> None:
            self._renew(claim)
            self.row(claim, step, requested_at=self._now()).save(force_insert=True, using=self.alias)

        self._own(write)

    def dishonour(self, claim: Claim, step: Step) -> Step:
        """Write down that a call's key does not keep a second one from taking effect. Raises Lost."""

        def write() -> None:
            self._renew(claim)
            self._stored(claim, step).update(key_ttl=None)

        self._own(write)
        return replace(step, key_ttl=None)

    def finish(self, claim: Claim, step: Step) -> None:
        """Write down what a call has brought. Raises Lost."""
        result, key_id = self._sealed(step.result)

        def write() -> None:
            self._renew(claim)
            self._stored(claim, step).update(result=result, result_key_id=key_id, finished_at=self._now())

        self._own(write)

    def complete(self, claim: Claim, snapshot: Snapshot, also: Callable[[], None] | None) -> bool:
        """Keep the answer; False where the claim is lost."""
        if also is None:
            return self.leases.complete(claim, snapshot)
        messages = also

        def write() -> bool:
            hit = self.leases.complete_here(claim, snapshot)
            if hit:
                messages()
            return hit

        return self._own(write)

    def postpone(
        self,
        claim: Claim,
        pause: timedelta | None,
        incident: incidents.Incident | None = None,
        *,
        meant: bool = False,
    ) -> bool:
        """
        Free the operation without an answer. Upkeep goes on with it after the pause; never, where there is none.

        What the function itself has `meant`, such as to ask again tomorrow, is no failed attempt.
        """

        def change() -> bool:
            now = self._now()
            resume_at = never() if pause is None else now + pause
            count = {"resumes": 0} if meant else {}
            return bool(self._ours(claim).update(lease_until=now, resume_at=resume_at, **count))

        return self._told(incident, change)

    def park(self, claim: Claim, why: str) -> bool:
        """Leave the operation to a person."""
        incident = incidents.unknown(claim.operation, why)
        return self._told(incident, lambda: bool(self._ours(claim).update(state=State.UNKNOWN.value)))

    def _told(self, incident: incidents.Incident | None, change: Callable[[], bool]) -> bool:
        with available():
            return incidents.together(self.alias, incident, change)

    def _stored(self, claim: Claim, step: Step) -> QuerySet[IdempotencyStep]:
        steps = IdempotencyStep._base_manager.using(self.alias)
        return steps.filter(record_id=claim.operation.id, position=step.position)

    def _ours(self, claim: Claim) -> Records:
        fence = {"claim": claim.number, "token": claim.attempt, "state": State.PROCESSING.value}
        return self.leases.dialect.records().filter(id=claim.operation.id, **fence)

    def _now(self) -> Any:
        return self.leases.now()

    def _hold(self, claim: Claim) -> str | None:
        """Lock the record for this transaction; what tells in the end whether we are still in it. Raises Lost."""
        self._renew(claim)
        return self.leases.mark()

    def _renew(self, claim: Claim) -> None:
        if not self.leases.extend(claim):
            raise Lost

    def _own(self, write: Callable[[], Result]) -> Result:
        """A transaction of ours alone."""
        try:
            with available(), transaction.atomic(using=self.alias):
                return write()
        except StoreUnavailable as exc:
            close_if_lost(self.leases.connection, exc)
            raise

    def _add_in(self, mark: str | None, claim: Claim, step: Step) -> None:
        """Add a step in what must still be the transaction with this mark. Raises BoundaryBroken."""
        if not self.leases.dialect.intact(mark):
            raise BoundaryBroken
        self.row(claim, step, finished_at=self._now()).save(force_insert=True, using=self.alias)

    def row(self, claim: Claim, step: Step, **times: Any) -> IdempotencyStep:
        asked, input_key_id = self._sealed(step.input)
        result, result_key_id = self._sealed(step.result)
        return IdempotencyStep(
            record_id=claim.operation.id,
            position=step.position,
            name=step.name,
            kind=step.kind.value,
            input=asked,
            input_key_id=input_key_id,
            result=result,
            result_key_id=result_key_id,
            status=step.status,
            gateway_key=step.gateway_key,
            key_ttl=step.key_ttl,
            **times,
        )

    def _sealed(self, text: str | None) -> tuple[bytes | None, str]:
        return sealed(None if text is None else text.encode(), self.keys)


@contextmanager
def available() -> Iterator[None]:
    """Run statements of ours. Raises StoreUnavailable where another transaction is in the way, too."""
    try:
        with own_statement():
            yield
    except (Held, Unclear) as exc:
        raise StoreUnavailable from exc


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
