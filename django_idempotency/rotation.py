"""Bringing everything that is stored under the newest of the ENCRYPTION_KEYS, so that the older ones can be removed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models import Q

from .backends.db import database
from .conf import get_policy, profiles
from .core.policies import Policy
from .core.states import State
from .encryption import KeyLost, key_id, opened, sealed
from .models import (
    IdempotencyApproval,
    IdempotencyIncident,
    IdempotencyMessage,
    IdempotencyRecord,
    IdempotencyStep,
)
from .outbox.rows import sealing_keys

logger = logging.getLogger("django_idempotency")

BATCH = 100
"""Values read at once; each may be as large as MAX_RESPONSE. Each is written on its own."""

OF_TASKS = "task:"
"""With what the namespaces of idempotent tasks begin, whatever their profile."""

# What is encrypted, and where the id of its key stands.
VALUES = (
    (IdempotencyRecord, "request_body", "request_key_id"),
    (IdempotencyRecord, "body", "body_key_id"),
    (IdempotencyRecord, "operation_input", "operation_key_id"),
    (IdempotencyStep, "input", "input_key_id"),
    (IdempotencyStep, "result", "result_key_id"),
    (IdempotencyIncident, "request_body", "request_key_id"),
    (IdempotencyIncident, "first_body", "first_key_id"),
    (IdempotencyApproval, "arguments", "arguments_key_id"),
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
    was read, and views in flight are left alone. Raises ImproperlyConfigured where no profile has keys.
    """
    policies = [policy for policy in map(get_policy, profiles()) if policy.encryption_keys]
    if not policies:
        raise ImproperlyConfigured("No profile of IDEMPOTENCY has ENCRYPTION_KEYS.")
    sums = Rekeyed()
    found = [
        _rekeyed(policy, database(policy), dry_run=dry_run) for policy in policies if using in (None, database(policy))
    ]
    places = {using} if using else {database(get_policy(profile)) for profile in profiles()}
    messages = (_messages(alias, dry_run=dry_run) for alias in sorted(places))
    for hit in chain(*found, *messages):
        sums = Rekeyed(rekeyed=sums.rekeyed + hit, lost=sums.lost + (not hit))
        if progress:
            progress(sums)
    return sums


def _rekeyed(policy: Policy, alias: str, *, dry_run: bool) -> Iterator[bool]:
    for model, column, place in VALUES:
        rows = _rows(model, policy, alias, place)
        if model is IdempotencyRecord and column != "operation_input":
            # An operation may be in flight for hours, and then has to be read.
            rows = rows.exclude(state=State.PROCESSING.value)
        yield from _renewed(rows, column, place, policy.encryption_keys, dry_run=dry_run)


def _messages(alias: str, *, dry_run: bool) -> Iterator[bool]:
    """Those of the outbox, which belong to no profile and have keys of all."""
    rows = IdempotencyMessage._base_manager.using(alias)
    return _renewed(rows, "payload", "key_id", sealing_keys(), dry_run=dry_run)


def _renewed(
    rows: models.QuerySet[Any], column: str, place: str, keys: Sequence[str], *, dry_run: bool
) -> Iterator[bool]:
    """Whether each value could be read; one that somebody else has changed meanwhile is not told."""
    for pk, value, under in _older(rows, column, place, key_id(keys[0])):
        try:
            plain = opened(value, under, keys)
        except KeyLost:
            logger.error("The %s of %s %s cannot be read: key %s is lost.", column, rows.model.__name__, pk, under)  # noqa: TRY400
            yield False
            continue
        new, newest = sealed(plain, keys)
        same = rows.filter(pk=pk, **{column: value, place: under})
        if dry_run or same.update(**{column: new, place: newest}):
            yield True


def _rows(model: type[models.Model], policy: Policy, alias: str, place: str) -> Any:
    if model is not IdempotencyStep:
        return model._base_manager.using(alias).filter(_of(policy, place))
    records = IdempotencyRecord._base_manager.using(alias).filter(namespace=policy.namespace, operation__gt="")
    return model._base_manager.using(alias).filter(record_id__in=records.values("pk"))


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
