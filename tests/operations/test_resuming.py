"""A resumed operation: what is done is not done again, and a call of unknown outcome is looked up, never guessed."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from django_idempotency import OutcomeUnknown, Respond, RetryLater
from django_idempotency.core.journal import MARGIN, Kind, Step, may_be_sent
from django_idempotency.exceptions import InFlight, KeyReused
from django_idempotency.models import IdempotencyStep
from tests.bank.models import Payment
from tests.operations import tills
from tests.operations.tills import (
    GATEWAY,
    Died,
    age,
    booked,
    deployed,
    die,
    doubtful,
    dying_at,
    incidents,
    interrupted,
    journal,
    lapse,
    pay,
    paying,
    record,
    reserve,
)

pytestmark = pytest.mark.django_db(transaction=True)

PAID = Respond(201, {"charge": 1, "amount": 5})
DAY = timedelta(hours=24)


def run() -> Respond:
    return pay.run(key="k", amount=5)


class TestCrashes:
    STATEMENTS = ("INSERT INTO", "UPDATE")

    def test_before_its_lease_has_run_out_nobody_goes_on(self) -> None:
        GATEWAY.after = Died()
        with pytest.raises(Died):
            run()
        with pytest.raises(InFlight):
            run()
        lapse()
        assert run() == PAID

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("number", range(8))
    def test_wherever_it_dies_there_is_one_charge_and_one_booking(self, number: int, after: bool) -> None:
        seen = []

        def ours(sql: str) -> bool:
            if "django_idempotency_" in sql and not sql.lstrip().startswith("SELECT"):
                seen.append(sql)
                return len(seen) == number + 1
            return False

        try:
            with dying_at(connection, ours, after=after):
                run()
        except Died:
            if tills.IdempotencyRecord.objects.exists():
                lapse()
        assert run() == PAID
        assert (len(GATEWAY.charged), booked(), Payment.objects.filter(key="reserved").count()) == (1, 1, 1)

    def test_finished_steps_return_what_they_returned(self) -> None:
        interrupted()
        assert run() == PAID
        assert (GATEWAY.names, Payment.objects.filter(key="reserved").count()) == (["charge", "find"], 1)

    def test_a_finished_call_is_neither_sent_nor_looked_up_again(self) -> None:
        def dying(op: Any, *, amount: int) -> Any:
            op.phase(reserve, amount=amount)
            op.remote(GATEWAY.charge, lookup=GATEWAY.find, amount=amount)
            raise Died

        die(lambda: deployed(dying).run(key="k", amount=5))
        assert deployed(paying).run(key="k", amount=5) == PAID
        assert GATEWAY.names == ["charge"]

    def test_what_the_journal_has_is_sent_and_asked_under_the_first_key(self) -> None:
        GATEWAY.before = Died()
        die(run)
        run()
        assert len({key for _, key, _ in GATEWAY.calls}) == 1
        assert [amount for _, _, amount in GATEWAY.calls] == [5, 5, 5]

    def test_the_stored_key_is_sent_whatever_would_be_derived_now(self) -> None:
        GATEWAY.before = Died()
        die(run)
        IdempotencyStep.objects.filter(position=1).update(gateway_key="as it was derived then")
        run()
        assert [key for _, key, _ in GATEWAY.calls[1:]] == ["as it was derived then"] * 2

    def test_another_input_does_not_go_on_with_it(self) -> None:
        interrupted()
        with pytest.raises(KeyReused):
            pay.run(key="k", amount=6)
        assert run() == PAID

    def test_each_attempt_has_a_token_of_its_own(self) -> None:
        interrupted()
        run()
        assert record().token == 2


class TestLookups:
    def test_what_it_finds_is_the_call_s_result(self) -> None:
        interrupted()
        assert run() == PAID
        assert GATEWAY.names == ["charge", "find"]

    def test_where_it_finds_nothing_the_call_is_sent_again(self) -> None:
        GATEWAY.before = Died()
        die(run)
        assert run() == PAID
        assert GATEWAY.names == ["charge", "find", "charge"]

    def test_without_a_lookup_it_is_sent_again_as_long_as_its_key_is_honoured(self) -> None:
        def function(op: Any, *, amount: int) -> Any:
            return Respond(201, op.remote(GATEWAY.charge, amount=amount))

        blind = deployed(function)
        GATEWAY.after = Died()
        die(lambda: blind.run(key="k", amount=5))
        assert blind.run(key="k", amount=5).data == {"number": 1, "amount": 5}
        assert GATEWAY.names == ["charge", "charge"]

    def test_one_that_does_not_know_puts_it_off(self) -> None:
        interrupted()
        GATEWAY.finding = doubtful()
        with pytest.raises(RetryLater):
            run()
        assert (record().state, GATEWAY.names) == ("processing", ["charge", "find"])

    def test_one_that_fails_puts_it_off_and_is_told(self) -> None:
        interrupted()
        GATEWAY.finding = ConnectionError()
        with pytest.raises(ConnectionError):
            run()
        assert (record().state, incidents()) == ("processing", [("failed", "ConnectionError")])
        GATEWAY.finding = None
        assert run() == PAID

    def test_one_that_finds_nothing_after_the_key_is_forgotten_leaves_it_to_a_person(self) -> None:
        GATEWAY.before = Died()
        die(run)
        age(DAY)
        with pytest.raises(OutcomeUnknown):
            run()
        assert (record().state, GATEWAY.names) == ("unknown", ["charge", "find"])
        why = "step 1, Gateway.charge: nobody knows what it did, and it may not be sent again"
        assert incidents() == [("unknown", why)]

    def test_one_that_finds_nothing_where_there_are_no_keys_leaves_it_to_a_person(self) -> None:
        GATEWAY.key_ttl = None
        GATEWAY.before = Died()
        die(run)
        with pytest.raises(OutcomeUnknown):
            run()
        assert GATEWAY.names == ["charge", "find"]

    @pytest.mark.parametrize("charged", [False, True], ids=["not charged", "charged"])
    def test_a_call_under_whose_key_nothing_was_kept_is_looked_up_and_never_sent_again(self, charged: bool) -> None:
        """Whatever the gateway does, it may do it again under the same key."""
        setattr(GATEWAY, "after" if charged else "before", OutcomeUnknown("HTTP 500", key_forgotten=True))
        with pytest.raises(RetryLater):
            run()
        lapse()
        if charged:
            assert run() == PAID
        else:
            with pytest.raises(OutcomeUnknown):
                run()
        assert (record().state, GATEWAY.names) == ("completed" if charged else "unknown", ["charge", "find"])

    def test_what_is_found_after_the_key_is_forgotten_is_taken_all_the_same(self) -> None:
        interrupted()
        age(DAY * 9)
        assert run() == PAID

    def test_how_long_a_key_is_honoured_is_what_was_written_down_first(self) -> None:
        GATEWAY.before = Died()
        die(run)
        GATEWAY.key_ttl = DAY * 30
        age(DAY)
        with pytest.raises(OutcomeUnknown):
            run()

    def test_time_counts_from_the_first_sending(self) -> None:
        GATEWAY.before = Died()
        die(run)
        first = IdempotencyStep.objects.get(position=1).requested_at
        GATEWAY.before = doubtful()
        with pytest.raises(RetryLater):
            run()
        assert IdempotencyStep.objects.get(position=1).requested_at == first

    def test_a_person_s_case_is_not_run_again(self) -> None:
        GATEWAY.key_ttl = None
        GATEWAY.before = Died()
        die(run)
        for _ in range(3):
            with pytest.raises(OutcomeUnknown):
                run()
        assert GATEWAY.names == ["charge", "find"]


class TestWhatMayBeSentAgain:
    def step(self, key_ttl: timedelta | None, requested_at: Any) -> Step:
        return Step(position=0, name="s", kind=Kind.REMOTE, input="{}", key_ttl=key_ttl, requested_at=requested_at)

    def test_the_call_s_time_and_a_margin_are_taken_off(self) -> None:
        from django.utils import timezone

        first, timeout, moment = timezone.now(), timedelta(seconds=20), timedelta(microseconds=1)
        last = first + DAY - timeout - MARGIN
        step = self.step(DAY, first)
        assert may_be_sent(step, last - moment, timeout)
        assert not may_be_sent(step, last, timeout)
        assert not may_be_sent(self.step(None, first), first, timeout)
        assert not may_be_sent(self.step(DAY, None), first, timeout)


class TestDelays:
    def test_a_call_that_would_outlast_the_lease_is_not_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from django_idempotency.operations import steps

        class Clock:
            """The process stands still for a minute, once, between writing down and sending."""

            times = iter([0.0, 0.0])

            @classmethod
            def monotonic(cls) -> float:
                return next(cls.times, 56.0)

        def function(op: Any, *, amount: int) -> Any:
            monkeypatch.setattr(steps, "time", Clock)
            Clock.times = iter([0.0])
            return Respond(201, op.remote(GATEWAY.charge, amount=amount))

        with pytest.raises(RetryLater):
            deployed(function).run(key="k", amount=5)
        assert (GATEWAY.calls, journal()) == ([], [("remote", "Gateway.charge", False)])
