"""
A process that has everything imported, and forks one worker for each line that it is told.

Workers tell the points that they come to; at the one they were asked to stop at, they wait for a signal, or to be killed.
"""

import functools
import importlib
import json
import os
import signal
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "docs" / "examples"


class Watched:
    """The journal as an operation sees it, with a point round and inside each step."""

    def __init__(self, op: Any, at: Callable[[str], None]) -> None:
        self.op = op
        self.at = at

    def phase(self, function: Callable[..., Any], **given: Any) -> Any:
        name = function.__name__
        self.at(f"before {name}")
        return self.op.phase(surrounded(function, lambda: None, lambda: self.at(f"in {name}")), **given)

    def remote(self, function: Callable[..., Any], **given: Any) -> Any:
        name = function.__name__
        self.at(f"before {name}")
        points = [functools.partial(self.at, f"{when} {name}") for when in ("sending", "heard")]
        return self.op.remote(surrounded(function, *points), **given)

    def enqueue(self, *args: Any, **kwargs: Any) -> None:
        self.op.enqueue(*args, **kwargs)


def surrounded(function: Callable[..., Any], first: Callable[[], None], last: Callable[[], None]) -> Callable[..., Any]:
    """The same function to a journal, and to whoever asks it for attributes."""

    @functools.wraps(function)
    def call(**given: Any) -> Any:
        first()
        result = function(**given)
        last()
        return result

    return call


def tell(**event: Any) -> None:
    os.write(1, f"{json.dumps({'pid': os.getpid(), **event})}\n".encode())


def run(path: str, key: str, given: dict[str, Any], stop: str | None) -> None:
    """Run an operation up to a point, and on when a signal comes."""
    from django.utils.module_loading import import_string

    from django_idempotency.exceptions import IdempotencyError

    def at(point: str) -> None:
        tell(event="stopped" if point == stop else "passed", point=point)
        if point == stop:
            signal.sigwait({signal.SIGUSR1})

    defined = import_string(path)
    function = defined.function

    def watched(op: Any, **kwargs: Any) -> Any:
        answer = function(Watched(op, at), **kwargs)
        at("end")
        return answer

    defined.function = watched
    try:
        answer = defined.run(key=key, scope="flows", **given)
    except IdempotencyError as error:
        tell(event="refused", code=error.code)
    else:
        tell(event="answered", status=answer.status, data=answer.data)


def recover() -> None:
    from dataclasses import asdict

    from django_idempotency.operations.recovery import resume

    tell(event="resumed", **asdict(resume()))


def at_addresses(addresses: dict[str, str], work: Callable[[], None]) -> None:
    from django.conf import settings

    for name, address in addresses.items():
        setattr(settings, name, address)
    work()


def fork(work: Callable[[], None]) -> None:
    """Do it in a child."""
    if os.fork():
        return
    try:
        work()
    except BaseException:  # noqa: BLE001 - whatever it is, the test is told, and this child ends
        tell(event="failed", error=traceback.format_exc())
    os._exit(0)


def prepare(database: dict[str, Any]) -> None:
    import django
    from django.conf import settings

    package = types.ModuleType("shop")
    package.__path__ = [str(EXAMPLES)]
    sys.modules["shop"] = package
    settings.DATABASES["default"].update(database)
    django.setup()
    from tests.flows import models

    sys.modules["shop.models"] = models
    for name in ("settlement_flow", "subscription_renewal"):
        importlib.import_module(f"shop.{name}")


def main() -> None:
    prepare(json.loads(sys.stdin.readline()))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    tell(event="ready")
    for line in sys.stdin:
        told = json.loads(line)
        match told.pop("do"):
            case "run":
                fork(functools.partial(at_addresses, told.pop("addresses"), functools.partial(run, **told)))
            case "recover":
                fork(functools.partial(at_addresses, told.pop("addresses"), recover))
            case "reap":
                os.waitpid(told["pid"], 0)
                tell(event="dead")


if __name__ == "__main__":
    main()
