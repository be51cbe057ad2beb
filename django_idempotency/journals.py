"""What upkeep does with the journals of durable operations: they go with the record that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef

from .core.states import State
from .models import IdempotencyStep
from .models.records import never

BODIES: dict[str, Any] = {"input": None, "input_key_id": "", "result": None, "result_key_id": ""}


def delete(alias: str, records: Iterable[UUID]) -> None:
    """Delete the journals of these records. Else the next operation under such an id would find another's steps."""
    _of(alias, records)._raw_delete(alias)


def erase(alias: str, records: Iterable[UUID]) -> None:
    """Erase what the steps of these records were given and have returned."""
    _of(alias, records).update(**BODIES)


def deleted_too(chosen: list[dict[str, Any]], change: Callable[[Any], int]) -> Callable[[Any], int]:
    """A change of locked records that takes their journals with it; where none of them has one, the change alone."""
    operations = {row["id"] for row in chosen if row["operation"]}
    if not operations:
        return change

    def both(locked: Any) -> int:
        # Asked once: whoever frees a record between two statements must not lose its record alone, or its journal alone.
        held = list(locked.values_list("id", flat=True))
        delete(locked.db, operations.intersection(held))
        return change(locked.filter(id__in=held))

    return both


def never_begun(records: Any, before: Any) -> Any:
    """Operations that were refused before their first step, say for want of an account, and not asked for since then."""
    steps = IdempotencyStep._base_manager.using(records.db).filter(record_id=OuterRef("pk"))
    refused = records.filter(state=State.PROCESSING.value, operation__gt="", resume_at__gte=never())
    return refused.filter(~Exists(steps), due_at__lte=before, lease_until__lte=before)


def _of(alias: str, records: Iterable[UUID]) -> Any:
    return IdempotencyStep._base_manager.using(alias).filter(record_id__in=list(records))
