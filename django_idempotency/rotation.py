"""Bringing everything that is stored under the newest of the ENCRYPTION_KEYS, so that the older ones can be removed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models import Q

from .backends.db import database
from .conf import get_policy, profiles
from .core.policies import Policy
from .core.states import State
from .encryption import KeyLost, key_id, opened, sealed
from .models import IdempotencyIncident, IdempotencyRecord

logger = logging.getLogger("django_idempotency")

BATCH = 100
"""Values read at once; each may be as large as MAX_RESPONSE. Each is written on its own."""

OF_TASKS = "task:"
"""With what the namespaces of idempotent tasks begin, whatever their profile."""

# What is encrypted, and where the id of its key stands.
VALUES = (
    (IdempotencyRecord, "request_body", "request_key_id"),
    (IdempotencyRecord, "body", "body_key_id"),
    (IdempotencyIncident, "request_body", "request_key_id"),
    (IdempotencyIncident, "first_body", "first_key_id"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rekeyed:
    """How many values are under the newest key now, and how many cannot be read because their key is lost."""

    rekeyed: int = 0
    lost: int = 0


def rekey(
    *,
    using: str | None = None,
    dry_run: bool = False,
    progress: Callable[[Rekeyed], object] | None = None,
) -> Rekeyed:
    """
    Encrypt under the newest key what is under an older one, or not encrypted, for every profile that has keys.

    Safe while traffic runs, if every process has the newest key already: a value is replaced only while it is the one that
    was read, and claims in flight are left alone. Raises ImproperlyConfigured where no profile has keys.
    """
    policies = [policy for policy in map(get_policy, profiles()) if policy.encryption_keys]
    if not policies:
        raise ImproperlyConfigured("No profile of IDEMPOTENCY has ENCRYPTION_KEYS.")
    sums = Rekeyed()
    for policy in policies:
        alias = database(policy)
        if using in (None, alias):
            for hit in _rekeyed(policy, alias, dry_run=dry_run):
                sums = Rekeyed(rekeyed=sums.rekeyed + hit, lost=sums.lost + (not hit))
                if progress:
                    progress(sums)
    return sums


def _rekeyed(policy: Policy, alias: str, *, dry_run: bool) -> Iterator[bool]:
    """Whether each value could be read; one that somebody else has changed meanwhile is not told."""
    for model, column, place in VALUES:
        rows: Any = model._base_manager.using(alias).filter(_of(policy, place))
        if model is IdempotencyRecord:
            rows = rows.exclude(state=State.PROCESSING.value)
        for pk, value, under in _older(rows, column, place, key_id(policy.encryption_keys[0])):
            try:
                plain = opened(value, under, policy.encryption_keys)
            except KeyLost:
                logger.error("The %s of %s %s cannot be read: key %s is lost.", column, model.__name__, pk, under)  # noqa: TRY400
                yield False
                continue
            new, newest = sealed(plain, policy.encryption_keys)
            same = rows.filter(pk=pk, **{column: value, place: under})
            if dry_run or same.update(**{column: new, place: newest}):
                yield True


def _of(policy: Policy, place: str) -> Q:
    """The rows of a profile. Those of tasks say nothing of theirs: they belong to whoever has their key."""
    known = [key_id(key) for key in policy.encryption_keys]
    return Q(namespace=policy.namespace) | Q(namespace__startswith=OF_TASKS, **{f"{place}__in": known})


def _older(rows: models.QuerySet[Any], column: str, place: str, newest: str) -> Iterator[tuple[Any, bytes, str]]:
    older = rows.filter(**{f"{column}__isnull": False}).exclude(**{place: newest}).order_by("pk")
    found = list(older.values_list("pk", column, place)[:BATCH])
    while found:
        yield from ((pk, bytes(value), under) for pk, value, under in found)
        found = list(older.filter(pk__gt=found[-1][0]).values_list("pk", column, place)[:BATCH])
