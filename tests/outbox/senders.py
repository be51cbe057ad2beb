"""What messages are sent to in the tests of the outbox itself."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from django_idempotency import enqueue_on_commit
from django_idempotency.models import IdempotencyMessage


class Task:
    """What the outbox asks of a Celery task."""

    typing = False

    def __init__(self, name: str = "shop.send") -> None:
        self.name = name

    def apply_async(self) -> None:
        raise NotImplementedError


SEND = Task()


class Broker:
    """Keeps what it is sent, unless told to refuse it."""

    def __init__(self) -> None:
        self.sent: list[tuple[UUID, Any]] = []
        self.refused: set[str] = set()
        self.act: Callable[[], Any] | None = None
        """Done before each message is taken."""
        self.lock = threading.Lock()

    def __call__(self, name: str, number: UUID, call: Any) -> None:
        if self.act:
            self.act()
        if name in self.refused:
            raise ConnectionError("amqp://user:password@broker")
        with self.lock:
            self.sent.append((number, call))

    @property
    def ids(self) -> list[UUID]:
        return [number for number, _ in self.sent]


def enqueued(*args: Any, task: Any = SEND, using: str | None = None, **kwargs: Any) -> UUID:
    """Enqueue one message in a transaction of its own."""
    with transaction.atomic(using=using):
        return enqueue_on_commit(task, *args, using=using, **kwargs)


def row(number: UUID) -> IdempotencyMessage:
    return IdempotencyMessage.objects.get(pk=number)


def later(by: timedelta = timedelta(hours=2)) -> None:
    """Let so much time pass for every message."""
    IdempotencyMessage.objects.update(due_at=F("due_at") - by, delivered_at=F("delivered_at") - by)
