"""The statements of a leased claim. The store in leases.py decides when."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db.models import DurationField

from ...core.engine import Claim
from ...core.states import State
from . import statements
from .dialects import CLAIM_COLUMNS, CLAIM_CONSTANTS, DURABLE_COLUMNS, Dialect, Records, claim_values, claimed_values
from .statements import Slot, Statement, Values, slot

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from ...replays.cache import Replays


class LeaseStatements:
    def __init__(self, dialect: Dialect, replays: Replays | None = None) -> None:
        self.dialect = dialect
        self.alias = dialect.alias
        self.replays = replays

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return self.dialect.connection

    def values(self, claim: Claim) -> Values:
        operation = claim.operation
        named = {**claimed_values(claim), "token": claim.attempt}
        return {**claim_values(operation, claim.number), **self.dialect.times(operation), **named}

    def ours(self) -> Records:
        """The record, while it is unfinished and both claim and token are ours."""
        return self.dialect.claimed().filter(token=slot("token"))

    @property
    def lease_end(self) -> Any:
        if isinstance(self.dialect.now, Slot):
            return slot("lease_until")
        return self.dialect.now + Slot("lease", DurationField())

    def row(self) -> Values:
        """What a claim inserts. Its work has started as soon as it can be seen."""
        columns = {name: slot(name) for name in CLAIM_COLUMNS}
        times = {"claimed_at": self.dialect.now, "lease_until": self.lease_end}
        return {**columns, **CLAIM_CONSTANTS, **times, "token": 1}

    @cached_property
    def inserting(self) -> Statement:
        return self.insertion(self.row())

    @cached_property
    def inserting_durable(self) -> Statement:
        return self.insertion({**self.row(), **{name: slot(name) for name in DURABLE_COLUMNS}})

    def insertion(self, row: Values) -> Statement:
        return statements.insert(self.connection, row)

    @cached_property
    def extending(self) -> Statement:
        return statements.update(self.connection, self.ours(), {"lease_until": self.lease_end})

    @cached_property
    def completing(self) -> Statement:
        changes = {name: slot(name) for name in ("status", "headers", "body", "body_key_id")}
        finished = {"state": State.COMPLETED.value, **changes, **self.dialect.completion()}
        return statements.update(self.connection, self.ours(), finished)

    @cached_property
    def releasing(self) -> Statement:
        return statements.delete(self.connection, self.ours())

    @cached_property
    def doubting(self) -> Statement:
        return statements.update(self.connection, self.ours(), {"state": State.UNKNOWN.value})

    @cached_property
    def giving_up(self) -> Statement:
        """As `doubting`, for a person alone: without its lease, the record is not run again under `rerun` either."""
        return statements.update(self.connection, self.ours(), {"state": State.UNKNOWN.value, "lease_until": None})
