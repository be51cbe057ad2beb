from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar, overload

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.module_loading import import_string

from . import conf
from .core.policies import Policy
from .coroutines import CoroutineService
from .http import MISPLACED, Exchange
from .services import Service

View = TypeVar("View", bound=Callable[..., Any])


class Rule:
    """What a decorator was given, and the policy and backend that come of it under today's settings."""

    def __init__(self, profile: str, choices: dict[str, Any]) -> None:
        self.profile = profile
        self.choices = choices
        self._base: Policy | None = None
        self._resolved: tuple[Policy, Any] | None = None

    def resolve(self) -> tuple[Policy, Any]:
        base = conf.get_policy(self.profile)
        if self._resolved is None or base is not self._base:
            policy = conf.overridden(base, self.choices)
            backend = import_string(policy.backend) if isinstance(policy.backend, str) else policy.backend
            self._base, self._resolved = base, (policy, backend(policy))
        return self._resolved


@overload
def idempotent(view: View, /) -> View: ...
@overload
def idempotent(profile: str = ..., /, **choices: Any) -> Callable[[View], View]: ...
def idempotent(view: Any = conf.DEFAULT, /, **choices: Any) -> Any:
    """
    Run a view at most once for each idempotency key, and give every retry its first answer.

    Goes on a method of an APIView, ViewSet or View, below `@api_view`, on a plain function view, or round a plain
    class-based view. Takes a profile's name and, for this view alone: claim, required, retention, tombstone, wait,
    scope, fingerprint, keep, authorize. `key` takes a callable `(request) -> str` that finds the key elsewhere than in the
    header: the id of a delivered event, which is then matched by this key alone.

    What the view returns is kept, except the statuses that say "not now" or "not like this" (400, 401, 403, 405, 406,
    408, 409, 413, 415, 425, 429, 5xx and redirects to the log-in page). What is not kept, and whatever raises, rolls
    back everything that the view wrote and frees the key. `raise Kept(response)` keeps an answer from any depth.

    A coroutine view is not rolled back: where it raises, its outcome is unknown and it never runs again, except with
    `rerun=True`, which says that running it twice does no harm. What it does in `await request.idempotency.commit(...)`
    commits with its answer. `lease` is how long it is exclusive without a sign of life.

    `dry_run=True` says that the view does nothing which a rollback would not undo: staff may try what a request would do.
    """
    _refuse_choices(choices)
    if isinstance(view, str):
        return functools.partial(_decorate, rule=Rule(view, choices))
    return _decorate(view, rule=Rule(conf.DEFAULT, choices))


def _refuse_choices(choices: dict[str, Any]) -> None:
    for name, value in choices.items():
        known = dict.fromkeys((*conf.DECORATOR, *(name.lower() for name in conf.DECORATOR_ONLY)))
        if name not in known:
            raise TypeError(f"idempotent() takes no argument {name!r}{conf.suggestion(name, known)}")
        fault = conf.choice_fault(name, value)
        if fault:
            raise ImproperlyConfigured(f"idempotent(): {fault}")
    if choices.get("key") and choices.get("fingerprint"):
        raise ImproperlyConfigured(
            "idempotent(): with key= a request is matched by its key alone, without fingerprint=."
        )


def _decorate(view: Any, *, rule: Rule) -> Any:
    _refuse_view(view)
    if iscoroutinefunction(view):
        return _decorate_coroutine(view, rule)

    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        policy, backend = rule.resolve()
        call = functools.partial(view, *args, **kwargs)
        return Service(exchange_for(args, policy), backend, sender=wrapper).serve(call)

    wrapper.idempotent = rule  # type: ignore[attr-defined]
    return wrapper


def _decorate_coroutine(view: Any, rule: Rule) -> Any:
    if rule.choices.get("dry_run"):
        raise ImproperlyConfigured(f"{view!r} is a coroutine, which no transaction can undo: it takes no dry_run.")

    @functools.wraps(view)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        policy, backend = rule.resolve()
        exchange = exchange_for(args, policy)
        if exchange.request is not exchange.http:
            raise ImproperlyConfigured(f"{view!r} is a coroutine, and Django REST framework has no coroutine views.")
        return await CoroutineService(exchange, backend, sender=wrapper).serve(functools.partial(view, *args, **kwargs))

    wrapper.idempotent = rule  # type: ignore[attr-defined]
    return wrapper


def _refuse_view(view: Any) -> None:
    if inspect.isclass(view) or not callable(view):
        raise TypeError(f"idempotent() goes on a view function or a method such as post(), not on {view!r}.")
    if isinstance(getattr(view, "idempotent", None), Rule):
        raise ImproperlyConfigured(
            f"{view!r} is idempotent already: the inner one would always find the outer in flight."
        )
    if "rest_framework.views" in sys.modules:
        from . import drf

        if drf.is_view(view):
            raise ImproperlyConfigured(MISPLACED)


def exchange_for(args: tuple[Any, ...], policy: Policy) -> Exchange:
    """The adapter for the request among a view's arguments: its first, or its second where the first is `self`."""
    if "rest_framework.views" in sys.modules:
        from . import drf

        if drf.is_dispatch(args):
            raise ImproperlyConfigured(MISPLACED)
        for argument in args[:2]:
            if drf.is_request(argument):
                return drf.DRFExchange(argument, policy)
    for argument in args[:2]:
        if isinstance(argument, HttpRequest):
            return Exchange(argument, policy)
    raise TypeError("idempotent is on a callable that was not called with a request.")
