"""Stands in for somebody else's system, such as a card gateway."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Literal, cast

from django.conf import settings
from django.utils.module_loading import import_string

DECLINED_CARD = "4000000000000002"

_BOOK = """
CREATE TABLE IF NOT EXISTS transfer (
    number INTEGER PRIMARY KEY,
    idempotency_key TEXT UNIQUE,
    kind TEXT,
    amount INTEGER,
    approved INTEGER
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    id: str
    kind: Literal["charge", "refund"]
    amount: int
    approved: bool


class PretendGateway:
    """
    Charges and refunds into a book of its own, which no rollback of ours reaches.

    Like the real ones it honours idempotency keys: a key that it knows moves no money again.
    """

    def charge(self, *, amount: int, card: str, idempotency_key: str) -> Transfer:
        return self._transfer("charge", amount, card != DECLINED_CARD, key=idempotency_key)

    def refund(self, *, amount: int, idempotency_key: str) -> Transfer:
        return self._transfer("refund", amount, True, key=idempotency_key)

    def transfers(self) -> list[Transfer]:
        with _book() as book:
            rows = book.execute("SELECT number, kind, amount, approved FROM transfer ORDER BY 1")
            return [_read(row) for row in rows]

    def _transfer(self, kind: str, amount: int, approved: bool, *, key: str) -> Transfer:
        with _book() as book:
            book.execute(
                "INSERT OR IGNORE INTO transfer (idempotency_key, kind, amount, approved) VALUES (?, ?, ?, ?)",
                (key, kind, amount, approved),
            )
            return _read(
                book.execute(
                    "SELECT number, kind, amount, approved FROM transfer WHERE idempotency_key = ?",
                    (key,),
                ).fetchone()
            )


def get_gateway() -> PretendGateway:
    return cast(PretendGateway, import_string(settings.PAYMENTS_GATEWAY)())


@contextmanager
def _book() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(settings.PAYMENTS_GATEWAY_BOOK)) as book, book:
        # It has to outlive killed workers, which it does; a power failure it need not.
        book.execute("PRAGMA synchronous = OFF")
        book.execute(_BOOK)
        yield book


def _read(row: tuple[int, Literal["charge", "refund"], int, int]) -> Transfer:
    number, kind, amount, approved = row
    prefix = "ch" if kind == "charge" else "re"
    return Transfer(id=f"{prefix}_{number}", kind=kind, amount=amount, approved=bool(approved))
