"""What can be seen of durable operations before any runs: the system checks of those that have been imported."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.db import connections
from django.utils.module_loading import import_string

from .. import conf
from ..backends.db import DatabaseBackend
from ..core.policies import Policy
from . import definitions
from .definitions import DurableOperation


def messages() -> Iterator[CheckMessage]:
    found = list(definitions.REGISTRY.values())
    for defined in found:
        yield from _of_profile(defined)
    if found:
        yield from _of_requests()


def _of_requests() -> Iterator[CheckMessage]:
    for alias in connections.settings:
        if connections.settings[alias].get("ATOMIC_REQUESTS"):
            yield Warning(
                f"ATOMIC_REQUESTS is on for database {alias!r}, and respond() refuses to run inside a transaction.",
                hint=(
                    "Put @transaction.non_atomic_requests above the function of each view that calls a durable "
                    "operation, or on its dispatch()."
                ),
                id="django_idempotency.W006",
            )


def _of_profile(defined: DurableOperation) -> Iterator[CheckMessage]:
    profile = defined.rule.profile
    if profile not in conf.profiles():
        hint = f"IDEMPOTENCY has {', '.join(sorted(conf.profiles()))}."
        yield Error(f"{defined.name} names the profile {profile!r}.", hint=hint, id="django_idempotency.E011")
        return
    if any(conf.faults(conf.profiles()[profile])):
        return
    policy = conf.overridden(conf.get_policy(profile), defined.rule.choices)
    if not _journals(policy):
        yield Error(
            f"{defined.name} is a durable operation, and the profile {profile!r} has no DatabaseBackend.",
            hint="Its journal is rows beside the record. Name a profile that is on a database.",
            id="django_idempotency.E015",
        )
        return
    yield from _of_gateways(defined, policy)


def _journals(policy: Policy) -> bool:
    try:
        backend = import_string(policy.backend) if isinstance(policy.backend, str) else policy.backend
    except ImportError:
        return True  # E005 says so.
    return isinstance(backend, type) and issubclass(backend, DatabaseBackend)


def _of_gateways(defined: DurableOperation, policy: Policy) -> Iterator[CheckMessage]:
    remembered = policy.retention + policy.tombstone
    for name, key_ttl in sorted(_key_ttls(defined.function)):
        if key_ttl > remembered:
            yield Error(
                f"{defined.name} calls {name}, which honours keys for {key_ttl}, longer than RETENTION and TOMBSTONE "
                f"together, {remembered}.",
                hint=(
                    "A client's key that is free again here would bring back the result of an old call for a new "
                    "request. Lengthen TOMBSTONE."
                ),
                id="django_idempotency.E016",
            )


def _key_ttls(function: Any) -> set[tuple[str, timedelta]]:
    """What a function names outside of itself and says how long it honours keys, as gateways do."""
    used = inspect.getclosurevars(inspect.unwrap(function))
    found = ((name, getattr(value, "key_ttl", None)) for name, value in {**used.globals, **used.nonlocals}.items())
    return {(name, key_ttl) for name, key_ttl in found if isinstance(key_ttl, timedelta)}
