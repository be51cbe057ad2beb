"""A list of requests as a file: masked, read and written batch by batch, harmless to whatever program opens it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any

from asgiref.sync import sync_to_async
from django.utils.translation import gettext as _

from .lanes import Wanted
from .listings import pages
from .models import IdempotencyRecord
from .payloads import content_type, masked, visible
from .timelines import attempts

MOST = 100_000
"""Requests in one file."""
READ = 500
"""Requests that are listed at once; their payloads, which may be large, are read one by one."""

# A spreadsheet takes what begins so for a formula; the last four are the same signs at full width.
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
PLAIN = ("id", "namespace", "scope", "key", "operation", "state", "method", "path", "status", "amount", "currency")
TIMES = ("claimed_at", "completed_at", "expires_at", "forget_at")
# Where German programs separate by semicolons, or others by tabs, one text is several cells.
INNER_FORMULA = re.compile(r"""([;\t\r\n])(?="*[=+\-@\uff1d\uff0b\uff0d\uff20])""")
COLUMNS = (*PLAIN, "attempts", *TIMES, "request", "answer")
BODIES = ("request_headers", "request_body", "request_key_id", "headers", "body", "body_key_id")
# Else a spreadsheet takes UTF-8 for the character set of its country.
BYTE_ORDER_MARK = "\ufeff"

Row = dict[str, Any]


def rows(records: Any, wanted: Wanted) -> Iterator[Row]:
    """What is exported of the requests that are wanted: one more than MOST at most, which says that there are more."""
    for record in islice(chain.from_iterable(pages(records, wanted, limit=READ)), MOST + 1):
        yield row(records, record)


def row(records: Any, record: IdempotencyRecord) -> Row:
    """One request, its payloads masked."""
    # By itself: a batch of the largest would fill the memory. It may be gone by now.
    bodies = records.filter(pk=record.pk).values(*BODIES).first() or dict.fromkeys(BODIES, None)
    return {
        **{name: getattr(record, name) for name in PLAIN},
        "attempts": attempts(record),
        **{name: at and at.isoformat() for name in TIMES for at in [getattr(record, name)]},
        "request": _payload(bodies, "request_body", "request_key_id", "request_headers"),
        "answer": _payload(bodies, "body", "body_key_id", "headers"),
    }


def csv_lines(found: Iterable[Row]) -> Iterator[str]:
    """The file as CSV; its last line says so where there are more."""
    writer: Any = csv.writer(_Echo())
    yield BYTE_ORDER_MARK + writer.writerow(COLUMNS)
    for number, one in enumerate(found):
        if number == MOST:
            yield writer.writerow([_("These are the first {number} requests; there are more.").format(number=MOST)])
            return
        yield writer.writerow([cell(one[name]) for name in COLUMNS])


def json_lines(found: Iterable[Row]) -> Iterator[str]:
    """The file as one JSON object, a request a line."""
    more = False
    yield '{"requests": ['
    for number, one in enumerate(found):
        if number == MOST:
            more = True
            break
        # ASCII: nothing that turns the direction of reading, and no surrogate that no file can hold.
        yield ("," if number else "") + "\n" + json.dumps(one, default=str)
    yield f'\n], "more": {json.dumps(more)}}}\n'


FORMATS: dict[str, tuple[str, Callable[[Iterable[Row]], Iterator[str]]]] = {
    "csv": ("text/csv; charset=utf-8", csv_lines),
    "json": ("application/json", json_lines),
}


def cell(value: Any) -> Any:
    """A value for a spreadsheet: a text that it would calculate is marked as one."""
    if not isinstance(value, str):
        return value
    text = INNER_FORMULA.sub(r"\1'", visible(value))
    return f"'{text}" if text.startswith(FORMULAS) else text


async def in_turn(lines: Iterator[str]) -> AsyncIterator[str]:
    """The same for a server that would otherwise read all of it before it sends the first line."""
    while line := await sync_to_async(_next)(lines):
        yield line


def _next(lines: Iterator[str]) -> str:
    return next(lines, "")


def _payload(bodies: Row, body: str, key_id: str, of_headers: str) -> str:
    of_type = content_type(bodies[of_headers] or "")
    return str(masked(bodies[body], bodies[key_id] or "", of_type, pretty=False))


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text
