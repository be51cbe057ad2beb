"""Tasks of a project whose effects happen once."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import re
import string
from collections.abc import Callable, Mapping
from typing import Any

from celery import Task, current_task, shared_task
from celery.exceptions import TaskPredicate
from celery.utils.time import get_exponential_backoff_interval
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from .. import conf
from ..core import engine, fingerprints, keys
from ..core.engine import Claim, Operation, Refused, Replay, RequestParts, Snapshot
from ..core.policies import Policy
from ..decorators import Rule
from ..encryption import answer_body, sealed
from ..exceptions import IdempotencyError, KeyExpired, KeyInvalid, KeyReused, StoreUnavailable
from ..masking import Masking, dumped
from ..services import shortened
from .upkeep import LONGEST_PAUSE

logger = logging.getLogger("django_idempotency")


def idempotent_task(
    *, key: Callable[..., str] | str, profile: str = conf.DEFAULT, **options: Any
) -> Callable[..., Any]:
    """
    A shared task whose effects in the database happen once for each key, however often it is delivered.

    `key` is called with the task's arguments and returns a text of 1 to 255 characters, or is a format string over
    them such as `"{order_id}"`. Everything else is passed to `shared_task`; `acks_late` and `reject_on_worker_lost`
    are True unless told otherwise.

    The effects and the result, which must be JSON, commit in one transaction. A later delivery gets that result. One
    that comes while the first is running is sent again later, within the task's `max_retries`. An exception undoes what
    the task wrote, frees the key and comes out, for Celery to retry or not.

    Raises KeyReused for other arguments under the same key, KeyExpired once the result is no longer kept,
    OutcomeUnknown, and KeyInvalid; none of them is retried.
    """

    def protect(function: Callable[..., Any]) -> Any:
        bound = bool(options.get("bind"))
        call = _Call(function, key, bound=bound)
        # Joined: should the worker die, nothing may be left that the next delivery would have to wait for. That it is
        # under way is for the broker to know.
        rule = Rule(profile, {"claim": "joined"})

        @functools.wraps(function)
        def run(task: Task[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            policy, backend = rule.resolve()
            operation = call.operation(task.name, policy, args, kwargs)
            work = functools.partial(function, *((task,) if bound else ()), *args, **kwargs)
            return _Delivery(task, operation, policy, work).result(backend)

        # Errors of ours are no failures of the task, which another attempt might mend.
        ours = {"dont_autoretry_for": (*options.get("dont_autoretry_for", ()), IdempotencyError), "bind": True}
        # For delay(), which looks at the arguments before anything is sent.
        head = {"__header__": staticmethod(call.signature.bind)}
        return shared_task(**{"acks_late": True, "reject_on_worker_lost": True, **head, **options, **ours})(run)

    return protect


def message_id(*_: Any, **__: Any) -> Any:
    """A key for `idempotent_task`: the id of the message that the task runs for, the same whenever it is sent again."""
    return current_task.request.id


class _Call:
    """What a task's function is called with, and the operation that a call is."""

    def __init__(self, function: Callable[..., Any], key: Callable[..., str] | str, *, bound: bool) -> None:
        parameters = list(inspect.signature(function).parameters.values())
        self.signature = inspect.Signature(parameters[1:] if bound else parameters)
        self.key = key
        if isinstance(key, str):
            _refuse_template(key, self.signature)

    def operation(self, name: str, policy: Policy, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
        namespace, key = f"task:{name}", self._key(args, kwargs)
        if len(namespace) > 100:
            raise ImproperlyConfigured(f"The name of an idempotent task has 95 characters at most: {name!r}.")
        # By parameter, for it is no other call that names them. Without defaults, which a release may add.
        asked = fingerprints.canonical(self.signature.bind(*args, **kwargs).arguments)
        secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        stored = self._stored(policy, args, kwargs)
        return Operation(
            namespace=namespace,
            scope="task",
            key=key,
            id=keys.record_id(namespace, "task", key),
            fingerprints=tuple(fingerprints.fingerprint(secret, [b"task", name.encode(), asked]) for secret in secrets),
            method="TASK",
            path=name,
            retention=policy.retention,
            tombstone=policy.tombstone,
            parts=lambda: stored,
        )

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        if callable(self.key):
            key: Any = self.key(*args, **kwargs)
        else:
            given = self.signature.bind(*args, **kwargs)
            given.apply_defaults()
            key = _Template().vformat(self.key, (), given.arguments)
        if not isinstance(key, str) or not 1 <= len(key) <= keys.MAX_LENGTH or not key.isprintable():
            raise KeyInvalid(f"A task's key is a text of 1 to {keys.MAX_LENGTH} printable characters, not {key!r:.50}.")
        return key

    def _stored(self, policy: Policy, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RequestParts:
        """The arguments as the staff may see them. It is for Celery, and not for the staff, to send them again."""
        if not policy.store_request:
            return RequestParts()
        try:
            return self._masked(policy, args, kwargs)
        except Exception as exc:  # noqa: BLE001 - a task does not fail over what is shown to the staff
            logger.warning("What a task was given could not be stored for the staff: %s.", type(exc).__name__)
            return RequestParts()

    def _masked(self, policy: Policy, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RequestParts:
        masking = Masking(policy.mask, encrypted=bool(policy.encryption_keys))
        asked = masking.json(json.dumps(self.signature.bind(*args, **kwargs).arguments, default=str))
        stored = dumped(masking.data(asked)).encode(errors="surrogatepass")
        body, key_id = sealed(stored, policy.encryption_keys)
        return RequestParts(body=body, whole=False, key_id=key_id)


class _Template(string.Formatter):
    """A key over the arguments."""

    def get_field(self, field_name: str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        value, used = super().get_field(field_name, args, kwargs)
        if value is None:
            # All tasks without a value would share one key.
            raise KeyInvalid(f"The task's key needs {field_name}, which is None.")
        return value, used


def _refuse_template(template: str, signature: inspect.Signature) -> None:
    fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    if not fields:
        raise TypeError(f"idempotent_task(): the key {template!r} is the same for all arguments.")
    for field in fields:
        name = re.split(r"[.\[]", field)[0]
        if name not in signature.parameters:
            raise TypeError(f"idempotent_task(): the task has no argument {name!r}, which its key {template!r} needs.")


class _Delivery:
    """One delivery of a task on its way through the engine."""

    def __init__(self, task: Task[..., Any], operation: Operation, policy: Policy, call: Callable[[], Any]) -> None:
        self.task = task
        self.operation = operation
        self.policy = policy
        self.call = call
        self.kept = b""

    def result(self, backend: Any) -> Any:
        outcome = engine.run(backend, self.operation, self._work)
        match outcome:
            case Replay(snapshot):
                return self._replay(snapshot)
            case Refused(error):
                if isinstance(error, KeyReused):
                    backend.mismatched(self.operation)
                return self._refuse(error)
        # As every later delivery will get it.
        return json.loads(self.kept)

    def _work(self, claim: Claim) -> Snapshot:
        try:
            self.kept = _as_json(self.call())
        except TaskPredicate:
            # The task asks for another attempt, or to be dropped.
            claim.ending.expected = True
            raise
        if len(self.kept) > self.policy.max_response:
            raise ValueError(f"The task's result has {len(self.kept)} bytes, more than MAX_RESPONSE allows to keep.")
        return Snapshot(200, (("Content-Type", "application/json"),), *sealed(self.kept, self.policy.encryption_keys))

    def _replay(self, snapshot: Snapshot) -> Any:
        try:
            body = answer_body(snapshot.body, snapshot.key_id, self.policy.encryption_keys)
        except StoreUnavailable as error:
            return self._refuse(error)
        if body is None:
            # Somebody has had it erased.
            return self._refuse(KeyExpired())
        logger.info("Task %s was done for key %s.", self.task.name, shortened(self.operation.key))
        return json.loads(body)

    def _refuse(self, error: IdempotencyError) -> Any:
        logger.info("Refused %s for key %s", error.code, shortened(self.operation.key))
        if not error.retryable:
            raise error
        pause = get_exponential_backoff_interval(
            factor=error.retry_after or 1, retries=self.task.request.retries, maximum=LONGEST_PAUSE
        )
        raise self.task.retry(exc=error, countdown=pause)


def _as_json(result: Any) -> bytes:
    try:
        return json.dumps(result, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise TypeError(f"An idempotent task returns JSON, because duplicates are given the same: {exc}.") from exc
