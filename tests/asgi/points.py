"""The points of tests.support.points where a request's work moves between the event loop and threads."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware

from tests.support import points

# Before the others, one of which is any UPDATE of a record.
STATEMENTS = [
    ("extend", re.compile(rf'UPDATE {points.RECORD} SET ["`]?lease_until["`]?')),
    ("takeover", re.compile(rf'UPDATE {points.RECORD} SET ["`]?state["`]? = %s, ["`]?token["`]? =')),
]

# One holder for each request; threads get a copy of the context, with the same holder in it.
_asked: ContextVar[dict[str, Any]] = ContextVar("asked")
NOTHING: dict[str, Any] = {"ticket": "", "points": ()}


class Asked:
    """What points.asked is to one thread, to one request."""

    @property
    def ticket(self) -> str:
        return str(_asked.get(NOTHING)["ticket"])

    @property
    def points(self) -> tuple[str, ...]:
        found: tuple[str, ...] = _asked.get(NOTHING)["points"]
        return found

    @points.setter
    def points(self, value: tuple[str, ...]) -> None:
        _asked.get()["points"] = value


@async_only_middleware
def points_middleware(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """Read the header; the points last as long as the request."""

    async def middleware(request: HttpRequest) -> HttpResponse:
        ticket, *asked = request.headers.get("X-Test-At", "-").split()
        _asked.set({"ticket": ticket, "points": tuple(asked)})
        return await get_response(request)

    return middleware


async def areach(point: str) -> None:
    """Hold the request here, once, if it asked for this point; the event loop goes on."""
    held = Asked()
    if point not in held.points:
        return
    held.points = tuple(other for other in held.points if other != point)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ[points.ADDRESS]))
    try:
        writer.write(f"{held.ticket} {point} {os.getpid()} 0\n".encode())
        await reader.read(1)
    finally:
        writer.close()


def install() -> None:
    """Watch the statements of every request, in whichever thread they are made."""
    points.asked = Asked()  # type: ignore[assignment]
    points.STATEMENTS[:0] = STATEMENTS
    points.install()
