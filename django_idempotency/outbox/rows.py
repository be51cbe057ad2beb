"""Messages as rows: written in the caller's transaction, emptied when they are delivered, deleted in the end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connections
from django.db.models import QuerySet
from django.db.transaction import TransactionManagementError

from ..backends.db import database
from ..backends.db.batches import now
from ..conf import get_policy, profiles
from ..encryption import sealed
from ..models import IdempotencyMessage
from .messages import Message

OUTSIDE = (
    "A message was enqueued outside of a transaction on the database {alias!r}. It is to be sent if, and only if, what "
    "belongs to it is committed: write both in one transaction.atomic(), or in a view that @idempotent protects. Where the "
    "transaction is on another database, name that: using=."
)


def home() -> str:
    """The database of the default profile's records, and of messages for which none is named."""
    return database(get_policy())


def write(alias: str, messages: Sequence[Message]) -> None:
    """Write messages in the transaction that is open on a database. Raises TransactionManagementError without one."""
    connection = connections[alias]
    if not connection.in_atomic_block and connection.get_autocommit():
        raise TransactionManagementError(OUTSIDE.format(alias=alias))
    moment = now(alias)
    in_database(alias).bulk_create([_row(message, moment) for message in messages])


def _row(message: Message, moment: Any) -> IdempotencyMessage:
    # No variable has the keys: error reports show those of every frame.
    payload, key_id = sealed(json.dumps([message.args, message.kwargs]).encode(), sealing_keys())
    return IdempotencyMessage(
        id=message.id,
        target=message.target,
        task=message.task,
        payload=payload,
        key_id=key_id,
        created_at=moment,
        due_at=moment,
    )


def sealing_keys() -> tuple[str, ...]:
    """
    The keys that messages are encrypted under, the newest first: a message belongs to no profile, and whoever sends it may
    know nothing of the one that wrote it. So all have the newest key of the default profile, else of the first with any.
    """
    return tuple(dict.fromkeys(key for profile in profiles() for key in get_policy(profile).encryption_keys))


def in_database(alias: str) -> QuerySet[IdempotencyMessage]:
    return IdempotencyMessage._base_manager.using(alias)


def purgeable(alias: str) -> QuerySet[IdempotencyMessage]:
    """Those that were delivered longer ago than the default profile's RETENTION."""
    return in_database(alias).filter(delivered_at__lte=now(alias) - get_policy().retention)


def purged(alias: str, batch_size: int) -> Iterator[int]:
    """Delete those, batch by batch; how many in each. What is delivered stays so: to delete by id is safe."""
    while chosen := list(purgeable(alias).order_by("delivered_at").values_list("pk", flat=True)[:batch_size]):
        yield in_database(alias).filter(pk__in=chosen)._raw_delete(alias) or 0
