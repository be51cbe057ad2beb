"""Which records upkeep has to look at, by the clock that wrote them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Q

from .. import journals
from ..backends.db import database
from ..backends.db.batches import now
from ..backends.db.dialects import Records
from ..conf import get_policy, profiles
from ..core.policies import Policy
from ..core.states import State
from ..models import IdempotencyRecord

# Everything but the request and the answer, which may be large.
CHOSEN = [
    field.attname
    for field in IdempotencyRecord._meta.concrete_fields
    if field.name not in {"status", "headers", "body", "request_headers", "request_body", "operation_input"}
]


def records_in(using: str | None) -> Records:
    """All records of a database; None means the default profile's."""
    return IdempotencyRecord._base_manager.using(using or database(get_policy("default")))


def ago(records: Records, age: timedelta) -> Any:
    """A time in the past by the clock that wrote the records: the database's, where it has one."""
    return now(records.db) - age


def policies() -> list[Policy]:
    return [get_policy(name) for name in profiles()]


def cached(alias: str) -> bool:
    """Whether caches may hold answers of this database. A profile that names none may have them anywhere."""
    return any(policy.cache and policy.database in (None, alias) for policy in policies())


def forgotten(records: Records, state: State) -> Q:
    """Those in this state whose key may be forgotten. `due_at` adds nothing but the index."""
    past = ago(records, timedelta(0))
    return Q(state=state.value, due_at__lte=past, forget_at__lte=past)


def expired(records: Records) -> Q:
    """Those whose answer is not replayed any more."""
    past = ago(records, timedelta(0))
    return Q(state=State.COMPLETED.value, due_at__lte=past, expires_at__lte=past)


def never_begun(records: Records) -> Records:
    found: Records = journals.never_begun(records, ago(records, max(policy.retention for policy in policies())))
    return found


def abandoned(records: Records, age: timedelta) -> Records:
    before = ago(records, age)
    lapsed = Q(lease_until=None) | Q(lease_until__lte=before)
    # A durable operation is gone on with instead.
    return records.filter(
        lapsed, operation="", state=State.PROCESSING.value, due_at__lte=before, claimed_at__lte=before
    )
