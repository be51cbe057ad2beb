"""
The claims of a project's Redis: leases, because no transaction can join one.

    claim      one script, with Redis's own time until which it is exclusive
    extend     again and again while the work runs
    complete   where claim, token and state are as we left them

docs/howto/redis.md tells what is true if the process, or Redis, dies after each of them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured

from ... import incidents
from ...core.engine import (
    Again,
    Claim,
    Operation,
    Refused,
    Snapshot,
    StoredRecord,
    Verdict,
    Work,
    claim_number,
    judge,
)
from ...core.states import State
from ...exceptions import StoreUnavailable
from ..transactions import refuse_transaction
from . import records, scripts
from .connections import Script, record_key
from .records import milliseconds
from .unheard import Unheard

logger = logging.getLogger("django_idempotency")

IN_TRANSACTION = (
    "A view under RedisBackend was called inside a database transaction, such as that of ATOMIC_REQUESTS: rolled back, it "
    "would leave an answer in Redis to what never happened. End the transaction before the view; under ATOMIC_REQUESTS, "
    "with django.db.transaction.non_atomic_requests."
)
NO_COMMIT = (
    "commit() commits what a view has written together with its answer, and under RedisBackend the answer is in Redis: no "
    "transaction has both. Put the view under a profile with a DatabaseBackend."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed(Claim):
    """A claim that knows where its record lies. Where the cache's KEY_FUNCTION asks for a tenant, other threads do not."""

    keys: tuple[str, str]


class RedisLeases:
    """The claims in one cache of django-redis. `database` is where the staff is told; None where there is none."""

    def __init__(self, cache: str, database: str | None) -> None:
        self.cache = cache
        self.database = database
        self.unheard = Unheard(self._never_ran)

    def claim(self, operation: Operation) -> Verdict:
        refuse_transaction(IN_TRANSACTION)
        claim = Placed(operation=operation, number=claim_number(), keys=self._keys(operation))
        arguments = (claim.number, operation.fingerprints[0], milliseconds(operation.lease))
        try:
            found = self._run(scripts.CLAIM, claim.keys, arguments)
        except StoreUnavailable:
            self.unheard.add(claim)
            raise
        if len(found) == 1:
            return claim if found[0] == claim.attempt else replace(claim, attempt=found[0])
        record = records.record(found[0])
        return Again.UNCLEAR if record is None else self._judged(operation, record, untold=bool(found[1]))

    def extend(self, claim: Claim) -> bool:
        return self._fenced(scripts.EXTEND, claim)

    def complete(self, claim: Claim, snapshot: Snapshot) -> bool:
        operation = claim.operation
        remembered = operation.retention + operation.tombstone
        times = milliseconds(operation.retention), milliseconds(remembered)
        return self._fenced(scripts.COMPLETE, claim, records.packed(snapshot), *times)

    def release(self, claim: Claim) -> bool:
        released = self._fenced(scripts.RELEASE, claim, 0)
        if released:
            self._tell(incidents.failure(claim))
        return released

    def doubt(self, claim: Claim) -> bool:
        doubted = self._fenced(scripts.DOUBT, claim)
        if doubted:
            logger.error("The view of %s did not end as it should: outcome unknown.", claim.operation.id)
            fence = claim.number, claim.attempt
            self._tell_unknown(claim.operation, fence, self._placed(claim), claim.ending.error)
        return doubted

    def read(self, operation: Operation) -> StoredRecord | None:
        return records.record(self._run(scripts.READ, self._keys(operation), ()))

    def commit(self, claim: Claim, work: Work) -> NoReturn:
        raise ImproperlyConfigured(NO_COMMIT)

    def _judged(self, operation: Operation, record: StoredRecord, *, untold: bool) -> Verdict:
        verdict = judge(operation, record)
        if isinstance(verdict, Claim):
            return self._take_over(operation, record)
        if not (isinstance(verdict, Refused) and verdict.error.code == "outcome-unknown"):
            return verdict
        if record.state is State.PROCESSING and record.lease_until and record.lease_until <= record.now:
            return verdict if self._lapse(operation, record) else Again.UNCLEAR
        if untold:
            self._tell_unknown(operation, (record.claim, record.token), self._keys(operation))
        return verdict

    def _take_over(self, operation: Operation, record: StoredRecord) -> Verdict:
        """Run again what a dead owner has left, under a number of our own: so that we know it after a lost reply."""
        claim = Placed(operation=operation, number=claim_number(), seen=record, keys=self._keys(operation))
        arguments = (claim.number, milliseconds(operation.lease), record.claim, record.token)
        token = self._run(scripts.TAKE_OVER, claim.keys, arguments)
        return Again.UNCLEAR if token is None else replace(claim, attempt=token)

    def _lapse(self, operation: Operation, record: StoredRecord) -> bool:
        keys, fence = self._keys(operation), (record.claim, record.token)
        lapsed = bool(self._run(scripts.LAPSE, keys, fence))
        if lapsed:
            logger.error("The lease of %s has run out while its view was running: outcome unknown.", operation.id)
            self._tell_unknown(operation, fence, keys)
        return lapsed

    def _tell(self, incident: incidents.Incident | None) -> bool:
        return self.database is not None and incidents.report(self.database, incident)

    def _tell_unknown(self, operation: Operation, fence: tuple[int, int], keys: Sequence[str], why: str = "") -> None:
        """Tell the staff, and then Redis, where it stands until then that nobody has been told."""
        if self._tell(incidents.unknown(operation, why)):
            with suppress(StoreUnavailable):
                self._run(scripts.TOLD, keys, fence)

    def _never_ran(self, claim: Claim) -> None:
        """Free a key whose claim may have reached Redis, while its answer did not reach us."""
        self._fenced(scripts.RELEASE, claim, 1)

    def _fenced(self, script: Script, claim: Claim, *arguments: Any) -> bool:
        operation = claim.operation
        ours = (claim.number, claim.attempt, operation.fingerprints[0], milliseconds(operation.lease))
        return bool(self._run(script, self._placed(claim), (*ours, *arguments)))

    def _placed(self, claim: Claim) -> tuple[str, str]:
        return claim.keys if isinstance(claim, Placed) else self._keys(claim.operation)

    def _keys(self, operation: Operation) -> tuple[str, str]:
        key = record_key(self.cache, operation.id)
        return key, key + ":answer"

    def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        try:
            return script.run(self.cache, keys, arguments)
        except StoreUnavailable:
            # The reply may have been lost. The script knows what it has done before, and says it again.
            return script.run(self.cache, keys, arguments)
