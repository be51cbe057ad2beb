"""Messages to Celery's tasks: handed over with their id, to the task of that name, as it would be by itself."""

from typing import Any

import pytest
from celery import Celery, shared_task
from django.db import transaction

from django_idempotency import enqueue_on_commit
from django_idempotency.exceptions import KeyInvalid
from django_idempotency.models import IdempotencyMessage
from django_idempotency.outbox.drains import Drained, drain
from django_idempotency.tasks import drain_outbox, idempotent_task, message_id
from tests.bank.models import Payment
from tests.outbox.senders import enqueued, later, row

RUNS: list[tuple[Any, ...]] = []

pytestmark = pytest.mark.django_db(transaction=True)


@shared_task(name="outbox.note", bind=True)
def note(self: Any, *args: Any, **kwargs: Any) -> None:
    """Note under which id it runs, and with what."""
    RUNS.append((self.request.id, args, kwargs))


@shared_task(name="outbox.take")
def take(amount: int) -> None:
    """Take one argument and no other."""
    RUNS.append((amount,))


@idempotent_task(key=message_id, name="outbox.book")
def book(amount: int) -> None:
    """Pay once for each message."""
    Payment.objects.create(key=str(amount))


@pytest.fixture
def eager(app: Celery) -> Celery:
    """Runs a task as soon as it is sent."""
    app.conf.task_always_eager = True
    RUNS.clear()
    return app


class TestSending:
    def test_the_task_runs_under_the_id_of_its_message(self, eager: Celery) -> None:
        number = enqueued(1, task=note, b=[2])
        assert drain() == Drained(sent=1)
        assert [(str(number), (1,), {"b": [2]})] == RUNS

    def test_it_is_sent_with_the_task_s_own_options(self, app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[dict[str, Any]] = []
        monkeypatch.setattr(app, "send_task", lambda name, *args, **options: sent.append(options))
        monkeypatch.setattr(app.tasks["outbox.note"], "queue", "slow", raising=False)
        number = enqueued(task=note)
        drain()
        assert [(options["task_id"], options["queue"]) for options in sent] == [(str(number), "slow")]

    def test_a_task_that_nobody_knows_waits_until_somebody_does(self, eager: Celery) -> None:
        number = enqueued(1, task=note)
        IdempotencyMessage.objects.update(task="outbox.gone")
        assert drain() == Drained(failed=1)
        assert row(number).error == "NotRegistered"
        later()
        IdempotencyMessage.objects.update(task="outbox.note")
        assert drain() == Drained(sent=1)

    def test_tasks_that_only_a_worker_has_discovered_so_far_are_found(self, eager: Celery) -> None:
        enqueued(task=note)
        known = eager.tasks.pop("outbox.note")
        eager.loader.import_default_modules = lambda: eager.tasks.register(known)  # type: ignore[method-assign]
        assert drain() == Drained(sent=1)

    def test_a_broker_that_is_gone_leaves_the_message_for_later(self, app: Celery) -> None:
        app.conf.update(broker_url="amqp://guest@127.0.0.1:1//", task_publish_retry=False)
        number = enqueued(task=note)
        assert drain() == Drained(failed=1)
        assert row(number).error == "OperationalError"

    def test_the_task_of_upkeep_returns_plain_counts(self, eager: Celery) -> None:
        for _ in range(3):
            enqueued(task=note)
        assert drain_outbox(batch_size=2, seconds=0) == {"sent": 2, "failed": 0, "stuck": 0}
        assert drain_outbox() == {"sent": 1, "failed": 0, "stuck": 0}


class TestEnqueueing:
    @pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2), {}), ((1,), {"currency": "EUR"})])
    def test_arguments_that_the_task_does_not_take_are_refused(self, args: Any, kwargs: Any) -> None:
        with transaction.atomic(), pytest.raises(TypeError):
            enqueue_on_commit(take, *args, **kwargs)
        assert IdempotencyMessage.objects.count() == 0

    def test_those_of_an_idempotent_task_too(self) -> None:
        with transaction.atomic(), pytest.raises(TypeError):
            enqueue_on_commit(book)

    @pytest.mark.parametrize("signature", [take.s(1), take.s(1).set(queue="slow")])
    def test_a_signature_is_refused_because_what_it_holds_would_be_lost(self, signature: Any) -> None:
        with transaction.atomic(), pytest.raises(TypeError, match="without arguments or options"):
            enqueue_on_commit(signature, 1)


class TestOnce:
    def test_a_message_that_is_sent_twice_takes_effect_once(self, eager: Celery) -> None:
        enqueued(5, task=book)
        drain()
        sent = IdempotencyMessage.objects.filter(attempts=1)
        sent.update(delivered_at=None, payload=b"[[5], {}]")
        later()
        assert drain() == Drained(sent=1)
        assert Payment.objects.count() == 1

    def test_two_messages_with_the_same_arguments_take_effect_twice(self, eager: Celery) -> None:
        enqueued(5, task=book)
        enqueued(5, task=book)
        drain()
        assert Payment.objects.count() == 2

    def test_a_call_without_a_message_has_no_key(self) -> None:
        with pytest.raises(KeyInvalid):
            book(5)
        assert Payment.objects.count() == 0
