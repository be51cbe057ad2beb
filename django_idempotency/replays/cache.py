"""Answering from the cache, and asking the database where that is not possible."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from django.db import Error, transaction

from ..backends.redis.connections import client, errors
from ..core import fingerprints
from ..core.engine import Claim, Completed, Operation, Refused, Released, Replay, StoredRecord, judge
from ..exceptions import InFlight, KeyExpired, StoreUnavailable, TooManyKeys
from . import entries, fills, live_keys
from .breakers import asked

if TYPE_CHECKING:
    from ..backends.db.leases import Leases

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replays:
    """The cache in front of a profile's records."""

    cache: str
    keys: tuple[str, ...] = field(default=(), repr=False)
    """Those of ENCRYPTION_KEYS."""

    def through(self, operation: Operation, store: Leases, ask: Callable[[], Found]) -> Found | Replay | Refused:
        """What the cache knows of an operation; else what the database says, asked by `ask`. `store` is for reading it."""
        at = fills.place(self.cache, store.alias, operation.id)
        known = self._known(at, operation)
        if known is not None:
            return known
        room = self._entered(operation, store.alias)
        # Redis may have lost the keys that it counted. What the database knows is no new key.
        if room > 0 and store.read(operation) is None:
            return Refused(TooManyKeys(room))
        new = room == live_keys.COUNTED
        try:
            found = ask()
        except BaseException as exc:
            # A retry that could not ask has not made room.
            if new or not isinstance(exc, StoreUnavailable):
                self.leave(operation, store.alias)
            raise
        self._learn(at, operation, store, found)
        self._settle(operation, store.alias, found, new=new)
        return found

    def leave(self, operation: Operation, alias: str) -> None:
        """The key is not in use any more."""
        if operation.max_live_keys is not None:
            asked(self.cache, partial(live_keys.leave, self.cache, alias, operation))

    def _known(self, at: fills.Place, operation: Operation) -> Replay | Refused | None:
        entry = asked(self.cache, partial(_get, at))
        record = entries.read(entry, operation, self.keys) if entry else None
        if record is None:
            return None
        if record.snapshot is None:
            return _hinted(operation, record)
        verdict = judge(operation, record)
        return verdict if isinstance(verdict, Replay | Refused) else None

    def _entered(self, operation: Operation, alias: str) -> int:
        if operation.max_live_keys is None:
            return 0
        return asked(self.cache, partial(live_keys.enter, self.cache, alias, operation)) or 0

    def _settle(self, operation: Operation, alias: str, found: object, *, new: bool) -> None:
        """Go on counting a key only where this request has brought it to something: a count of nothing locks clients out."""
        if operation.max_live_keys is None:
            return
        match found:
            case Completed() | Claim():
                keep = partial(live_keys.keep, self.cache, alias, operation)
                with suppress(Error):
                    transaction.on_commit(partial(asked, self.cache, keep), using=alias, robust=True)
            case Released() | Refused(KeyExpired()):
                self.leave(operation, alias)
            case _ if new:
                self.leave(operation, alias)

    def _learn(self, at: fills.Place, operation: Operation, store: Leases, found: object) -> None:
        match found:
            case Replay():
                # After the caller's transaction: it may have read what will never be committed.
                with suppress(Error):
                    fill = partial(self._fill, at, operation, store)
                    transaction.on_commit(fill, using=store.alias, robust=True)
            case Refused(InFlight()) if not operation.patient:
                asked(self.cache, partial(hint, at, entries.hint(operation, self.keys)))

    def _fill(self, at: fills.Place, operation: Operation, store: Leases) -> None:
        def read() -> StoredRecord | None:
            with suppress(StoreUnavailable):
                return store.read(operation)
            return None

        # Tests run what is to follow a commit inside their own transaction.
        if not store.connection.in_atomic_block:
            entry = partial(entries.answer, operation, keys=self.keys)
            asked(self.cache, partial(fills.fill, at, read, entry))


def _hinted(operation: Operation, record: StoredRecord) -> Refused | None:
    """
    A hint can only refuse, and only the same request: another one may find the key free by now. Who waits for the first
    request's end is not kept from seeing it.
    """
    same = fingerprints.same(record.fingerprint, operation.fingerprints)
    return Refused(InFlight()) if same and not operation.patient else None


def _get(at: fills.Place) -> bytes | None:
    with errors():
        found: bytes | None = client(at.cache).get(at.entry)
    return found


def hint(at: fills.Place, entry: bytes) -> None:
    """Never in place of an answer, and never longer while it stands: a dead owner's key is taken over in time."""
    with errors():
        client(at.cache).set(at.entry, entry, nx=True, px=fills.HINTED)
