"""A worker that has been overtaken writes nothing, whichever write comes next; who is in a phase is not overtaken."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from django_idempotency import OutcomeUnknown, Respond, RetryLater
from django_idempotency.exceptions import InFlight
from django_idempotency.models import IdempotencyRecord, IdempotencyStep
from django_idempotency.operations.recovery import Resumed, resume
from tests.bank.models import Payment
from tests.operations.tills import (
    GATEWAY,
    Died,
    booked,
    deployed,
    doubtful,
    incidents,
    interrupted,
    journal,
    lapse,
    pay,
    record,
)
from tests.support.threads import elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

PAID = Respond(201, {"charge": 1, "amount": 5})
WRITES = ("the first phase", "the request", "its result", "the last phase", "the answer")


def run() -> Respond:
    return pay.run(key="k", amount=5)


@contextmanager
def before_write(number: int, call: Callable[[], Any]) -> Iterator[None]:
    """Call something just before this worker's write of this number that begins with its fence."""
    seen = []

    def execute(execute: Callable[..., Any], sql: str, *others: Any) -> Any:
        if "UPDATE" in sql and "idempotencyrecord" in sql:
            seen.append(sql)
            if len(seen) == number + 1:
                call()
        return execute(sql, *others)

    with connection.execute_wrapper(execute):
        yield
    assert len(seen) > number


def overtaken() -> None:
    """The lease runs out, and somebody else takes the operation up and finishes it."""
    elsewhere(lapse)
    assert elsewhere(run) == PAID


def overtaken_and_left() -> None:
    """The same, but that one dies at its gateway."""
    elsewhere(lapse)
    GATEWAY.before = Died()
    with pytest.raises(Died):
        elsewhere(lambda: deployed_blind().run(key="k", amount=5))
    # What it stands for here is that the claim is another's.
    assert record().token == 2


def deployed_blind() -> Any:
    def wait(op: Any, *, amount: int) -> Any:
        raise Died

    return deployed(wait)


class TestZombies:
    @pytest.mark.parametrize("number", range(5), ids=WRITES)
    def test_its_answer_is_discarded_and_the_other_s_given(self, number: int) -> None:
        with before_write(number, overtaken):
            assert run() == PAID
        assert (len(GATEWAY.charged), booked(), len(journal())) == (1, 1, 3)
        assert Payment.objects.filter(key="reserved").count() == 1
        assert record().token == 2

    @pytest.mark.parametrize("number", range(5), ids=WRITES)
    def test_nothing_of_it_is_written_while_the_other_is_at_work(self, number: int) -> None:
        before: list[Any] = []

        def overtake() -> None:
            overtaken_and_left()
            before.append((journal(), record().lease_until))

        with before_write(number, overtake), pytest.raises(InFlight):
            run()
        assert (journal(), record().lease_until) == before[0]
        assert (record().state, record().body) == ("processing", None)

    @pytest.mark.parametrize("fault", [doubtful(), ConnectionError()], ids=["put off", "failed"])
    def test_it_does_not_put_off_the_other_s_work(self, fault: Exception) -> None:
        def overtake() -> None:
            overtaken_and_left()
            raise fault

        GATEWAY.after = overtake
        with pytest.raises((RetryLater, ConnectionError)):
            run()
        found = record()
        assert (found.resume_at, found.lease_until > found.claimed_at, incidents()) == (None, True, [])

    def test_it_does_not_leave_the_other_s_work_to_a_person(self) -> None:
        def overtake() -> None:
            overtaken_and_left()
            raise doubtful()

        GATEWAY.key_ttl, GATEWAY.after = None, overtake
        with pytest.raises(InFlight):
            deployed(lambda op, amount: op.remote(GATEWAY.charge, amount=amount)).run(key="k", amount=5)
        assert (record().state, incidents()) == ("processing", [])

    def test_what_the_other_has_answered_is_not_said_to_wait_for_a_person(self) -> None:
        def overtake(op: Any, *, amount: int) -> Any:
            deployed(pay.function)
            overtaken()
            return Respond(200)

        interrupted()
        assert deployed(overtake).run(key="k", amount=5) == PAID
        assert incidents() == []

    def test_what_a_person_has_settled_stays(self) -> None:
        def settle() -> None:
            elsewhere(lambda: IdempotencyRecord.objects.update(state="unknown"))

        with before_write(4, settle), pytest.raises(OutcomeUnknown):
            run()
        assert (record().state, record().body) == ("unknown", None)


class TestPhases:
    def test_who_is_in_a_phase_is_not_overtaken_though_its_lease_has_run_out(self) -> None:
        seen: list[Any] = []

        def look(amount: int) -> Any:
            with pytest.raises(InFlight):
                elsewhere(run)
            seen.append(elsewhere(resume))
            return amount

        def function(op: Any, *, amount: int) -> Any:
            elsewhere(lapse)
            return Respond(200, op.phase(look, amount=amount))

        assert deployed(function).run(key="k", amount=5) == Respond(200, 5)
        assert seen == [Resumed()]

    def test_every_write_lets_the_lease_count_from_now(self) -> None:
        leases: list[Any] = []

        def function(op: Any, *, amount: int) -> Any:
            for _ in range(2):
                lapse()
                op.remote(GATEWAY.charge, amount=amount)
                leases.append(record().lease_until)
                lapse()
                op.phase(nothing)
                leases.append(record().lease_until)
            return Respond(200)

        deployed(function).run(key="k", amount=5)
        assert all(lease > record().claimed_at for lease in leases)

    def test_what_is_committed_is_on_the_disk_even_where_the_project_does_not_wait_for_it(self) -> None:
        if settings.TEST_DATABASE != "postgresql":
            return
        seen: list[str] = []

        def watch(execute: Callable[..., Any], sql: str, *others: Any) -> Any:
            result = execute(sql, *others)
            if "idempotency" in sql and not sql.startswith("SELECT"):
                seen.append("synchronous_commit" in sql or ("idempotencystep" in sql and "held" not in sql))
            return result

        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
        try:
            with connection.execute_wrapper(watch):
                run()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET synchronous_commit")
        # The rows of the phases' steps are in a transaction that has begun with the record.
        assert (len(seen), all(seen)) == (8, True)


def nothing() -> None:
    """A phase."""


def test_a_step_is_written_with_its_record_or_not_at_all() -> None:
    run()
    assert set(IdempotencyStep.objects.values_list("record_id", flat=True)) == {record().id}
