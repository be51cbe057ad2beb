"""The profiles of the IDEMPOTENCY setting, read when they are first needed and again when it changes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from functools import cache
from os import PathLike
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .core.acts import Act
from .core.policies import Policy

Validator = Callable[[Any], str | None]
"""What is wrong with a setting's value; None when nothing is."""

DEFAULT = "default"

LONGEST = timedelta(days=36_525)
"""What is added to the time of an answer must come out as a time again: later than the year 9999 none can be read."""


def _of(kind: type, name: str, *, none: bool = False) -> Validator:
    def validate(value: Any) -> str | None:
        right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        return None if right or (none and value is None) else f"must be {name}"

    return validate


def _duration(value: Any) -> str | None:
    right = isinstance(value, timedelta) and timedelta(0) <= value <= LONGEST
    return None if right else "must be a timedelta from 0 to 100 years"


def _retention(value: Any) -> str | None:
    return "must be a timedelta longer than 0, of 100 years at most" if not value else _duration(value)


def _at_least_one(value: Any) -> str | None:
    return None if type(value) is int and value >= 1 else "must be a whole number, 1 or more"


def _size(value: Any) -> str | None:
    return None if value is None or (type(value) is int and value >= 0) else "must be a number of bytes, or None"


def _names(value: Any) -> str | None:
    right = isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
    return None if right else "must be a list of names"


def _lease(value: Any) -> str | None:
    right = isinstance(value, timedelta) and timedelta(seconds=1) <= value <= LONGEST
    return None if right else "must be a timedelta from a second to 100 years"


def _pointers(value: Any) -> str | None:
    right = _names(value) is None and all(pointer.startswith("/") for pointer in value)
    return None if right else 'must be a list of JSON pointers such as "/customer/name" or "/items/*/note"'


def _pointed(value: Any) -> str | None:
    right = value is None or callable(value) or (isinstance(value, str) and value.startswith("/"))
    return None if right else 'must be a JSON pointer such as "/amount", a callable, or its dotted path'


def _claim(value: Any) -> str | None:
    return None if value in ("committed", "joined") else 'must be "committed" or "joined"'


def _namespace(value: Any) -> str | None:
    right = isinstance(value, str) and 1 <= len(value) <= 100 and "\0" not in value
    return None if right else "must be a text of 1 to 100 characters"


def _key_length(value: Any) -> str | None:
    return None if type(value) is int and 1 <= value <= 255 else "must be a whole number from 1 to 255"


def _called(value: Any) -> str | None:
    if iscoroutinefunction(value):
        return "must not be a coroutine function: it is called synchronously"
    return None if value is None or callable(value) else "must be a callable or its dotted path"


def _approvals(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return "must be a dict of acts"
    names = [act.value for act in Act]
    for name in value:
        if name not in names:
            return f"must be a dict of acts such as {(*difflib.get_close_matches(str(name), names, n=1), *names)[0]!r}"
    right = all(limits is None or _limits(limits) for limits in value.values())
    return (
        None
        if right
        else 'must be a dict of acts, each with None or a dict of amounts such as {"EUR": Decimal("1000")}'
    )


def _limits(limits: Any) -> bool:
    return isinstance(limits, Mapping) and all(
        isinstance(currency, str) and type(amount) in (Decimal, int) and Decimal(amount).is_finite()
        for currency, amount in limits.items()
    )


def _path(value: Any) -> str | None:
    return None if value is None or isinstance(value, str | PathLike) else "must be the path of a file, or None"


def _fingerprint(value: Any) -> str | None:
    if callable(value):
        return None
    return _pointers(value) and 'must be a callable, its dotted path, or a list of JSON pointers such as "/sent_at"'


VALIDATORS: dict[str, Validator] = {
    "BACKEND": lambda value: None if isinstance(value, str | type) else "must be a backend or its dotted path",
    "DATABASE": _of(str, "the alias of a database, or None", none=True),
    "CACHE": _of(str, "the alias of a cache, or None", none=True),
    "NAMESPACE": _namespace,
    "CLAIM": _claim,
    "HEADER": _of(str, "the name of a header"),
    "REPLAYED_HEADER": _of(str, "the name of a header"),
    "REQUIRED": _of(bool, "True or False"),
    "RETENTION": _retention,
    "TOMBSTONE": _duration,
    "LEASE": _lease,
    "WAIT": _duration,
    "JOIN_TIMEOUT": _duration,
    "SCOPE": _called,
    "FINGERPRINT": _fingerprint,
    "KEEP": _called,
    "AUTHORIZE": _called,
    "ERROR_RESPONSE": _called,
    "STRICT_KEYS": _of(bool, "True or False"),
    "MIN_KEY_LENGTH": _key_length,
    "UUID_KEYS": _of(bool, "True or False"),
    "MAX_RESPONSE": _at_least_one,
    "MAX_REQUEST": _size,
    "REPLAY_HEADERS": _names,
    "STORE_REQUEST": _of(bool, "True or False"),
    "MASK": _pointers,
    "ENCRYPTION_KEYS": _names,
    "AMOUNT": _pointed,
    "CURRENCY": _pointed,
    "MAX_LIVE_KEYS": lambda value: None if value is None else _at_least_one(value),
    "COUNT_REQUESTS": _of(bool, "True, False or None", none=True),
    "BULK_IN_CELERY": _of(bool, "True or False"),
    "PROBLEM_TYPES": _of(str, "a URI prefix"),
    "APPROVALS": _approvals,
    "PRINCIPAL": _called,
    "CALLBACK": _pointed,
    "CALLBACK_HOSTS": _names,
    "AUDIT_HEADS": _path,
}
CALLABLES = frozenset(
    {
        *("SCOPE", "FINGERPRINT", "KEEP", "AUTHORIZE", "ERROR_RESPONSE", "AMOUNT", "CURRENCY", "KEY"),
        *("PRINCIPAL", "CALLBACK"),
    }
)
DECORATOR = (
    *("claim", "required", "retention", "tombstone", "lease", "wait", "scope", "fingerprint", "keep", "authorize"),
    *("store_request", "amount", "currency"),
)
"""The settings that `idempotent` takes for one view."""
DECORATOR_ONLY: dict[str, Validator] = {
    "KEY": _called,
    "RERUN": _of(bool, "True or False"),
    "DRY_RUN": _of(bool, "True or False"),
}
"""What belongs to one view and so is no setting."""


def profiles() -> Mapping[str, Any]:
    """The IDEMPOTENCY setting, with a default profile in any case."""
    configured = getattr(settings, "IDEMPOTENCY", {})
    if not isinstance(configured, Mapping):
        return {DEFAULT: {}}
    return {DEFAULT: {}, **configured}


@cache
def get_policy(profile: str = DEFAULT) -> Policy:
    """The rules of a profile. Raises ImproperlyConfigured for an unknown profile and for a fault in it."""
    known = profiles()
    if profile not in known:
        raise ImproperlyConfigured(f"IDEMPOTENCY has no profile {profile!r}{suggestion(profile, known)}")
    for fault in faults(known[profile]):
        raise ImproperlyConfigured(f"IDEMPOTENCY[{profile!r}]: {fault}")
    chosen = {name.lower(): _loaded(name, value) for name, value in known[profile].items()}
    return Policy(**{"profile": profile, "namespace": profile, **chosen})


def overridden(policy: Policy, choices: Mapping[str, Any]) -> Policy:
    """A profile's rules with a view's own choices."""
    return replace(policy, **{name: _loaded(name.upper(), value) for name, value in choices.items()})


def faults(profile: Any) -> Iterator[str]:
    """What is wrong with one profile, a sentence each."""
    if not isinstance(profile, Mapping):
        yield "it must be a dict of settings."
        return
    for name, value in profile.items():
        fault = setting_fault(name, value)
        if fault:
            yield fault


def setting_fault(name: Any, value: Any) -> str | None:
    """What is wrong with one setting; None when nothing is."""
    return _fault(VALIDATORS, name, value)


def choice_fault(name: str, value: Any) -> str | None:
    """What is wrong with one argument of `idempotent`; None when nothing is."""
    return _fault({**VALIDATORS, **DECORATOR_ONLY}, name.upper(), value)


def _fault(validators: Mapping[str, Validator], name: Any, value: Any) -> str | None:
    if name not in validators:
        return f"there is no setting {name!r}{suggestion(str(name), validators)}"
    try:
        fault = validators[name](_loaded(name, value))
    except ImportError as exc:
        return f"{name} cannot be imported: {exc}."
    # A key must not come to be read in a log.
    shown = type(value).__name__ if name == "ENCRYPTION_KEYS" else repr(value)
    return f"{name} {fault}, not {shown}." if fault else None


def suggestion(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f". There is {', '.join(sorted(known))}."


def _loaded(name: str, value: Any) -> Any:
    if name in CALLABLES and isinstance(value, str) and not value.startswith("/"):
        return import_string(value)
    return tuple(value) if isinstance(value, list) else value


def reset(*, setting: str | None = None, **_: Any) -> None:
    """Forget what was read; `setting_changed` calls this in tests."""
    if setting in (None, "IDEMPOTENCY"):
        get_policy.cache_clear()


assert {*VALIDATORS, *DECORATOR_ONLY, "PROFILE"} == {field.name.upper() for field in fields(Policy)}  # noqa: S101
