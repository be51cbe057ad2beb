"""How fast operations that a dead worker has left are finished, and in how much memory."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.databases import run
from benchmarks.latency import Misbehaviour
from benchmarks.models import GatewayPayment
from benchmarks.records import TABLE, copy_record, settle
from django_idempotency.models import IdempotencyRecord, IdempotencyStep

STEPS = IdempotencyStep._meta.db_table
PAYMENTS = GatewayPayment._meta.db_table
MOST = 32
"""MiB by which the peak may grow, however many there are."""
LEFT = 77
"""The amount that tells these payments from others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    operations: int
    seconds: float
    memory: float
    """MiB at its peak, once a hundred had been finished."""
    growth: float
    """MiB by which the peak grew until all were finished."""

    @property
    def rate(self) -> float:
        return self.operations / self.seconds


class Death(BaseException):
    """Nothing may tidy up after it, as after SIGKILL."""


def recover_interrupted(count: int, say: Callable[[str], None]) -> Recovery:
    """
    Finishes that many in a process of its own.

    Raises Misbehaviour unless each was charged once and recorded, in bounded memory.
    """
    say(f"{count:,} interrupted operations to recover")
    leave(count)
    seconds, memory, growth = recovered_elsewhere()
    done = GatewayPayment.objects.filter(amount=LEFT).exclude(reference="")
    charges = done.values("reference").distinct().count()
    if (done.count(), charges, unfinished()) != (count, count, 0):
        raise Misbehaviour(f"{done.count()} payments, {charges} charges, {unfinished()} unfinished of {count}")
    if growth > MOST:
        raise Misbehaviour(f"the peak of the memory grew by {growth:.0f} MiB")
    return Recovery(operations=count, seconds=seconds, memory=memory, growth=growth)


def leave(count: int) -> None:
    """Copies of one that died before its remote call, and of one that died inside it; the leases have run out."""
    before, inside = count // 2, count - count // 2
    for requested, lot in ((False, before), (True, inside)):
        key = died(requested=requested)
        over = "statement_timestamp() - interval '1 minute'"
        if lot > 1:
            copy_record("default", lot - 1, key, overrides={"lease_until": over})
        run("default", f"UPDATE {TABLE} SET lease_until = {over} WHERE key = %s", (key,))
        journal(key, lot)
    settle("default")


def died(*, requested: bool) -> str:
    """The key of a real one that got as far."""
    from benchmarks import durable

    def stop(*_: object, **__: object) -> object:
        raise Death

    key, charge = str(uuid.uuid4()), durable.charge
    stop.__qualname__ = charge.__qualname__
    durable.charge = stop
    try:
        durable.pay.run(key=key, amount=LEFT)
    except Death:
        pass
    finally:
        durable.charge = charge
    if not requested:
        IdempotencyStep.objects.filter(record_id=IdempotencyRecord.objects.get(key=key).pk, position=1).delete()
    return key


def journal(key: str, count: int) -> None:
    """Steps and payments for the copies of a record."""
    template = IdempotencyRecord.objects.get(key=key).pk
    run(
        "default",
        f"INSERT INTO {PAYMENTS} (amount, reference) SELECT %s, '' FROM generate_series(1, %s)",
        (LEFT, count - 1),
    )
    run("default", steps_of_copies(), (str(template),))


def steps_of_copies() -> str:
    fresh = {
        "record_id": "copy.id",
        "result": "CASE position WHEN 0 THEN convert_to(copy.payment::text, 'UTF8') ELSE result END",
        "gateway_key": "CASE position WHEN 0 THEN '' ELSE gen_random_uuid()::text END",
    }
    columns = [field.column for field in IdempotencyStep._meta.concrete_fields if field.column]
    return f"""
        INSERT INTO {STEPS} ({", ".join(columns)})
        SELECT {", ".join(fresh.get(column, f"template.{column}") for column in columns)}
        FROM (
            SELECT records.id, payments.id AS payment
            FROM (
                SELECT id, row_number() OVER () AS number FROM {TABLE}
                WHERE state = 'processing' AND operation <> ''
                AND NOT EXISTS (SELECT 1 FROM {STEPS} WHERE record_id = {TABLE}.id)
            ) AS records
            JOIN (
                SELECT id, row_number() OVER (ORDER BY id DESC) AS number FROM {PAYMENTS} WHERE amount = {LEFT}
            ) AS payments USING (number)
        ) AS copy, (SELECT * FROM {STEPS} WHERE record_id = %s) AS template
    """


def recovered_elsewhere() -> tuple[float, float, float]:
    command = [sys.executable, "-m", "benchmarks.recovering"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Misbehaviour(f"recovering: exit status {done.returncode}")
    seconds, memory, growth = map(float, done.stdout.split())
    return seconds, memory, growth


def unfinished() -> int:
    return IdempotencyRecord.objects.exclude(operation="").exclude(state="completed").count()
