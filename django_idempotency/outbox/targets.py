"""Whose tasks messages go to: Celery's, or those of Django's own framework (6.0 and later). Imported when one is sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.utils.module_loading import import_string

Call = tuple[list[Any], dict[str, Any]]
"""What a task is called with."""

CELERY, DJANGO = "celery", "django"
LONGEST_NAME = 255

MESSAGE_ID = "message_id"
"""A task of Django's whose function has such a parameter is told the message's id. For one of Celery's, it is its own."""


def target_of(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, str]:
    """Whose task it is, and the name by which it is found again. Raises TypeError, also for arguments it does not take."""
    if callable(getattr(task, "apply_async", None)) and not isinstance(task, Mapping):
        target, name = CELERY, task.name
        if task.typing:
            task.__header__(*args, **kwargs)
    elif callable(getattr(task, "enqueue", None)) and hasattr(task, "module_path"):
        target, name = DJANGO, _path(task)
    else:
        raise TypeError(
            f"A message goes to a task, of Celery's or of Django's, without arguments or options: not {task!r}."
        )
    if len(name) > LONGEST_NAME:
        raise TypeError(f"The name of a task has {LONGEST_NAME} characters at most: {name!r}.")
    return target, name


def _path(task: Any) -> str:
    path: str = task.module_path
    try:
        found = import_string(path)
    except ImportError:
        found = None
    if found != task:
        # Local, or changed by using(): whoever sends the message would find another task, or none.
        raise TypeError(
            f"A message goes to a task as {path} has it, to be found there when it is sent: not to {task!r}."
        )
    return path


def send(target: str, name: str, number: UUID, call: Call) -> None:
    """Hand a message over to the broker. Raises whatever comes of it, KeyError and ImportError without such a task."""
    SENDERS[target](name, number, call)


def _to_celery(name: str, number: UUID, call: Call) -> None:
    from celery import current_app

    args, kwargs = call

    if name not in current_app.tasks:
        # Only a worker has discovered the tasks by itself.
        current_app.loader.import_default_modules()
    current_app.tasks[name].apply_async(tuple(args), kwargs, task_id=str(number))


def _to_django(name: str, number: UUID, call: Call) -> None:
    task, (args, kwargs) = import_string(name), call
    if MESSAGE_ID in inspect.signature(task.func).parameters:
        kwargs = {**kwargs, MESSAGE_ID: str(number)}
    task.enqueue(*args, **kwargs)


SENDERS: dict[str, Callable[[str, UUID, Call], None]] = {CELERY: _to_celery, DJANGO: _to_django}
