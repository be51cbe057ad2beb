"""What an operation's function works with: steps that are done once, however often the function is run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid5

from django.core.exceptions import ImproperlyConfigured

from .. import outbox
from ..backends.transactions import refuse_transaction
from ..core import keys
from ..core.engine import Claim
from ..core.journal import Kind, Step, may_be_sent, refuse_change, refuse_end
from ..exceptions import OutcomeUnknown, StoreUnavailable
from ..heartbeats import Heart
from .answers import Respond, as_json
from .boundaries import CALL_IN_TRANSACTION, PHASE_IN_TRANSACTION, no_writes, refuse_limits, refuse_secrets
from .store import Answer, Lost, Operations, Progress

TIMEOUT = 20.0
"""Seconds that a remote call may take, where neither it nor its gateway says."""

NESTED = "A step was begun inside another one. Begin it after that, in the operation's own function."
INSTEAD = (
    "The phase {undone} raised an exception and was undone, and {name} was begun instead. When the operation is resumed, "
    "nothing would tell which way it went. Let the phase return what decides, instead of raising it."
)


class Unsettled(Exception):
    """Nobody knows what a call did, and it may not be sent again."""


@dataclass(frozen=True, slots=True)
class _Call:
    function: Callable[..., Any]
    lookup: Callable[..., Any] | None
    timeout: float


class Steps:
    """
    The journal of one operation, as its function sees it: the first argument, `op`.

    A step is known by its place and its name. One that the journal has is not run again: what it returned then is returned.
    """

    def __init__(self, store: Operations, claim: Claim, progress: Progress) -> None:
        self._store = store
        self._claim = claim
        self._recorded = progress.steps
        self._loaded = progress.now, time.monotonic()
        self.heart = Heart(lambda: store.extend(claim), claim.operation.lease.total_seconds())
        self._position = 0
        self.begun = bool(progress.steps)
        """Whether the journal may have anything."""
        self._undone: Step | None = None
        """The phase that was last begun, and undone."""
        self._messages: list[outbox.Message] = []
        self._enqueued = 0
        self._busy = False
        self._excused: BaseException | None = None
        """What a phase's own function has raised."""
        self._ended: BaseException | None = None

    @property
    def id(self) -> Any:
        """The record's id, the same in every attempt."""
        return self._claim.operation.id

    @property
    def attempt(self) -> int:
        """1, or more where an earlier attempt died or was put off."""
        return self._claim.attempt

    def phase(self, function: Callable[..., Any], /, **given: Any) -> Any:
        """
        Call a function in one transaction with its journal row, and return what it returns: JSON, or a Respond.

        Whatever it raises undoes it; where the operation's function catches that, it may only try the same again, or end.
        Its time is not limited, and nobody else can take the operation up meanwhile.
        """
        with self._step():
            return self._phase(function, given)

    def remote(
        self,
        function: Callable[..., Any],
        /,
        *,
        lookup: Callable[..., Any] | None = None,
        timeout: float | None = None,
        key_ttl: timedelta | None = None,
        **given: Any,
    ) -> Any:
        """
        Call another system, once: `function(idempotency_key=…, **given)` outside of any transaction; it returns JSON.

        The key is a UUID derived from the operation and this step. If nobody knows what became of an earlier call,
        `lookup(idempotency_key=…, **given)` is asked first: it returns what the call would have returned, None where the
        other system has no such call, or raises OutcomeUnknown. None leads to the same call again, as long as the other
        system honours its key: for `key_ttl` since it was first sent. Else the operation waits for a person.

        `timeout` is how many seconds the function takes at most, shorter than the lease; it is for the function to keep.
        Where they are not given, the function's object is asked for attributes of these names, as gateways have them.
        """
        owner = getattr(function, "__self__", function)
        seconds = timeout if timeout is not None else float(getattr(owner, "timeout", None) or TIMEOUT)
        honoured = key_ttl if key_ttl is not None else getattr(owner, "key_ttl", None)
        refuse_limits(self._claim.operation, seconds, honoured)
        with self._step():
            return self._remote(_Call(function, lookup, seconds), honoured, given)

    def enqueue(self, task: Any, /, *args: Any, **kwargs: Any) -> None:
        """Send a message to a task, once the next phase or the answer is committed; at least once, with a stable id."""
        self._refuse_busy()
        refuse_secrets("A message", [args, kwargs])
        self._enqueued += 1
        # With the claim's number: a key that is used again, much later, is another operation.
        number = uuid5(self._claim.operation.id, f"{self._claim.number} message {self._enqueued}")
        self._messages.append(outbox.message(task, args, kwargs, id=number))

    def end(self) -> Callable[[], None] | None:
        """
        What has to be written with the answer; None where it is the answer alone.

        Raises what ended the operation, even where the function caught it, and Changed where it left steps out.
        """
        self.refuse_ended()
        refuse_end(self._recorded, self._position)
        return self._put if self._messages else None

    def refuse_ended(self) -> None:
        """Raises what has ended this attempt, if anything has."""
        if self._ended is not None:
            raise self._ended

    def _refuse_busy(self) -> None:
        self.refuse_ended()
        if self._busy:
            # The outer one may catch it, and then go by what has not been done.
            self._ended = ImproperlyConfigured(NESTED)
            raise self._ended

    @contextmanager
    def _step(self) -> Iterator[None]:
        self._refuse_busy()
        self._busy = True
        try:
            yield
            self._position, self._undone, self.begun = self._position + 1, None, True
        except BaseException as exc:
            if exc is not self._excused:
                self._ended, self.begun = exc, True
            raise
        finally:
            self._busy = False

    def _phase(self, function: Callable[..., Any], given: dict[str, Any]) -> Any:
        refuse_transaction(PHASE_IN_TRANSACTION)
        refuse_secrets(name_of(function), given)
        asked = as_json(given, "What a phase is given")
        if self._messages:
            asked = as_json([given, [message.described() for message in self._messages]], "A message")
        step = Step(position=self._position, name=name_of(function), kind=Kind.PHASE, input=asked)
        finished = self._next(step)
        if finished is None:
            with self.heart.resting():
                finished = self._store.phase(self._claim, step, partial(self._work, function, step), self._put)
        self._messages.clear()
        return _value(finished)

    def _work(self, function: Callable[..., Any], step: Step) -> Answer:
        given = json.loads(step.input)
        try:
            result = function(**(given[0] if self._messages else given))
        except BaseException as exc:
            # It is undone as a whole. The journal knows nothing of it.
            self._excused, self._undone = exc, step
            raise
        if isinstance(result, Respond):
            return as_json(result.data, "An answer's data"), result.status
        return as_json(result, f"What {name_of(function)} returns"), None

    def _put(self) -> None:
        if self._messages:
            outbox.put(self._store.alias, self._messages)

    def _remote(self, call: _Call, key_ttl: timedelta | None, given: dict[str, Any]) -> Any:
        refuse_transaction(CALL_IN_TRANSACTION)
        name = name_of(call.function)
        refuse_secrets(name, given)
        step = Step(
            position=self._position,
            name=name,
            kind=Kind.REMOTE,
            input=as_json(given, "What a remote call is given"),
            gateway_key=keys.derive(self._claim.operation.id, f"{self._position} {name}"),
            key_ttl=key_ttl,
        )
        recorded = self._next(step)
        if recorded is None:
            sent = time.monotonic()
            self._store.request(self._claim, step)
            return self._send(call, step, sent)
        if recorded.finished:
            return _value(recorded)
        return self._settle(call, recorded)

    def _settle(self, call: _Call, step: Step) -> Any:
        """Find out what became of a call that nobody has heard of, or send it again."""
        if call.lookup is not None:
            found = self._asked(call.lookup, step)
            if found is not None:
                return self._finish(step, found)
        sent = time.monotonic()
        self._renew()
        if not may_be_sent(step, self._now(), timedelta(seconds=call.timeout)):
            raise Unsettled(unsettled(step))
        return self._send(call, step, sent)

    def _now(self) -> datetime:
        """The database's time, by what it was when the journal was read."""
        then, since = self._loaded
        return then + timedelta(seconds=time.monotonic() - since)

    def _renew(self) -> None:
        if not self._store.extend(self._claim):
            raise Lost

    def _asked(self, lookup: Callable[..., Any], step: Step) -> Any:
        self._renew()
        with no_writes():
            return lookup(idempotency_key=step.gateway_key, **json.loads(step.input))

    def _send(self, call: _Call, step: Step, since: float) -> Any:
        lease = self._claim.operation.lease.total_seconds()
        if time.monotonic() + call.timeout >= since + lease:
            # This process stood still: by the end of the call, somebody else may have taken the operation up.
            raise OutcomeUnknown("The call was not sent in time.")
        try:
            with self.heart.limited(call.timeout), no_writes():
                result = call.function(idempotency_key=step.gateway_key, **json.loads(step.input))
        except OutcomeUnknown as exc:
            if exc.key_forgotten:
                step = self._store.dishonour(self._claim, step)
            if call.lookup is None and step.key_ttl is None:
                # There is nobody to ask, and no way to send it again.
                raise Unsettled(unsettled(step)) from exc
            raise
        return self._finish(step, result)

    def _finish(self, step: Step, result: Any) -> Any:
        finished = replace(step, result=as_json(result, f"What {step.name} returns"))
        try:
            self._store.finish(self._claim, finished)
        except StoreUnavailable:
            # The connection may have died during the call; nobody but us has what it brought.
            self._store.finish(self._claim, finished)
        return _value(finished)

    def _next(self, step: Step) -> Step | None:
        """The journal's own entry for this step. Raises Changed."""
        recorded = self._recorded[self._position] if self._position < len(self._recorded) else None
        if recorded is not None:
            refuse_change(recorded, step.name, step.kind, step.input)
        elif self._undone is not None and self._undone != step:
            # Resumed, the function would come to the undone one first, and might go another way.
            raise ImproperlyConfigured(INSTEAD.format(undone=self._undone.name, name=step.name))
        return recorded


def unsettled(step: Step) -> str:
    return f"step {step.position}, {step.name}: nobody knows what it did, and it may not be sent again"


def name_of(function: Callable[..., Any]) -> str:
    """The name of a step: its function's, or that of the method and of the class of its object."""
    name = getattr(function, "__qualname__", "")
    if not name or "<lambda>" in name:
        raise TypeError(
            f"A step needs a named function, to be known again when the operation is resumed: {function!r}."
        )
    return name.rpartition("<locals>.")[2][:200]


def _value(step: Step) -> Any:
    """What a step has returned: the same object from the journal as the first time."""
    data = json.loads(step.result or "null")
    return data if step.status is None else Respond(step.status, data)
