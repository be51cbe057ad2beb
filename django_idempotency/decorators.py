from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar, overload

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.module_loading import import_string

from . import conf, signals
from .core import engine
from .core.engine import Claim, Completed, Operation, Outcome, Refused, Released, Replay, Snapshot
from .core.policies import Policy
from .exceptions import IdempotencyError, Kept, KeyMissing
from .http import MISPLACED, SAFE_METHODS, Exchange

logger = logging.getLogger("django_idempotency")

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
    scope, fingerprint, keep, authorize.

    What the view returns is kept, except the statuses that say "not now" or "not like this" (400, 401, 403, 405, 406,
    408, 409, 413, 415, 425, 429, 5xx and redirects to the log-in page). What is not kept, and whatever raises, rolls
    back everything that the view wrote and frees the key. `raise Kept(response)` keeps an answer from any depth.
    """
    _refuse_choices(choices)
    if isinstance(view, str):
        return functools.partial(_decorate, rule=Rule(view, choices))
    return _decorate(view, rule=Rule(conf.DEFAULT, choices))


def _refuse_choices(choices: dict[str, Any]) -> None:
    for name, value in choices.items():
        if name not in conf.DECORATOR:
            known = dict.fromkeys(conf.DECORATOR)
            raise TypeError(f"idempotent() takes no argument {name!r}{conf.suggestion(name, known)}")
        fault = conf.setting_fault(name.upper(), value)
        if fault:
            raise ImproperlyConfigured(f"idempotent(): {fault}")


def _decorate(view: Any, *, rule: Rule) -> Any:
    _refuse_view(view)

    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        policy, backend = rule.resolve()
        call = functools.partial(view, *args, **kwargs)
        return _Service(_exchange(args, policy), backend, sender=wrapper).serve(call)

    wrapper.idempotent = rule  # type: ignore[attr-defined]
    return wrapper


def _refuse_view(view: Any) -> None:
    if inspect.isclass(view) or not callable(view):
        raise TypeError(f"idempotent() goes on a view function or a method such as post(), not on {view!r}.")
    if isinstance(getattr(view, "idempotent", None), Rule):
        raise ImproperlyConfigured(
            f"{view!r} is idempotent already: the inner one would always find the outer in flight."
        )
    if iscoroutinefunction(view):
        raise ImproperlyConfigured(f"{view!r} is a coroutine: idempotent() protects synchronous views only.")
    if "rest_framework.views" in sys.modules:
        from . import drf

        if drf.is_view(view):
            raise ImproperlyConfigured(MISPLACED)


def _exchange(args: tuple[Any, ...], policy: Policy) -> Exchange:
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


class _Service:
    """One request on its way through the engine."""

    def __init__(self, exchange: Exchange, backend: Any, sender: Any) -> None:
        self.exchange = exchange
        self.backend = backend
        self.sender = sender
        self.response: Any = None

    def serve(self, call: Callable[[], Any]) -> Any:
        exchange = self.exchange
        if exchange.http.method in SAFE_METHODS:
            return self._unprotected(call)
        operation: Operation | None = None
        try:
            key = exchange.key()
            if key is None:
                return self._without_key(call)
            operation = exchange.operation(key)
        except IdempotencyError as error:
            return self._refuse(error, operation)
        exchange.authorize()
        return self._answer(operation, self._run(operation, call))

    def _unprotected(self, call: Callable[[], Any]) -> Any:
        self.exchange.attach(None)
        try:
            return call()
        except Kept as kept:
            return kept.response

    def _without_key(self, call: Callable[[], Any]) -> Any:
        if self.exchange.policy.required:
            raise KeyMissing(f"{KeyMissing().detail} The header is {self.exchange.policy.header}.")
        self._send(signals.missing)
        return self._unprotected(call)

    def _run(self, operation: Operation, call: Callable[[], Any]) -> Outcome:
        def work(claim: Claim) -> Snapshot | None:
            return self._work(claim, call)

        try:
            return engine.run(self.backend, operation, work, wait=self.exchange.wait())
        except Exception as error:
            if getattr(error, "outcome_known", True):
                self._send(signals.released, operation=operation, response=None, error=error)
            raise

    def _work(self, claim: Claim, call: Callable[[], Any]) -> Snapshot | None:
        exchange = self.exchange
        exchange.attach(claim.operation, claim.attempt)
        self._send(signals.claimed, operation=claim.operation, attempt=claim.attempt)
        kept = False
        try:
            response = call()
        except Kept as answer:
            response, kept = answer.response, True
        self.response = exchange.finish(response)
        return exchange.freeze(self.response) if kept or exchange.keeps(self.response) else None

    def _answer(self, operation: Operation, outcome: Outcome) -> Any:
        match outcome:
            case Completed():
                self.exchange.final()
                self._later(signals.completed, operation=operation, response=self.response)
                return self.response
            case Released():
                self.exchange.final()
                self._later(signals.released, operation=operation, response=self.response, error=None)
                return self.response
            case Replay(snapshot):
                response = self.exchange.thaw(snapshot)
                self._send(signals.replayed, operation=operation, response=response)
                return response
            case Refused(error):
                return self._refuse(error, operation)

    def _refuse(self, error: IdempotencyError, operation: Operation | None) -> Any:
        logger.info("Refused %s for key %s", error.code, shortened(operation.key) if operation else "-")
        self._send(signals.rejected, operation=operation, error=error)
        return self.exchange.refuse(error)

    def _send(self, signal: Any, **arguments: Any) -> None:
        if signal.has_listeners(self.sender):
            send = functools.partial(signal.send_robust, self.sender, request=self.exchange.request, **arguments)
            self.backend.observe(send)

    def _later(self, signal: Any, **arguments: Any) -> None:
        if signal.has_listeners(self.sender):
            self.backend.on_commit(functools.partial(self._send, signal, **arguments))


def shortened(key: str) -> str:
    """A key as it may stand in a log."""
    return f"{key[:4]}…" if len(key) > 8 else "…"
