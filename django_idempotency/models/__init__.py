"""The tables, one module each. Intents belong to the client, which may be used without the rest."""

from ..intents import IdempotencyIntent
from .approvals import IdempotencyApproval
from .bulk import IdempotencyBulk, IdempotencyBulkRow
from .events import IdempotencyEvent, IdempotencyHead
from .incidents import IdempotencyIncident
from .messages import IdempotencyMessage
from .records import IdempotencyRecord
from .rollups import IdempotencyRollup
from .steps import IdempotencyStep

__all__ = [
    "IdempotencyApproval",
    "IdempotencyBulk",
    "IdempotencyBulkRow",
    "IdempotencyEvent",
    "IdempotencyHead",
    "IdempotencyIncident",
    "IdempotencyIntent",
    "IdempotencyMessage",
    "IdempotencyRecord",
    "IdempotencyRollup",
    "IdempotencyStep",
]
