"""System checks: faults of the settings, and of where `idempotent` was put. docs/reference/checks.md has each id."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import import_string

from . import conf, encryption
from .backends.base import BaseBackend
from .core.policies import Policy
from .http import MISPLACED, NEVER_REPLAYED


@register
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    configured = getattr(settings, "IDEMPOTENCY", {})
    if not isinstance(configured, dict):
        hint = 'Give each profile a dict of settings: IDEMPOTENCY = {"default": {}}.'
        return [Error("IDEMPOTENCY must be a dict of profiles.", hint=hint, id="django_idempotency.E001")]
    return [message for name, profile in conf.profiles().items() for message in _check_profile(name, profile)]


def _check_profile(name: str, profile: Any) -> Iterator[CheckMessage]:
    if not isinstance(profile, dict):
        yield Error(f"IDEMPOTENCY[{name!r}] must be a dict of settings.", id="django_idempotency.E001")
        return
    faulty = False
    for setting, value in profile.items():
        fault = conf.setting_fault(setting, value)
        if fault:
            faulty = True
            yield Error(f"IDEMPOTENCY[{name!r}]: {fault}", id=f"django_idempotency.{_fault_id(setting, fault)}")
    if not faulty:
        yield from _check_policy(conf.get_policy(name))


def _fault_id(setting: Any, fault: str) -> str:
    if setting not in conf.VALIDATORS:
        return "E002"
    return "E004" if "cannot be imported" in fault else "E003"


def _check_policy(policy: Policy) -> Iterator[CheckMessage]:
    never = [name for name in policy.replay_headers if name.lower() in NEVER_REPLAYED]
    if never:
        yield Error(
            f"IDEMPOTENCY[{policy.profile!r}]['REPLAY_HEADERS'] has {', '.join(never)}, which is never replayed.",
            hint="These headers belong to one client or one connection.",
            id="django_idempotency.E009",
        )
    for code, fault in encryption.faults(policy.encryption_keys):
        yield Error(f"IDEMPOTENCY[{policy.profile!r}]['ENCRYPTION_KEYS']: {fault}", id=f"django_idempotency.{code}")
    try:
        backend = import_string(policy.backend) if isinstance(policy.backend, str) else policy.backend
    except ImportError as exc:
        yield Error(f"IDEMPOTENCY[{policy.profile!r}]['BACKEND']: {exc}", id="django_idempotency.E005")
        return
    if not (isinstance(backend, type) and issubclass(backend, BaseBackend)):
        fault = f"IDEMPOTENCY[{policy.profile!r}]['BACKEND'] is not a BaseBackend: {policy.backend!r}."
        yield Error(fault, id="django_idempotency.E005")
        return
    yield from backend.check(policy)


@register
def check_atomic_requests(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if not any(rule for _, rule, _ in protected_views() if rule is not None):
        return []
    return [
        Warning(
            f"ATOMIC_REQUESTS is on for database {alias!r}, so idempotent views join the request's transaction.",
            hint=(
                "Nobody sees a request in flight then, and an error after the view undoes its answer. To opt out, put "
                "@transaction.non_atomic_requests above the view function or on dispatch(); on a method it has no effect."
            ),
            id="django_idempotency.W001",
        )
        for alias in connections.settings
        if connections.settings[alias].get("ATOMIC_REQUESTS")
    ]


@register(Tags.urls)
def check_views(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for name, rule, view in protected_views():
        if rule is None:
            messages.append(Error(f"{name}: {MISPLACED}", id="django_idempotency.E010"))
        else:
            messages += _check_rule(name, rule, view)
    return messages


def _check_rule(name: str, rule: Any, view: Any) -> Iterator[CheckMessage]:
    if rule.profile not in conf.profiles():
        hint = f"IDEMPOTENCY has {', '.join(sorted(conf.profiles()))}."
        yield Error(f"{name} names the profile {rule.profile!r}.", hint=hint, id="django_idempotency.E011")
        return
    if any(conf.faults(conf.profiles()[rule.profile])):
        return
    policy = conf.overridden(conf.get_policy(rule.profile), rule.choices)
    if backend := _backend(policy):
        for function in _protected(view, rule):
            yield from backend.check_view(policy, name, function)
    if policy.scope is None and policy.key is None and _is_anonymous(view):
        yield Warning(
            f"{name} authenticates nobody, so all its clients share one scope of idempotency keys.",
            hint="Any client that guesses a key gets another's answer. Authenticate, or set SCOPE.",
            id="django_idempotency.W002",
        )


def _protected(view: Any, rule: Any) -> Iterator[Any]:
    """The functions that a rule protects: those that bear it, or all of a class that is decorated as a whole."""
    cls = getattr(view, "cls", None) or getattr(view, "view_class", None)
    whole = _rule(view) is rule
    yield from (part for part in (view, *_handlers(cls)) if whole or rule in rules_of(part))


@register(Tags.urls)
def check_coroutines(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    hint = (
        "An error or a dead process leaves its outcome unknown, for a person to settle. Make its effects in "
        "request.idempotency.commit(), or say rerun=True if running it twice does no harm."
    )
    return [
        Warning(f"{name} is a coroutine and cannot be rolled back.", hint=hint, id="django_idempotency.W005")
        for name, rule, view in protected_views()
        if rule is not None and not rule.choices.get("rerun") and _may_end_unknown(view, rule)
    ]


def _may_end_unknown(view: Any, rule: Any) -> bool:
    """Whether a protected coroutine is seen nowhere to call commit()."""
    cls = getattr(view, "view_class", None)
    found = [handler for handler in (view, *_handlers(cls)) if _rule(handler) is rule and iscoroutinefunction(handler)]
    around = [part for part in vars(cls).values() if inspect.isfunction(part)] if cls else []
    return bool(found) and not any(_mentions_commit(function, set()) for function in (*found, *around))


def _mentions_commit(function: Any, seen: set[Any]) -> bool:
    """Whether a function says `commit`, or calls one of its own module that does."""
    function = inspect.unwrap(function)
    if function in seen or not inspect.isfunction(function):
        return False
    seen.add(function)
    names = set(_names_in(function.__code__))
    called = (function.__globals__.get(name) for name in names)
    near = (other for other in called if getattr(other, "__module__", None) == function.__module__)
    return "commit" in names or any(_mentions_commit(other, seen) for other in near)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _is_anonymous(view: Any) -> bool:
    cls = getattr(view, "cls", None)
    if cls is not None:
        return not cls.authentication_classes
    return "django.contrib.auth.middleware.AuthenticationMiddleware" not in settings.MIDDLEWARE


@register
def check_operations(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    # Not above: this module is imported before the models are ready.
    from .operations.checks import messages

    # The URLconf imports the views, and they import the operations.
    list(protected_views())
    return list(messages())


@register(deploy=True)
def check_stores(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    stores = ((_backend(policy), policy) for policy in _sound_policies())
    return [message for backend, policy in stores if backend for message in backend.check_deployed(policy)]


def _sound_policies() -> list[Policy]:
    return [conf.get_policy(name) for name, profile in conf.profiles().items() if not any(conf.faults(profile))]


def _backend(policy: Policy) -> type[BaseBackend] | None:
    """A profile's backend; None for what E005 refuses."""
    try:
        backend = import_string(policy.backend) if isinstance(policy.backend, str) else policy.backend
    except ImportError:
        return None
    return backend if isinstance(backend, type) and issubclass(backend, BaseBackend) else None


@register(deploy=True)
def check_sqlite(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    from .backends.db import DatabaseBackend, database

    used = {database(policy) for policy in _sound_policies() if issubclass(_backend(policy) or object, DatabaseBackend)}
    return [
        Warning(
            f"Idempotency records live in {alias!r}, a SQLite database: one idempotent request runs at a time.",
            hint="Use PostgreSQL in production.",
            id="django_idempotency.W003",
        )
        for alias in sorted(used & set(connections.settings))
        if connections[alias].vendor == "sqlite"
    ]


def protected_views() -> Iterator[tuple[str, Any, Any]]:
    """Each protected view in the URLconf, once: its name, its rule (None where it is misplaced), and the view."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return
    seen = set()
    for view in _views(get_resolver().url_patterns):
        for name, rule in _rules(view):
            if (name, rule) not in seen:
                seen.add((name, rule))
                yield name, rule, view


def rules_within(view: Any) -> list[Any]:
    """The rules of what is protected in a view of the URLconf."""
    return [rule for _, rule in _rules(view) if rule is not None]


def _rules(view: Any) -> Iterator[tuple[str, Any]]:
    cls = getattr(view, "cls", None) or getattr(view, "view_class", None)
    named = cls or view
    name = f"{named.__module__}.{getattr(named, '__qualname__', named)}"
    if cls and _is_drf(view) and (_rule(view) or _rule(cls.dispatch)):
        yield name, None
        return
    for handler in (view, *_handlers(cls)):
        for rule in rules_of(handler):
            yield name, rule


def _views(patterns: list[Any]) -> Iterator[Any]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _views(pattern.url_patterns)
        elif isinstance(pattern, URLPattern):
            yield pattern.callback


def _handlers(cls: Any) -> Iterator[Any]:
    for name in dir(cls) if cls else ():
        handler = getattr(cls, name, None)
        if callable(handler):
            yield handler


def rules_of(handler: Any) -> Iterator[Any]:
    """The rule of a protected function or method, or of the one that `@api_view` has hidden in it; nothing without one."""
    for function in (handler, *_closed_over(handler)):
        rule = _rule(function)
        if rule:
            yield rule


def _closed_over(handler: Any) -> Iterator[Any]:
    for cell in getattr(handler, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue


def _rule(view: Any) -> Any:
    from .decorators import Rule

    rule = getattr(view, "idempotent", None)
    return rule if isinstance(rule, Rule) else None


def _is_drf(view: Any) -> bool:
    views = sys.modules.get("rest_framework.views")
    cls = getattr(view, "cls", None)
    return views is not None and isinstance(cls, type) and issubclass(cls, views.APIView)
