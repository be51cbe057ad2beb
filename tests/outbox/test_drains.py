"""The drain: what is committed is sent, each time with the same id, and nothing that fails is in the way."""

import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_idempotency import enqueue_on_commit
from django_idempotency.maintenance import Purged, purge
from django_idempotency.models import IdempotencyMessage
from django_idempotency.outbox import drains
from django_idempotency.outbox.drains import HOLD, STUCK_AFTER, Drained, drain
from tests.outbox.senders import SEND, Broker, Task, enqueued, later, row
from tests.support.threads import Stage, closing, elsewhere, running

BAD = Task("shop.bad")

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """Ends a drain wherever it is."""


def killed() -> None:
    raise Killed


class TestDelivery:
    def test_what_is_committed_is_sent_once(self, broker: Broker):
        number = enqueued(1, b=2)
        assert (drain(), drain()) == (Drained(sent=1), Drained())
        assert broker.sent == [(number, ([1], {"b": 2}))]

    def test_what_is_not_committed_yet_is_not_sent(self, broker: Broker):
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has one writer at a time")
        with transaction.atomic():
            enqueue_on_commit(SEND)
            assert elsewhere(drain) == Drained()
        assert drain() == Drained(sent=1)

    def test_what_is_committed_after_a_later_message_was_sent_is_sent_too(self, broker: Broker):
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has one writer at a time")
        with transaction.atomic():
            early = enqueue_on_commit(SEND)
            late = elsewhere(enqueued)
            assert elsewhere(drain) == Drained(sent=1)
        assert drain() == Drained(sent=1)
        assert broker.ids == [late, early]

    def test_a_delivered_message_holds_nothing_of_what_was_sent(self, broker: Broker):
        number = enqueued("secret")
        drain()
        found = row(number)
        assert (found.payload, found.key_id, found.task, found.attempts) == (None, "", "shop.send", 1)
        assert abs(found.delivered_at - timezone.now()) < timedelta(minutes=1)

    def test_no_transaction_is_open_while_a_message_is_sent(self, broker: Broker):
        open_ones = []
        broker.act = lambda: open_ones.append(connection.in_atomic_block)
        enqueued()
        drain()
        assert open_ones == [False]

    def test_in_a_transaction_it_is_refused(self, broker: Broker):
        enqueued()
        with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
            drain()
        assert broker.sent == []

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_a_database_can_be_chosen(self, broker: Broker):
        enqueued(using="other")
        assert (drain(), drain(using="other")) == (Drained(), Drained(sent=1))

    @pytest.mark.parametrize("number", [0, 1, 5, 12])
    def test_all_that_is_due_goes_in_batches(self, broker: Broker, number: int) -> None:
        ids = {enqueued() for _ in range(number)}
        told: list[Drained] = []
        assert drain(batch_size=5, progress=told.append) == Drained(sent=number)
        assert (set(broker.ids), len(broker.ids)) == (ids, number)
        assert [sums.sent for sums in told] == [n for n in (5, 10) if n <= number] + ([number] if number % 5 else [])

    def test_no_batch_is_begun_after_the_time_is_up(self, broker: Broker):
        for _ in range(5):
            enqueued()
        assert (drain(batch_size=2, seconds=0).sent, drain(batch_size=2).sent) == (2, 3)

    @pytest.mark.parametrize("batch_size", [0, 1001])
    def test_a_batch_has_a_size(self, batch_size: int) -> None:
        with pytest.raises(ValueError, match="from 1 to 1000"):
            drain(batch_size=batch_size)

    @pytest.mark.parametrize("number", [1, 40])
    def test_a_batch_takes_as_many_statements_whatever_its_size(self, broker: Broker, number: int) -> None:
        for _ in range(number):
            enqueued()
        with CaptureQueriesContext(connection) as statements:
            drain()
        own = [sql for sql in statements.captured_queries if "idempotencymessage" in sql["sql"]]
        # Taken with two, marked with one; and what is stuck is counted. SQLite's lock is one more.
        assert len(own) == (5 if connection.vendor == "sqlite" else 4)


class TestFailures:
    @pytest.fixture(autouse=True)
    def refusing(self, broker: Broker) -> None:
        broker.refused = {BAD.name}

    def test_a_message_that_fails_holds_up_no_other(self, broker: Broker):
        enqueued(task=BAD)
        good = [enqueued() for _ in range(3)]
        assert drain(batch_size=1) == Drained(sent=3, failed=1)
        assert broker.ids == good

    def test_it_is_put_off_with_growing_pauses(self, broker: Broker, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(drains.random, "uniform", lambda low, high: high)
        number, pauses = enqueued(task=BAD), []
        for _ in range(13):
            before = timezone.now()
            assert drain().failed == 1
            pauses.append((row(number).due_at - before).total_seconds())
            later()
        assert pauses == pytest.approx([2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600], abs=1.5)

    def test_pauses_differ_by_chance(self, broker: Broker):
        numbers = [enqueued(task=BAD) for _ in range(20)]
        IdempotencyMessage.objects.update(attempts=9)
        drain()
        waits = [(row(number).due_at - timezone.now()).total_seconds() for number in numbers]
        assert min(waits) > 500
        assert max(waits) <= 1024
        assert max(waits) - min(waits) > 50

    def test_it_is_not_sent_before_its_time(self, broker: Broker):
        enqueued(task=BAD)
        drain()
        broker.refused.clear()
        assert drain() == Drained()
        later()
        assert drain() == Drained(sent=1)

    def test_it_is_logged_and_kept_without_the_text_of_the_fault(self, broker: Broker, caplog: Any):
        number = enqueued("secret", task=BAD)
        drain()
        assert (row(number).error, bytes(row(number).payload)) == ("ConnectionError", b'[["secret"], {}]')
        assert f"Message {number} to shop.bad was not sent in attempt 1: ConnectionError." in caplog.text
        assert "password" not in caplog.text
        assert "secret" not in caplog.text

    def test_the_staff_learns_of_what_does_not_go_by_itself(self, broker: Broker, caplog: Any):
        enqueued(task=BAD)
        told = []
        for _ in range(STUCK_AFTER + 1):
            caplog.clear()
            stuck = drain().stuck
            told.append((stuck, caplog.records[-1].levelno))
            later()
        assert told == [(0, logging.WARNING)] * (STUCK_AFTER - 1) + [(1, logging.ERROR)] * 2
        assert drain().stuck == 1

    @pytest.mark.parametrize("keys", [[], [Fernet.generate_key().decode()]])
    def test_what_cannot_be_decrypted_waits_for_its_key(self, broker: Broker, keys: list[str]) -> None:
        lost = Fernet.generate_key().decode()
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": [lost]}}):
            number = enqueued()
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": keys}}):
            assert drain() == Drained(failed=1)
        assert row(number).error == "KeyLost"
        later()
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": [*keys, lost]}}):
            assert drain() == Drained(sent=1)

    def test_an_error_is_gone_with_the_delivery(self, broker: Broker):
        number = enqueued(task=BAD)
        drain()
        broker.refused.clear()
        later()
        drain()
        assert row(number).error == ""


class TestDeaths:
    def test_what_was_taken_by_a_drain_that_died_comes_again_with_the_same_id(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ):
        number = enqueued()
        with monkeypatch.context() as dying:
            # As a killed process: neither marked nor given back.
            dying.setattr(drains, "_mark", lambda *args: killed())
            with pytest.raises(Killed):
                drain()
        assert drain() == Drained()
        later(HOLD)
        assert drain() == Drained(sent=1)
        assert broker.ids == [number, number]

    def test_a_drain_that_is_told_to_end_marks_what_it_has_sent_and_gives_back_the_rest(self, broker: Broker):
        first, second = enqueued(), enqueued()
        numbers = iter([first])
        broker.act = lambda: next(numbers, None) or killed()
        with pytest.raises(Killed):
            drain()
        broker.act = None
        assert (row(first).delivered_at is None, row(second).attempts) == (False, 0)
        assert drain() == Drained(sent=1)
        assert broker.ids == [first, second]

    def test_what_is_not_sent_in_the_first_half_of_the_hold_is_given_back(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ):
        first, second = enqueued(), enqueued()
        clock = [0.0]
        monkeypatch.setattr(drains.time, "monotonic", lambda: clock[0])

        def slow() -> None:
            clock[0] += HOLD.total_seconds() / 2

        broker.act = slow
        assert drain() == Drained(sent=1)
        assert (row(first).delivered_at is None, row(second).attempts) == (False, 0)
        assert drain() == Drained(sent=1)

    def test_a_drain_that_stood_still_does_not_put_off_what_another_has_taken(self, broker: Broker):
        number = enqueued(task=BAD)
        broker.refused = {BAD.name}

        def overtake() -> None:
            broker.act = None
            later(HOLD)
            assert elsewhere(lambda: drains._taken("default", 1))

        broker.act = overtake
        assert drain() == Drained(failed=1)
        found = row(number)
        assert (found.attempts, found.error) == (2, "")
        assert found.due_at - timezone.now() > HOLD / 2


class TestTwoAtOnce:
    def test_what_one_is_about_to_send_the_other_leaves_alone(self, broker: Broker):
        numbers, stage = {enqueued() for _ in range(3)}, Stage()
        stages = iter([stage])
        broker.act = lambda: [stage.enter() for stage in stages]
        with running(lambda: drain(batch_size=2, seconds=0), stage) as first:
            assert drain() == Drained(sent=1)
        assert first.result() == Drained(sent=2)
        assert (set(broker.ids), len(broker.ids)) == (numbers, 3)

    def test_it_waits_for_no_row_that_somebody_holds(self, broker: Broker):
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has no row locks")
        held, free = enqueued(), enqueued()
        with transaction.atomic():
            IdempotencyMessage.objects.select_for_update().get(pk=held)
            assert elsewhere(drain) == Drained(sent=1)
        assert broker.ids == [free]

    @pytest.mark.slow
    def test_a_storm_of_drains_sends_each_message_once(self, broker: Broker):
        numbers = {enqueued() for _ in range(300)}
        bad = {enqueued(task=BAD) for _ in range(20)}
        broker.refused = {BAD.name}
        with ThreadPoolExecutor(6) as pool:
            runs = [pool.submit(closing, lambda: drain(batch_size=7)) for _ in range(18)]
            done = [run.result() for run in runs]
        done.append(drain())
        assert (len(broker.ids), set(broker.ids)) == (300, numbers)
        assert sum(drained.sent for drained in done) == 300
        broker.refused.clear()
        later()
        drain()
        assert (len(broker.ids), set(broker.ids)) == (320, numbers | bad)


class TestUpkeep:
    def test_delivered_messages_are_purged_after_the_retention(self, broker: Broker):
        enqueued()
        drain()
        waiting = enqueued()
        assert purge() == Purged()
        later(timedelta(hours=73))
        assert (purge(dry_run=True), purge(batch_size=1)) == (Purged(messages=1), Purged(messages=1))
        assert IdempotencyMessage.objects.get().pk == waiting

    def test_the_command_says_what_it_did(self, broker: Broker):
        broker.refused = {BAD.name}
        enqueued()
        enqueued(task=BAD)
        out = StringIO()
        call_command("idempotency_drain", "--batch-size=1", stdout=out, stderr=StringIO())
        assert out.getvalue() == "drained: sent 1, failed 1, stuck 0\n"

    @pytest.mark.parametrize("size", ["0", "1001", "many"])
    def test_the_command_refuses_a_batch_without_a_size(self, size: str) -> None:
        with pytest.raises(CommandError, match="from 1 to 1000"):
            call_command("idempotency_drain", f"--batch-size={size}")

    def test_the_command_is_silent_where_asked(self, broker: Broker):
        out = StringIO()
        call_command("idempotency_drain", verbosity=0, stdout=out, stderr=out)
        assert out.getvalue() == ""

    def test_a_message_says_what_it_is(self):
        message = IdempotencyMessage(id=uuid.UUID(int=1), task="shop.send")
        assert str(message) == "00000000-0000-0000-0000-000000000001 to shop.send"
