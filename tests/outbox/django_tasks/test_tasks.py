"""Messages to tasks of Django's own framework."""

from typing import Any

import pytest
from django.db import transaction
from django.tasks import task

from django_idempotency import enqueue_on_commit
from django_idempotency.models import IdempotencyMessage
from django_idempotency.outbox.drains import Drained, drain
from tests.bank.models import Payment
from tests.outbox.senders import enqueued, later, row
from tests.test_docs import load, shop

__all__ = ["shop"]

RUNS: list[tuple[Any, ...]] = []

pytestmark = pytest.mark.django_db(transaction=True)


@task
def note(*args: Any, **kwargs: Any) -> None:
    """Note what it is called with."""
    RUNS.append((args, kwargs))


@task(takes_context=True)
def told(context: Any, amount: int, *, message_id: str) -> None:
    """Be told the message's id."""
    RUNS.append((amount, message_id))


@pytest.fixture(autouse=True)
def at_once(settings: Any) -> None:
    """Run a task as soon as it is sent."""
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    RUNS.clear()


def test_the_task_gets_its_arguments() -> None:
    number = enqueued(1, task=note, b=[2])
    assert (row(number).target, row(number).task) == ("django", "tests.outbox.django_tasks.test_tasks.note")
    assert drain() == Drained(sent=1)
    assert RUNS == [((1,), {"b": [2]})]


def test_a_task_that_asks_for_the_message_s_id_is_told_the_same_each_time() -> None:
    number = enqueued(5, task=told)
    drain()
    IdempotencyMessage.objects.update(delivered_at=None, payload=b"[[5], {}]")
    later()
    drain()
    assert [(5, str(number))] * 2 == RUNS


def test_a_task_that_is_gone_waits() -> None:
    number = enqueued(1, task=note)
    name = row(number).task
    IdempotencyMessage.objects.update(task="tests.outbox.gone.task")
    assert drain() == Drained(failed=1)
    assert row(number).error == "ModuleNotFoundError"
    IdempotencyMessage.objects.update(task=name)
    later()
    assert drain() == Drained(sent=1)


def test_a_backend_that_cannot_be_had_leaves_the_message_for_later(settings: Any) -> None:
    number = enqueued(1, task=note)
    settings.TASKS = {"other": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
    assert drain() == Drained(failed=1)
    assert row(number).error


def test_a_task_that_using_has_changed_is_refused_because_the_change_would_be_lost() -> None:
    with transaction.atomic(), pytest.raises(TypeError, match="to be found there"):
        enqueue_on_commit(note.using(priority=5))
    assert IdempotencyMessage.objects.count() == 0


def test_the_example_of_the_documentation_takes_effect_once(shop: None) -> None:
    number = enqueued(17, task=load("outbox_django_tasks").book_fee)
    drain()
    IdempotencyMessage.objects.update(delivered_at=None, payload=b"[[17], {}]")
    later()
    drain()
    assert Payment.objects.get().key == str(number)
