"""Keys that expire without waiting: their records move into the past."""

from __future__ import annotations

from django.db.models.functions import Now

from .. import conf
from ..backends.db import database
from ..models import IdempotencyRecord
from ..replays import removals

MEMORY = "Keys in MemoryBackend expire by its clock: replace MemoryBackend.now for the length of a test."


def expire_answer(key: str) -> None:
    """
    Let the answer kept under a key expire now: the next request with it is refused as `key-expired`.

    Everything that happened to the key, under any scope, moves into the past. Raises LookupError where the database
    has no answer under it.
    """
    _age(key, "expires_at")


def forget_key(key: str) -> None:
    """Let a key be forgotten now: the next request with it is a first one. Raises as `expire_answer` does."""
    _age(key, "forget_at")


def databases(namespace: str | None = None) -> set[str]:
    """The databases with records, or with those of a namespace."""
    policies = map(conf.get_policy, conf.profiles())
    return {database(policy) for policy in policies if namespace in (None, policy.namespace)}


def _age(key: str, until: str) -> None:
    found = [
        record
        for alias in databases()
        for record in IdempotencyRecord.objects.using(alias).filter(key=key).annotate(now=Now())
        if getattr(record, until)
    ]
    if not found:
        raise LookupError(f"No database has an answer under the key {key!r}. {MEMORY}")
    for record in found:
        removals.forget(str(record._state.db), [record.pk])
        by = getattr(record, until) - record.now
        for name in ("claimed_at", "completed_at", "expires_at", "forget_at"):
            setattr(record, name, getattr(record, name) - by)
        record.save(update_fields=["claimed_at", "completed_at", "expires_at", "forget_at"])
