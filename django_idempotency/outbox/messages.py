"""Messages to tasks, and writing them in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from .targets import target_of

# The models, and so the rows, are imported when they are needed: modules of models and tasks import what is here.


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A call of a task that is to be sent."""

    id: UUID
    target: str
    """Whose task it is: `celery` or `django`."""
    task: str
    args: list[Any] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)

    def described(self) -> list[Any]:
        """What is to be sent, without the id, as JSON."""
        return [self.target, self.task, self.args, self.kwargs]


def message(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, id: UUID | None = None) -> Message:  # noqa: A002
    """
    A message to a task of Celery's or of Django's, with arguments as the task will get them from JSON.

    Raises TypeError for what is no such task, for arguments it does not take, and for arguments that are not JSON.
    """
    target, name = target_of(task, args, kwargs)
    try:
        taken_args, taken_kwargs = json.loads(json.dumps([args, kwargs], allow_nan=False))
    except (TypeError, ValueError, RecursionError) as exc:
        raise TypeError(f"The arguments of {name} must be JSON, to be kept until they are sent: {exc}.") from exc
    return Message(id=id or uuid4(), target=target, task=name, args=taken_args, kwargs=taken_kwargs)


def enqueue_on_commit(task: Any, /, *args: Any, using: str | None = None, **kwargs: Any) -> UUID:
    """
    Send a message to a task once the open transaction is committed, and never if it is rolled back; its id.

    `task` is a Celery task or one of Django's; its arguments are JSON. It is sent at least once, and with the same id if
    more than once. It is a row on the default profile's database unless `using` names another.

    Raises TransactionManagementError where no transaction is open there, and TypeError as `message` does.
    """
    from . import rows

    enqueued = message(task, args, kwargs)
    rows.write(using or rows.home(), [enqueued])
    return enqueued.id


def put(alias: str, messages: Sequence[Message]) -> None:
    """Write messages in the transaction that is open on a database, in one statement. Raises as enqueue_on_commit does."""
    from . import rows

    rows.write(alias, messages)
