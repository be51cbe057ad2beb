"""`@operation`: a function whose steps are done once, and that goes on after a crash where it was."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, overload

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse

from .. import conf
from ..backends.db import DatabaseBackend
from ..backends.db.leases import PostgreSQLLeases
from ..core import engine, fingerprints, keys
from ..core.engine import Durable, Operation, Outcome, Refused, Replay
from ..core.policies import Policy
from ..decorators import Rule, exchange_for
from ..encryption import sealed
from ..exceptions import KeyInvalid
from ..hops import hop
from ..masking import DROPPED, verdict
from .answers import Respond, answered, as_json
from .boundaries import refuse_transaction
from .postgresql import PostgreSQLOperations
from .runs import Ran, Runner
from .services import OperationService
from .store import Operations

CHOICES = frozenset({"required", "retention", "tombstone", "lease", "wait", "scope", "fingerprint", "authorize"})
REGISTRY: dict[str, DurableOperation] = {}

IN_TRANSACTION = (
    "A durable operation was called inside a database transaction: rolled back, it would take the journal with it, and what "
    "was done would be done again. End the transaction first; for a view under ATOMIC_REQUESTS, with "
    "django.db.transaction.non_atomic_requests."
)


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

    Takes a profile's name and, for this operation alone: required, retention, tombstone, lease, wait, scope, fingerprint,
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
    module = name
    while name not in REGISTRY and "." in module:
        # Its module has not been imported yet. A name of the project's own is found once its module is.
        module = module.rpartition(".")[0]
        with suppress(ImportError, ValueError):
            import_module(module)
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
        refuse_transaction(IN_TRANSACTION)
        policy, backend = self._resolve()
        durable = self._durable(given, policy)
        service = OperationService(exchange_for((request,), policy), backend, sender=self)
        response: HttpResponse = service.answer(
            durable, functools.partial(self._outcome, policy, backend, wait=service.exchange.wait())
        )
        return response

    async def arespond(self, request: Any, /, **given: Any) -> HttpResponse:
        """See respond()."""
        return await hop(self.respond, request, **given)

    def run(self, *, key: str, scope: str = "", **given: Any) -> Respond:
        """
        The answer of the operation for this key and scope, without HTTP.

        Raises KeyReused for another input under the same key, InFlight, OutcomeUnknown, RetryLater, KeyExpired and
        StoreUnavailable, and whatever the function raises.
        """
        refuse_transaction(IN_TRANSACTION)
        policy, backend = self._resolve()
        outcome = self._outcome(policy, backend, self._of_key(key, scope, policy, given))
        if isinstance(outcome, Ran | Replay):
            return answered(outcome.snapshot, policy.encryption_keys)
        raise outcome.error if isinstance(outcome, Refused) else AssertionError(outcome)

    @property
    def policy(self) -> Policy:
        """The rules of its profile and its own."""
        return self._resolve()[0]

    def _resolve(self) -> tuple[Policy, DatabaseBackend]:
        policy, backend = self.rule.resolve()
        if not isinstance(backend, DatabaseBackend):
            raise ImproperlyConfigured(f"The journal of {self.name} needs the DatabaseBackend, not {backend!r}.")
        return policy, backend

    def _durable(self, given: dict[str, Any], policy: Policy) -> Durable:
        self.signature.bind(None, **given)
        asked = as_json(given, f"The input of {self.name}")
        for name in _names(given):
            if verdict(name) == DROPPED:
                # It may not be stored, not even encrypted (PCI DSS 3.3.1), and without it nothing could be resumed.
                raise ImproperlyConfigured(
                    f"{self.name} is given {name!r}, which must not be stored. Pass a gateway's token."
                )
        stored, key_id = sealed(asked.encode(), policy.encryption_keys)
        return Durable(name=self.name, input=stored, key_id=key_id)

    def _of_key(self, key: str, scope: str, policy: Policy, given: dict[str, Any]) -> Operation:
        if not 1 <= len(key) <= keys.MAX_LENGTH or not key.isprintable():
            raise KeyInvalid(f"A key is a text of 1 to {keys.MAX_LENGTH} printable characters.")
        parts = [b"operation", self.name.encode(), fingerprints.canonical(given)]
        secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return Operation(
            namespace=policy.namespace,
            scope=scope,
            key=key,
            id=keys.record_id(policy.namespace, scope, key),
            fingerprints=tuple(fingerprints.fingerprint(secret, parts) for secret in secrets),
            method="RUN",
            path=self.name,
            retention=policy.retention,
            tombstone=policy.tombstone,
            lease=policy.lease,
            durable=self._durable(given, policy),
        )

    def _outcome(self, policy: Policy, backend: DatabaseBackend, asked: Operation, wait: float = 0) -> Outcome:
        runner = Runner(store_of(backend, policy), policy, self.function)
        return engine.run(runner, asked, lambda claim: None, wait=wait)


def store_of(backend: DatabaseBackend, policy: Policy) -> Operations:
    """The journal beside the records of a backend."""
    leases = backend.leases()
    kind = PostgreSQLOperations if isinstance(leases, PostgreSQLLeases) else Operations
    return kind(leases, policy.encryption_keys)


def _names(data: Any) -> Iterator[str]:
    """All names in JSON, at any depth."""
    if isinstance(data, dict):
        yield from map(str, data)
    for value in data.values() if isinstance(data, dict) else data if isinstance(data, list | tuple) else ():
        yield from _names(value)
