"""The rules one view runs under: its profile's settings and its decorator's own choices, frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from os import PathLike
from typing import Any, Literal

# What a returned answer with one of these statuses says is "not now" or "not like this": nothing
# happened, so the key stays free. 409 is among them because clients retry it blindly.
NOT_KEPT = frozenset({400, 401, 403, 405, 406, 408, 409, 413, 415, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    One field for each setting, in lower case; docs/reference/settings.md says what each does. `key`, `rerun` and `dry_run`
    belong to one view and are no settings.
    """

    profile: str = "default"
    namespace: str = "default"
    backend: str | type = "django_idempotency.backends.DatabaseBackend"
    database: str | None = None
    cache: str | None = None
    claim: Literal["committed", "joined"] = "committed"
    header: str = "Idempotency-Key"
    replayed_header: str = "Idempotent-Replayed"
    required: bool = True
    retention: timedelta = timedelta(hours=72)
    tombstone: timedelta = timedelta(days=30)
    lease: timedelta = timedelta(seconds=60)
    wait: timedelta = timedelta(0)
    join_timeout: timedelta = timedelta(seconds=5)
    scope: Callable[[Any], str] | None = None
    fingerprint: Callable[[Any], bytes | str] | Sequence[str] = ()
    keep: Callable[[Any, Any], bool] | None = None
    authorize: Callable[[Any], bool] | None = None
    error_response: Callable[[Any, Any], Any] | None = None
    strict_keys: bool = False
    min_key_length: int = 1
    uuid_keys: bool = False
    max_response: int = 1024 * 1024
    max_request: int | None = None
    replay_headers: Sequence[str] = ()
    store_request: bool = True
    mask: Sequence[str] = ()
    encryption_keys: Sequence[str] = field(default=(), repr=False)
    amount: Callable[[Any], Any] | str | None = None
    currency: Callable[[Any], Any] | str | None = None
    key: Callable[[Any], str | None] | None = None
    rerun: bool = False
    dry_run: bool = False
    principal: Callable[[str], Any] | None = None
    callback: Callable[[Any], Any] | str | None = None
    callback_hosts: Sequence[str] = ()
    max_live_keys: int | None = None
    count_requests: bool | None = None
    bulk_in_celery: bool = False
    problem_types: str = "https://django-idempotency.readthedocs.io/en/stable/reference/answers.html#"
    approvals: Mapping[str, Mapping[str, Decimal] | None] = field(default_factory=dict)
    audit_heads: str | PathLike[str] | None = None

    def keeps_status(self, status: int) -> bool:
        """Whether a returned answer with this status is an outcome, worth giving to every retry."""
        return status < 500 and status not in NOT_KEPT
