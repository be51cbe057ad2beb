"""For services that call idempotent payment APIs: transports for httpx, which this needs and the rest of us does not."""

from .clocks import Clock
from .errors import IntentExpired, IntentReused, IntentSpent, Unanswered
from .intents import intent
from .servers import STRIPE, Server
from .stores import DatabaseIntents, Intent, IntentStore, MemoryIntents
from .transports import AsyncIdempotentTransport, IdempotentTransport

__all__ = [
    "STRIPE",
    "AsyncIdempotentTransport",
    "Clock",
    "DatabaseIntents",
    "IdempotentTransport",
    "Intent",
    "IntentExpired",
    "IntentReused",
    "IntentSpent",
    "IntentStore",
    "MemoryIntents",
    "Server",
    "Unanswered",
    "intent",
]
