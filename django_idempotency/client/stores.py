"""Where keys and parameters are kept before the first byte is sent."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import router, transaction
from django.utils import timezone

OPEN_TRANSACTION = (
    "A request with an intent was about to be sent inside a database transaction: rolled back, it would take the memory of "
    "the request with it, and the request would have been sent all the same. Send it before the transaction or after it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A key and the parameters it belongs to, as they are stored."""

    id: UUID
    namespace: str
    intent: str
    method: str
    url: str
    fingerprint: bytes
    first_sent_at: datetime


class IntentStore(ABC):
    """
    Remembers intents.

    What `remember` has returned must outlive the process and a transaction that is rolled back; else two sets of parameters
    go out under one key, or a key goes out that the server has forgotten.
    """

    @abstractmethod
    def remember(self, intent: Intent) -> tuple[Intent, bool]:
        """
        The intent that is stored under this id, and whether it is new: then it is the given one.

        Atomic: of two callers at once, both get the one that came first. It is stored for good when this returns. Raises
        when it cannot be stored; then nothing is sent.
        """

    async def aremember(self, intent: Intent) -> tuple[Intent, bool]:
        return await sync_to_async(self.remember)(intent)


class MemoryIntents(IntentStore):
    """Intents of this process, gone with it: for tests, and for scripts that nobody runs twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._intents: dict[UUID, Intent] = {}

    def remember(self, intent: Intent) -> tuple[Intent, bool]:
        with self._lock:
            new = intent.id not in self._intents
            return self._intents.setdefault(intent.id, intent), new


class DatabaseIntents(IntentStore):
    """Intents in Django's database, the one that the router writes them to. Raises ImproperlyConfigured in a transaction."""

    def remember(self, intent: Intent) -> tuple[Intent, bool]:
        from ..intents import IdempotencyIntent

        using = router.db_for_write(IdempotencyIntent)
        columns = {name: getattr(intent, name) for name in Intent.__slots__ if name != "id"}
        columns["first_sent_at"] = _as_stored(intent.first_sent_at)
        _refuse_open_transaction(using)
        row, new = IdempotencyIntent._default_manager.using(using).get_or_create(id=intent.id, defaults=columns)
        stored = {name: getattr(row, name) for name in columns} | {"fingerprint": bytes(row.fingerprint)}
        return Intent(id=row.id, **{**stored, "first_sent_at": _aware(row.first_sent_at)}), new


def _as_stored(moment: datetime) -> datetime:
    return moment if settings.USE_TZ else timezone.make_naive(moment, timezone.get_default_timezone())


def _aware(stored: datetime) -> datetime:
    """Of an hour that a change of the clocks has twice, the earlier: a key is rather forgotten than sent too late."""
    return timezone.make_aware(stored, timezone.get_default_timezone()) if timezone.is_naive(stored) else stored


def _refuse_open_transaction(using: str) -> None:
    connection = transaction.get_connection(using)
    if not connection.in_atomic_block and not connection.get_autocommit():
        raise ImproperlyConfigured(OPEN_TRANSACTION)
    try:
        # A TestCase's own transaction is none of the caller's, and Django knows it from others.
        with transaction.atomic(using=using, durable=True):
            pass
    except RuntimeError as exc:
        raise ImproperlyConfigured(OPEN_TRANSACTION) from exc
