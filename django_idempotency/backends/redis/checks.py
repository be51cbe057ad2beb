"""What can be seen of RedisBackend: in the settings, in a view, and with `check --deploy` at the server."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error, Warning
from django.db.models import Model

from ...exceptions import StoreUnavailable
from ...replays.checks import check_cache
from .connections import evictions

if TYPE_CHECKING:
    from ...core.policies import Policy

DATABASE = "django_idempotency.backends.DatabaseBackend"


def of_policy(policy: Policy) -> Iterator[CheckMessage]:
    place = f"IDEMPOTENCY[{policy.profile!r}]"
    if policy.cache is None:
        hint = "Name a cache of django-redis: the records live in its Redis."
        yield Error(f"{place} has RedisBackend and no CACHE.", hint=hint, id="django_idempotency.E022")
        return
    yield from check_cache(policy)
    if policy.max_live_keys is not None:
        hint = f"MAX_LIVE_KEYS is for {DATABASE}."
        yield Error(
            f"{place} has MAX_LIVE_KEYS, which RedisBackend does not count.", hint=hint, id="django_idempotency.E023"
        )


def of_view(policy: Policy, name: str, view: Any) -> Iterator[CheckMessage]:
    found = sorted(_models(view, set()))
    if found:
        yield Warning(
            f"{name} names {', '.join(found)} and is under RedisBackend, whose records no transaction can join.",
            hint=(
                "What it writes to a database stays written when it fails, and its outcome is unknown then. Use a profile "
                f"with {DATABASE}; where the view only reads, silence this check."
            ),
            id="django_idempotency.W011",
        )


def of_server(policy: Policy) -> Iterator[CheckMessage]:
    if policy.cache is None:
        return
    place = f"IDEMPOTENCY[{policy.profile!r}]"
    yield Warning(
        f"{place} keeps its records in Redis alone, which can forget the last of them in a fail-over or a restart.",
        hint="A key that Redis has forgotten runs again. Silence this check where the views stand that.",
        id="django_idempotency.W012",
    )
    try:
        policies = evictions(policy.cache) - {"noeviction"}
    except StoreUnavailable as exc:
        fault = f"{place} names {policy.cache!r}, whose Redis could not be asked: {exc.__cause__}."
        yield Warning(fault, id="django_idempotency.W014")
        return
    if policies:
        yield Warning(
            f"{place} names {policy.cache!r}, whose Redis drops keys when it is full ({', '.join(sorted(policies))}).",
            hint="A key that was dropped runs again. Set maxmemory-policy to noeviction.",
            id="django_idempotency.W013",
        )


def _models(function: Any, seen: set[Any]) -> Iterator[str]:
    """The models that a function names, or one of its own module that it calls."""
    function = inspect.unwrap(function)
    if not inspect.isfunction(function) or function in seen:
        return
    seen.add(function)
    for value in (*_globals(function), *inspect.getclosurevars(function).nonlocals.values()):
        if inspect.isclass(value) and issubclass(value, Model) and value is not Model:
            yield value.__name__
        elif getattr(value, "__module__", None) == function.__module__:
            yield from _models(value, seen)


def _globals(function: FunctionType) -> Iterator[Any]:
    """What a function names, also by way of a module: the `models.Payment` of `models.Payment.objects`."""
    found: Any = None
    for step in dis.get_instructions(function):
        if step.opname == "LOAD_GLOBAL":
            found = function.__globals__.get(step.argval)
        elif step.opname in ("LOAD_ATTR", "LOAD_METHOD") and inspect.ismodule(found):
            # Not getattr(), with which a lazy module would import what nobody has asked for.
            found = vars(found).get(step.argval)
        else:
            found = None
        yield found
