"""From a coroutine to synchronous code and back, by asgiref's rules: no connection is ever used in two threads."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from asgiref.sync import sync_to_async

logger = logging.getLogger("django_idempotency")

T = TypeVar("T")


def hop(call: Callable[..., T], *args: Any, **kwargs: Any) -> Coroutine[Any, Any, T]:
    """Call in the request's own thread for synchronous work."""
    return sync_to_async(_called, thread_sensitive=True)(call, *args, **kwargs)


def _called(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    try:
        return call(*args, **kwargs)
    except StopIteration as exc:
        # No future takes it: whoever awaits one would wait for ever.
        raise RuntimeError(f"{call!r} raised StopIteration.") from exc


async def to_the_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine to its end, even if this task is cancelled meanwhile; CancelledError comes after that."""
    context = contextvars.copy_context()
    task = asyncio.create_task(coroutine, context=context)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is None:
        _adopt(context)
        return task.result()
    if not task.cancelled() and (error := task.exception()):
        logger.error("A request was cancelled, and what had to be done for it failed.", exc_info=error)
    raise cancelled


def _adopt(context: contextvars.Context) -> None:
    """Let what was set there be set here, as after any await of the same task."""
    here = contextvars.copy_context()
    for variable, value in context.items():
        if variable not in here or here[variable] is not value:
            variable.set(value)


async def stopped(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])
