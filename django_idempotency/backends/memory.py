from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.utils import timezone

from ..core.engine import (
    Again,
    Claim,
    Completed,
    Operation,
    Outcome,
    Refused,
    Released,
    Snapshot,
    StoredRecord,
    Verdict,
    Work,
    claim_number,
    judge,
)
from ..core.states import State
from ..exceptions import InFlight
from .base import BaseBackend

if TYPE_CHECKING:
    from ..core.policies import Policy


class MemoryBackend(BaseBackend):
    """
    Records in this process's memory, for tests that need no database.

    They die with the process and no other process sees them: a system check refuses this backend outside DEBUG.
    A claim cannot outlive its owner here, so it is never taken over.
    """

    # Shared by all instances: two views of one profile have one each.
    _records: ClassVar[dict[UUID, StoredRecord]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def attempt(self, operation: Operation, work: Work) -> Outcome | Again:
        claim = self.claim(operation)
        if not isinstance(claim, Claim):
            return claim
        try:
            snapshot = work(claim)
        except BaseException:
            self.release(claim)
            raise
        if snapshot is None:
            self.release(claim)
            return Released(claim)
        return Completed(claim) if self.complete(claim, snapshot) else Refused(InFlight())

    def claim(self, operation: Operation) -> Verdict:
        with self._lock:
            record = self._read(operation.id)
            if record is None:
                return self._insert(operation)
            verdict = judge(operation, record)
            if verdict is Again.FORGOTTEN:
                return self._insert(operation)
            return Refused(InFlight()) if isinstance(verdict, Claim) else verdict

    def complete(self, claim: Claim, snapshot: Snapshot) -> bool:
        operation, now = claim.operation, self.now()
        with self._lock:
            record = self._ours(claim)
            if record is None:
                return False
            expires_at = now + operation.retention
            self._records[operation.id] = StoredRecord(
                state=State.COMPLETED,
                claim=claim.number,
                token=claim.attempt,
                fingerprint=record.fingerprint,
                now=now,
                claimed_at=record.claimed_at,
                expires_at=expires_at,
                forget_at=expires_at + operation.tombstone,
                snapshot=snapshot,
            )
            return True

    def release(self, claim: Claim) -> bool:
        with self._lock:
            if self._ours(claim) is None:
                return False
            del self._records[claim.operation.id]
            return True

    @classmethod
    def clear(cls) -> None:
        """Forget every key: call between tests."""
        with cls._lock:
            cls._records.clear()

    @staticmethod
    def now() -> datetime:
        """The store's time; tests that expire a key replace it."""
        return timezone.now()

    def _read(self, record_id: UUID) -> StoredRecord | None:
        record = self._records.get(record_id)
        return None if record is None else replace(record, now=self.now())

    def _insert(self, operation: Operation) -> Claim:
        now, number = self.now(), claim_number()
        self._records[operation.id] = StoredRecord(
            state=State.PROCESSING,
            claim=number,
            token=0,
            fingerprint=operation.fingerprints[0],
            now=now,
            claimed_at=now,
        )
        return Claim(operation=operation, number=number)

    def _ours(self, claim: Claim) -> StoredRecord | None:
        record = self._records.get(claim.operation.id)
        if record is None or record.claim != claim.number or record.state is not State.PROCESSING:
            return None
        return record

    @classmethod
    def check(cls, policy: Policy) -> list[CheckMessage]:
        if settings.DEBUG:
            return []
        return [
            Error(
                f"IDEMPOTENCY[{policy.profile!r}] keeps its records in memory: another process would charge again.",
                hint="MemoryBackend is for tests. Use django_idempotency.backends.DatabaseBackend.",
                id="django_idempotency.E007",
            )
        ]
