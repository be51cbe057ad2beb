"""Taking answers out of the cache, for whoever takes them from the database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from uuid import UUID

from django.db import router, transaction

from ..backends.redis.connections import client, errors
from ..conf import get_policy, profiles
from ..exceptions import StoreUnavailable
from ..models import IdempotencyRecord
from .fills import BARRIER, LONGEST, Place, place

logger = logging.getLogger("django_idempotency")

BATCH = 1000
"""Records in one round trip."""


def forget(database: str, ids: Sequence[UUID]) -> None:
    """
    Take the answers of these records out of all caches. Call it inside the transaction that takes them from the database.

    Now, so that nobody puts them back who has read them before its commit; and once more after the commit, in case it
    was late. A cache that cannot be reached does not stop the transaction: it may replay them for ten minutes at most.
    """
    blocked = partial(_everywhere, database, ids, _block)
    blocked()
    transaction.on_commit(blocked, using=database, robust=True)


def drop(database: str, ids: Sequence[UUID]) -> None:
    """Take answers out whose time is over, after the commit of this transaction: nobody can put them back."""
    transaction.on_commit(partial(_everywhere, database, ids, _unlink), using=database, robust=True)


def _everywhere(database: str, ids: Sequence[UUID], act: Callable[[str, list[Place]], None]) -> None:
    names = sorted(_names(database))
    for cache in sorted(caches()):
        for batch in _batches(ids):
            try:
                with errors():
                    act(cache, [place(cache, name, record_id) for record_id in batch for name in names])
            except StoreUnavailable as exc:
                logger.error(  # noqa: TRY400 - one line for a batch: the cache that is away is not the news
                    "The answers of %s records could not be taken out of the cache %r (%r): it may replay them for %s.",
                    *(len(batch), cache, exc.__cause__, LONGEST),
                )


def _names(database: str) -> set[str]:
    """The aliases under which views may have put an answer: somebody may ask through another one of the same database."""
    known = {policy.database or router.db_for_write(IdempotencyRecord) for policy in map(get_policy, profiles())}
    return {database, *known}


def caches() -> set[str]:
    """The caches that may hold an answer."""
    return {policy.cache for policy in map(get_policy, profiles()) if policy.cache}


def _batches(ids: Sequence[UUID]) -> Iterator[list[UUID]]:
    rest = iter(ids)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _block(cache: str, places: list[Place]) -> None:
    pipeline = client(cache).pipeline(transaction=False)
    for at in places:
        # The barrier first: between the two, nobody can put back what is being removed.
        pipeline.set(at.permission, "barrier", px=BARRIER)
        pipeline.unlink(at.entry)
    pipeline.execute()


def _unlink(cache: str, places: list[Place]) -> None:
    client(cache).unlink(*(at.entry for at in places))
