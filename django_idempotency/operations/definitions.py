"""`@operation`: a function whose steps are done once, and that goes on after a crash where it was."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any, overload

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse

from .. import conf
from ..decorators import Rule
from ..hops import hop
from .answers import Respond

# The models, and so the calls, are imported when they are needed: a module of models may import what is here.

logger = logging.getLogger("django_idempotency")

CHOICES = frozenset({"retention", "tombstone", "lease", "wait", "scope", "fingerprint", "authorize"})
REGISTRY: dict[str, DurableOperation] = {}


@overload
def operation(function: Callable[..., Any], /) -> DurableOperation: ...
@overload
def operation(
    profile: str = ..., /, *, name: str | None = ..., **choices: Any
) -> Callable[[Callable[..., Any]], DurableOperation]: ...
def operation(function: Any = conf.DEFAULT, /, *, name: str | None = None, **choices: Any) -> Any:
    """
    Make a durable operation of a function: its steps are done once for each idempotency key, whatever dies, whenever.

    The function is called as `function(op, **input)`: the input is JSON, `op` has phase(), remote() and enqueue(), and what
    it returns is a Respond, or RetryLater. After a crash it is run again from its start, by the client's next retry or by
    `recover`; steps that were done return what they returned. So what lies between the steps must not depend on anything but
    the input and their results, and must have no effects.

    Takes a profile's name and, for this operation alone: retention, tombstone, lease, wait, scope, fingerprint,
    authorize. `name` is what the record knows it by, by default the path of the function; set it to move or rename one.
    """
    for choice in choices:
        if choice not in CHOICES:
            raise TypeError(
                f"operation() takes no argument {choice!r}{conf.suggestion(choice, dict.fromkeys(CHOICES))}"
            )
    if isinstance(function, str):
        return functools.partial(_defined, rule=Rule(function, choices), name=name)
    return _defined(function, rule=Rule(conf.DEFAULT, choices), name=name)


def _defined(function: Callable[..., Any], *, rule: Rule, name: str | None) -> DurableOperation:
    if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
        raise TypeError(f"operation() goes on a plain function, not on {function!r}.")
    defined = DurableOperation(function, rule, name or f"{function.__module__}.{function.__qualname__}")
    if len(defined.name) > 200:
        raise ImproperlyConfigured(f"The name of an operation has 200 characters at most: {defined.name!r}.")
    REGISTRY[defined.name] = defined
    return defined


def find(name: str) -> DurableOperation | None:
    """The operation that a record knows by this name; None where this release has none."""
    if name not in REGISTRY:
        # Its module has not been imported yet; one on the way to what is no module is imported all the same.
        try:
            import_module(name.rpartition(".")[0])
        except Exception as exc:  # noqa: BLE001 - whatever a module raises, the operations behind this one go on
            logger.warning("The module of operation %s cannot be imported: %s.", name, type(exc).__name__)
    return REGISTRY.get(name)


class DurableOperation:
    """A function under `@operation`. Called by respond() in a view, by run() elsewhere."""

    def __init__(self, function: Callable[..., Any], rule: Rule, name: str) -> None:
        self.function = function
        self.rule = rule
        self.name = name
        self.signature = inspect.signature(function)
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{self.name} is a durable operation: call its respond() in a view, or its run() elsewhere.")

    def respond(self, request: Any, /, **given: Any) -> HttpResponse:
        """
        The answer to a request of a Django or DRF view: run for its idempotency key, or what was answered first.

        The key, its scope and everything else that a client can be told are as with `idempotent`. `given` is JSON and is
        stored, so that the operation can go on without the request. Raises whatever the function raises; it goes on later.
        """
        from . import calls

        return calls.respond(self, request, given)

    async def arespond(self, request: Any, /, **given: Any) -> HttpResponse:
        """See respond()."""
        return await hop(self.respond, request, **given)

    def run(self, *, key: str, scope: str = "", **given: Any) -> Respond:
        """
        The answer of the operation for this key and scope, without HTTP.

        Raises KeyReused for another input under the same key, InFlight, OutcomeUnknown, RetryLater, KeyExpired and
        StoreUnavailable, and whatever the function raises.
        """
        from . import calls

        return calls.run(self, key, scope, given)
