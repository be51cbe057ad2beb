from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """
    Where a record stands. No record at all is a new key.

        (new) ─claim→ processing ─complete→ completed ─purge→ tombstone ─purge→ (gone)
                          │                                     a released record is deleted: (gone)
                          └─ boundary broken, lease run out → unknown       waits for a person

    The token of a claimed record is 0 until its view starts, and is raised inside the view's own transaction. So a
    `processing` record with a raised token is never seen, unless its view has committed something on its own. The token
    of a leased claim is raised from the start: its view is a coroutine, and has no transaction.
    """

    PROCESSING = "processing"
    COMPLETED = "completed"
    TOMBSTONE = "tombstone"
    UNKNOWN = "unknown"
