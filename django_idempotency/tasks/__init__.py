"""Celery: upkeep as tasks, and tasks of a project whose effects happen once."""

from .effects import idempotent_task, message_id
from .upkeep import (
    beat_schedule,
    carry_out_bulk,
    compact_rollup,
    drain_outbox,
    heal_incidents,
    purge_expired,
    recover_abandoned,
)

__all__ = [
    "beat_schedule",
    "carry_out_bulk",
    "compact_rollup",
    "drain_outbox",
    "heal_incidents",
    "idempotent_task",
    "message_id",
    "purge_expired",
    "recover_abandoned",
]
