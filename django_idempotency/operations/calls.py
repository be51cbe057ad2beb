"""Calling a durable operation: for a request, or for a key alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse

from ..backends.db import DatabaseBackend
from ..backends.db.leases import PostgreSQLLeases
from ..backends.transactions import refuse_transaction
from ..core import engine, fingerprints, keys
from ..core.engine import Claim, Durable, Operation, Outcome, Refused, Replay
from ..core.policies import Policy
from ..decorators import exchange_for
from ..encryption import sealed
from ..exceptions import KeyInvalid, StoreUnavailable
from .answers import Respond, answered, as_json
from .boundaries import refuse_secrets
from .definitions import DurableOperation
from .postgresql import PostgreSQLOperations
from .runs import Ran, Runner
from .services import OperationService
from .store import Operations

IN_TRANSACTION = (
    "A durable operation was called inside a database transaction: rolled back, it would take the journal with it, and what "
    "was done would be done again. End the transaction first; for a view under ATOMIC_REQUESTS, with "
    "django.db.transaction.non_atomic_requests."
)
UNHEARD = (
    "The store of idempotency keys cannot be reached, so what became of this request cannot be told now. Send the same "
    "request again later."
)


def respond(defined: DurableOperation, request: Any, given: dict[str, Any]) -> HttpResponse:
    """What `DurableOperation.respond` promises."""
    refuse_transaction(IN_TRANSACTION)
    policy, backend = resolved(defined)
    asked = durable(defined, policy, given)
    service = OperationService(exchange_for((request,), policy), backend, sender=defined)
    run = functools.partial(_outcome, defined, policy, backend, wait=service.exchange.wait(), begun=service.begun)
    response: HttpResponse = service.answer(asked, run)
    return response


def run(defined: DurableOperation, key: str, scope: str, given: dict[str, Any]) -> Respond:
    """What `DurableOperation.run` promises."""
    refuse_transaction(IN_TRANSACTION)
    policy, backend = resolved(defined)
    outcome = _outcome(defined, policy, backend, _of_key(defined, policy, given, key=key, scope=scope))
    if isinstance(outcome, Ran | Replay):
        return answered(outcome.snapshot, policy)
    raise outcome.error if isinstance(outcome, Refused) else AssertionError(outcome)


def resolved(defined: DurableOperation) -> tuple[Policy, DatabaseBackend]:
    """The rules of an operation, and where its journal is. Raises ImproperlyConfigured where it can have none."""
    policy, backend = defined.rule.resolve()
    if not isinstance(backend, DatabaseBackend):
        raise ImproperlyConfigured(f"The journal of {defined.name} needs the DatabaseBackend, not {backend!r}.")
    return policy, backend


def store_of(backend: DatabaseBackend, policy: Policy) -> Operations:
    """The journal beside the records of a backend."""
    leases = backend.leases()
    kind = PostgreSQLOperations if isinstance(leases, PostgreSQLLeases) else Operations
    return kind(leases, policy.encryption_keys)


def durable(defined: DurableOperation, policy: Policy, given: dict[str, Any]) -> Durable:
    """The input as it is stored. Raises TypeError for what is no JSON or not the function's, before anything is claimed."""
    defined.signature.bind(None, **given)
    asked = as_json(given, f"The input of {defined.name}")
    refuse_secrets(defined.name, given)
    stored, key_id = sealed(asked.encode(), policy.encryption_keys)
    return Durable(name=defined.name, input=stored, key_id=key_id)


def _of_key(defined: DurableOperation, policy: Policy, given: dict[str, Any], *, key: str, scope: str) -> Operation:
    if not 1 <= len(key) <= keys.MAX_LENGTH or not key.isprintable():
        raise KeyInvalid(f"A key is a text of 1 to {keys.MAX_LENGTH} printable characters.")
    parts = [b"operation", defined.name.encode(), fingerprints.canonical(given)]
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return Operation(
        namespace=policy.namespace,
        scope=scope,
        key=key,
        id=keys.record_id(policy.namespace, scope, key),
        fingerprints=tuple(fingerprints.fingerprint(secret, parts) for secret in secrets),
        method="RUN",
        path=defined.name,
        retention=policy.retention,
        tombstone=policy.tombstone,
        lease=policy.lease,
        durable=durable(defined, policy, given),
    )


def _outcome(
    defined: DurableOperation,
    policy: Policy,
    backend: DatabaseBackend,
    asked: Operation,
    *,
    wait: float = 0,
    begun: Callable[[Claim], None] = lambda claim: None,
) -> Outcome:
    runner = Runner(store_of(backend, policy), policy, defined.function)
    outcome = engine.run(runner, asked, begun, wait=wait)
    if isinstance(outcome, Refused) and isinstance(outcome.error, StoreUnavailable):
        # It may be claimed, or further.
        return Refused(StoreUnavailable(UNHEARD))
    return outcome
