"""Records in Redis alone. The connections to it serve the replay cache as well."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections as databases
from django.db import router

from ... import incidents
from ...core.engine import Again, Claim, Operation, Outcome, Work
from ...core.leases import settle_patiently, unsettled
from ...exceptions import StoreUnavailable
from ...heartbeats import OF_REDIS, Heart
from ...models import IdempotencyIncident
from ..base import BaseBackend
from . import checks
from .leases import RedisLeases

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

    from ...core.policies import Policy

logger = logging.getLogger("django_idempotency")

# One for each cache, because it remembers the claims whose replies were lost.
_leases = cache(RedisLeases)


class RedisBackend(BaseBackend):
    """
    Records in a Redis that the profile names in CACHE: fast, and no part of any transaction.

    Nothing that a view does is undone here. What it raises as an answer of its own (a 404, say) frees the key; after
    anything else, and after the death of its process, the outcome is unknown, except with `rerun=True`.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.terms = {"lease": policy.lease, "rerun": policy.rerun}

    def attempt(self, operation: Operation, work: Work) -> Outcome | Again:
        leased = operation if operation.lease else replace(operation, **self.terms)
        store = self.leases()
        verdict = store.claim(leased)
        return _run(store, verdict, work) if isinstance(verdict, Claim) else verdict

    def leases(self) -> RedisLeases:
        if self.policy.cache is None:
            raise ImproperlyConfigured(f"IDEMPOTENCY[{self.policy.profile!r}]: RedisBackend needs a CACHE.")
        return _leases(self.policy.cache, _database(self.policy))

    def mismatched(self, operation: Operation) -> None:
        alias = _database(self.policy)
        if alias is not None:
            incidents.mismatch(alias, operation, alone=True)

    @classmethod
    def check(cls, policy: Policy) -> list[CheckMessage]:
        return list(checks.of_policy(policy))

    @classmethod
    def check_view(cls, policy: Policy, name: str, view: Any) -> list[CheckMessage]:
        return list(checks.of_view(policy, name, view))

    @classmethod
    def check_deployed(cls, policy: Policy) -> list[CheckMessage]:
        return list(checks.of_server(policy))


def _database(policy: Policy) -> str | None:
    """Where the staff is told; None for a project without a database."""
    alias = policy.database or router.db_for_write(IdempotencyIncident)
    return None if databases.settings[alias]["ENGINE"] == "django.db.backends.dummy" else alias


def _run(store: RedisLeases, claim: Claim, work: Work) -> Outcome:
    heart = Heart(partial(_extended, store, claim), claim.operation.lease.total_seconds(), OF_REDIS)
    try:
        with heart.beating():
            snapshot = work(claim)
    except BaseException as error:
        _give_up(store, claim, error)
        if isinstance(error, StoreUnavailable):
            # Of another view's key, perhaps: it must not be told as if this one had not run.
            return unsettled(claim, error)
        raise
    return settle_patiently(store, claim, snapshot)


def _extended(store: RedisLeases, claim: Claim) -> bool:
    held = store.extend(claim)
    if not held:
        logger.error("The lease of %s was lost while its view was running.", claim.operation.id)
    return held


def _give_up(store: RedisLeases, claim: Claim, error: BaseException) -> None:
    """Free the key where its view has raised an answer or does no harm by running again; else leave it to a person."""
    ending = claim.ending
    ending.error = type(error).__name__
    ending.unknown = not (ending.expected or claim.operation.rerun)
    try:
        if ending.unknown:
            store.doubt(claim)
        else:
            store.release(claim)
    except StoreUnavailable:
        # Its lease runs out and says the same.
        logger.warning("The claim on %s could not be settled.", claim.operation.id, exc_info=True)
