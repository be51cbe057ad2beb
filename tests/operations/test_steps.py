"""An operation from its claim to its answer: every step once, and its answer for ever."""

import json
import uuid
from contextlib import suppress
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import Http404

from django_idempotency import OutcomeUnknown, Respond, RetryLater, operation
from django_idempotency.exceptions import InFlight, KeyInvalid, KeyReused
from django_idempotency.models import IdempotencyRecord, IdempotencyStep
from tests.bank.models import Payment
from tests.operations.tills import GATEWAY, book, booked, deployed, doubtful, incidents, journal, pay, record, reserve
from tests.support.threads import elsewhere

pytestmark = pytest.mark.django_db(transaction=True)


def run(amount: int = 5, key: str = "k", using: Any = pay) -> Any:
    return using.run(key=key, amount=amount)


def fail(**given: Any) -> None:
    Payment.objects.create(key="undone", nonce="")
    raise ValueError("a bug")


class TestRunning:
    def test_it_runs_once_and_its_answer_is_replayed(self) -> None:
        first = run()
        assert first == Respond(201, {"charge": 1, "amount": 5})
        assert run() == first
        assert (GATEWAY.names, booked(), record().state) == (["charge"], 1, "completed")

    def test_its_journal_names_every_step_in_order(self) -> None:
        run()
        steps = [("phase", "reserve", True), ("remote", "Gateway.charge", True), ("phase", "book", True)]
        assert journal() == steps

    def test_another_input_under_the_same_key_is_refused(self) -> None:
        run(5)
        with pytest.raises(KeyReused):
            run(6)
        assert GATEWAY.names == ["charge"]

    def test_another_scope_is_another_operation(self) -> None:
        pay.run(key="k", scope="user:1", amount=5)
        pay.run(key="k", scope="user:2", amount=5)
        assert len(GATEWAY.charged) == 2

    def test_one_that_runs_elsewhere_is_in_flight(self) -> None:
        refused = []

        def again() -> None:
            with pytest.raises(InFlight) as caught:
                run()
            refused.append(caught.value)

        GATEWAY.after = lambda: elsewhere(again)
        assert run() == Respond(201, {"charge": 1, "amount": 5})
        assert (len(refused), GATEWAY.names) == (1, ["charge"])

    @pytest.mark.parametrize("key", ["", "x" * 256, "line\nbreak"])
    def test_a_key_that_is_none_is_refused(self, key: str) -> None:
        with pytest.raises(KeyInvalid):
            run(key=key)
        assert not IdempotencyRecord.objects.exists()

    def test_it_is_not_called_as_a_function(self) -> None:
        with pytest.raises(TypeError, match="call its respond"):
            pay(amount=5)

    def test_a_step_gets_and_gives_what_the_journal_keeps(self) -> None:
        seen = []

        def give(pair: Any) -> Any:
            seen.append(pair)
            return {"pair": (1, 2)}

        def function(op: Any, *, amount: int) -> Any:
            seen.append(op.phase(give, pair=(3, 4)))
            return Respond(200)

        run(using=deployed(function))
        assert seen == [[3, 4], {"pair": [1, 2]}]

    def test_op_says_which_record_and_attempt_it_is(self) -> None:
        seen = []

        def function(op: Any, *, amount: int) -> Any:
            seen.append((op.id, op.attempt))
            return Respond(200)

        run(using=deployed(function))
        assert seen == [(record().id, 1)]


class TestAnswers:
    @pytest.mark.parametrize("status", [100, 199, 408, 425, 429, 500, 503])
    def test_what_is_no_outcome_is_no_answer(self, status: int) -> None:
        with pytest.raises(ValueError, match="RetryLater"):
            Respond(status)

    def test_a_declined_card_is_an_answer_and_kept(self) -> None:
        declined = deployed(lambda op, amount: Respond(402, {"declined": True}))
        assert run(using=declined) == run(using=declined) == Respond(402, {"declined": True})

    def test_a_phase_may_return_the_answer(self) -> None:
        def refuse(amount: int) -> Respond:
            return Respond(422, {"amount": amount})

        def function(op: Any, *, amount: int) -> Any:
            answer = op.phase(refuse, amount=amount)
            assert isinstance(answer, Respond)
            return answer

        assert run(using=deployed(function)) == Respond(422, {"amount": 5})
        assert IdempotencyStep.objects.get().status == 422

    @pytest.mark.parametrize("answer", [None, {"status": 201}, 201])
    def test_anything_else_is_refused(self, answer: Any) -> None:
        with pytest.raises(TypeError, match="must return Respond or RetryLater"):
            run(using=deployed(lambda op, amount: answer))
        assert record().state == "processing"

    @pytest.mark.parametrize("how", ["returned", "raised"])
    def test_retry_later_frees_the_operation_without_an_answer(self, how: str) -> None:
        def function(op: Any, *, amount: int) -> Any:
            if op.attempt > 1:
                return Respond(200)
            if how == "raised":
                raise RetryLater(30)
            return RetryLater(30)

        later = deployed(function)
        with pytest.raises(RetryLater) as caught:
            run(using=later)
        found = record()
        assert (caught.value.retry_after, found.state, incidents()) == (30, "processing", [])
        assert 29 < (found.resume_at - found.lease_until).total_seconds() < 31
        assert run(using=later) == Respond(200)

    def test_retry_later_is_not_for_the_past(self) -> None:
        with pytest.raises(ValueError, match="seconds from now"):
            RetryLater(-1)


class TestFailures:
    def test_an_exception_is_raised_and_told_and_the_operation_goes_on_later(self) -> None:
        def function(op: Any, *, amount: int) -> Any:
            op.phase(reserve, amount=amount)
            op.phase(fail)

        with pytest.raises(ValueError, match="a bug"):
            run(using=deployed(function))
        found = record()
        assert (found.state, found.lease_until <= found.resume_at) == ("processing", True)
        assert found.resume_at.year < 9999
        assert incidents() == [("failed", "ValueError")]
        assert not Payment.objects.filter(key="undone").exists()
        assert journal() == [("phase", "reserve", True)]

    @pytest.mark.parametrize("answer", [PermissionDenied, Http404])
    def test_an_ordinary_answer_before_anything_was_done_is_the_end(self, answer: Any) -> None:
        def function(op: Any, *, amount: int) -> Any:
            raise answer

        with pytest.raises(answer):
            run(using=deployed(function))
        assert (record().resume_at.year, incidents()) == (9999, [])

    def test_once_a_call_was_sent_no_answer_is_the_end(self) -> None:
        class Declined(Exception):
            status_code = 402

        GATEWAY.after = Declined()
        with pytest.raises(RetryLater):
            run(using=deployed(lambda op, amount: op.remote(GATEWAY.charge, amount=amount)))
        assert (record().resume_at.year < 9999, incidents()) == (True, [("failed", "Declined")])

    def test_a_call_that_does_not_know_is_asked_for_later(self) -> None:
        GATEWAY.after = OutcomeUnknown("no answer")
        with pytest.raises(RetryLater):
            run()
        assert (record().state, incidents()) == ("processing", [])
        assert run() == Respond(201, {"charge": 1, "amount": 5})
        assert GATEWAY.names == ["charge", "find"]

    def test_a_call_that_nobody_can_ask_for_and_that_has_no_key_waits_for_a_person(self) -> None:
        GATEWAY.after, GATEWAY.key_ttl = OutcomeUnknown("no answer"), None
        with pytest.raises(OutcomeUnknown):
            run(using=deployed(lambda op, amount: op.remote(GATEWAY.charge, amount=amount)))
        assert record().state == "unknown"


class TestSwallowing:
    def test_a_remote_call_s_exception_ends_the_run_even_where_it_is_caught(self) -> None:
        def function(op: Any, *, amount: int) -> Any:
            try:
                op.remote(GATEWAY.charge, amount=amount)
            except TimeoutError:
                return Respond(402, {"declined": True})

        GATEWAY.after = TimeoutError()
        with pytest.raises(TimeoutError):
            run(using=deployed(function))
        assert (record().state, record().status) == ("processing", None)

    def test_what_ends_the_process_is_not_swallowed_for_it(self) -> None:
        def function(op: Any, *, amount: int) -> Any:
            with suppress(OutcomeUnknown):
                op.remote(GATEWAY.charge, amount=amount)
            raise SystemExit

        GATEWAY.before = doubtful()
        with pytest.raises(SystemExit):
            deployed(function).run(key="k", amount=5)

    def test_nothing_is_begun_after_what_ended_the_run(self) -> None:
        def function(op: Any, *, amount: int) -> Any:
            try:
                op.remote(GATEWAY.charge, amount=amount)
            except TimeoutError:
                op.phase(book, payment=1, charge={"number": 1, "amount": 5})

        GATEWAY.after = TimeoutError()
        with pytest.raises(TimeoutError):
            run(using=deployed(function))
        assert booked() == 0

    def test_a_phase_s_own_exception_may_be_caught_to_answer(self) -> None:
        def function(op: Any, *, amount: int) -> Any:
            try:
                op.phase(fail)
            except ValueError:
                return Respond(409, {"sold": "out"})

        assert run(using=deployed(function)).status == 409
        assert not Payment.objects.exists()

    def test_or_to_try_the_same_again(self) -> None:
        tries = []

        def sometimes() -> str:
            tries.append(1)
            if len(tries) == 1:
                raise ValueError("not yet")
            return "done"

        def function(op: Any, *, amount: int) -> Any:
            try:
                return Respond(200, op.phase(sometimes))
            except ValueError:
                return Respond(200, op.phase(sometimes))

        assert run(using=deployed(function)) == Respond(200, "done")

    def test_but_not_to_do_something_else_which_a_resumed_run_might_not(self) -> None:
        def function(op: Any, *, amount: int) -> Any:
            try:
                op.phase(fail)
            except ValueError:
                op.phase(reserve, amount=amount)
            return Respond(200)

        with pytest.raises(ImproperlyConfigured, match="nothing would tell which way"):
            run(using=deployed(function))
        assert journal() == []

    def test_a_step_inside_another_is_refused_even_where_that_is_caught(self) -> None:
        def function(op: Any, *, amount: int) -> Any:
            def outer() -> str:
                try:
                    op.remote(GATEWAY.charge, amount=amount)
                except ImproperlyConfigured:
                    return "not charged"
                return "charged"

            op.phase(outer)
            return Respond(200)

        with pytest.raises(ImproperlyConfigured, match="inside another one"):
            run(using=deployed(function))
        assert (GATEWAY.calls, record().state) == ([], "processing")


class TestKeys:
    def test_each_step_has_a_key_of_its_own_which_depends_on_the_operation(self) -> None:
        def function(op: Any, *, amount: int) -> Any:
            for _ in range(2):
                op.remote(GATEWAY.charge, amount=amount)
            return Respond(200)

        twice = deployed(function)
        for key in ("a", "b"):
            run(key=key, using=twice)
        sent = [key for _, key, _ in GATEWAY.calls]
        assert len(set(sent)) == 4
        assert all(str(uuid.UUID(key)) == key for key in sent)
        assert sent[:2] == list(
            IdempotencyStep.objects.filter(record_id=IdempotencyRecord.objects.get(key="a").id)
            .order_by("position")
            .values_list("gateway_key", flat=True)
        )


class TestNames:
    def test_a_step_needs_a_name(self) -> None:
        with pytest.raises(TypeError, match="named function"):
            run(using=deployed(lambda op, amount: op.phase(lambda: 1)))

    @pytest.mark.parametrize("found", [print, object(), type("View", (), {})])
    def test_an_operation_is_a_plain_function(self, found: Any) -> None:
        with pytest.raises(TypeError, match="plain function"):
            operation(found)

    def test_it_takes_no_unknown_argument(self) -> None:
        with pytest.raises(TypeError, match=r"no argument 'retenton'.*retention"):
            operation(retenton=1)

    def test_its_name_fits_the_column(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="200 characters"):
            operation(name="x" * 201)(lambda op: None)


def test_the_answer_is_stored_as_json() -> None:
    run()
    assert json.loads(bytes(record().body)) == {"charge": 1, "amount": 5}
