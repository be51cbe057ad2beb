"""What the fake gateway has done: its book, and the keys that it remembers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

DECLINED_CARD = "4000000000000002"

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any


class Refused(Exception):
    """A request that is not done, with what it is answered."""

    def __init__(self, status: int, code: str) -> None:
        self.answer = Answer(status, {"error": code})
        super().__init__(code)


@dataclass(slots=True)
class _Known:
    """A key in use; without an answer, its request is still under way."""

    asked: object
    since: float
    answer: Answer | None = None


class Keys:
    """The keys of requests, for `ttl` seconds each; None: for ever."""

    def __init__(self, ttl: float | None) -> None:
        self._ttl = ttl
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def begin(self, key: str, asked: object) -> Answer | None:
        """What the first request was answered; None where this is the first. Raises Refused."""
        with self._lock:
            known = self._known.get(key)
            if known is None or self._expired(known):
                self._known[key] = _Known(asked, time.monotonic())
                return None
        if known.asked != asked:
            raise Refused(422, "key-reused")
        if known.answer is None:
            raise Refused(409, "in-progress")
        return known.answer

    def end(self, key: str, answer: Answer) -> None:
        with self._lock:
            # Not where the key was forgotten meanwhile.
            if key in self._known:
                self._known[key].answer = answer

    def drop(self, key: str) -> None:
        """The request did nothing: the next one is the first again."""
        with self._lock:
            self._known.pop(key, None)

    def forget(self) -> None:
        """As if all had expired."""
        with self._lock:
            self._known.clear()

    def _expired(self, known: _Known) -> bool:
        return self._ttl is not None and known.since + self._ttl <= time.monotonic()


class Book:
    """The charges, captures and refunds that were made, in their order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, list[Entry]] = {"charges": [], "captures": [], "refunds": []}
        self._late: dict[str, list[Callable[[], object]]] = {}

    def entries(self, kind: str, key: str | None = None) -> list[Entry]:
        with self._lock:
            return [dict(entry) for entry in self._entries[kind] if key in (None, entry["key"])]

    def make(self, kind: str, key: str, asked: Entry, *, extra: int = 0) -> Answer:
        """Write it down, `extra` minor units more than was asked for. Raises Refused."""
        with self._lock:
            refuse = {"charges": _refuse_nothing, "captures": self._refuse_capture, "refunds": self._refuse_refund}
            refuse[kind](asked)
            declined = asked.get("card") == DECLINED_CARD
            entries = self._entries[kind]
            entry = {
                "id": f"{kind[:2]}_{len(entries) + 1}",
                "key": key,
                "status": "declined" if declined else "approved",
                "reason": "insufficient_funds" if declined else None,
                "amount": asked["amount"] + extra,
                "currency": asked["currency"],
                "charge": asked.get("charge"),
                "captured": kind == "charges" and not declined and asked.get("capture", True),
            }
            entries.append(entry)
            return Answer(402 if declined else 201, dict(entry))

    def later(self, key: str, do: Callable[[], object]) -> None:
        """Do it when the key has been looked up next."""
        with self._lock:
            self._late.setdefault(key, []).append(do)

    def looked_up(self, key: str) -> None:
        """Do now what was to be done after this."""
        with self._lock:
            late = self._late.pop(key, [])
        for do in late:
            do()

    def _refuse_capture(self, asked: Entry) -> None:
        charge = self._charge(asked)
        if charge["captured"] or charge["status"] != "approved" or asked["amount"] > charge["amount"]:
            raise Refused(400, "not-capturable")
        charge["captured"] = True

    def _refuse_refund(self, asked: Entry) -> None:
        charge = self._charge(asked)
        given = sum(entry["amount"] for entry in self._entries["refunds"] if entry["charge"] == charge["id"])
        if not charge["captured"] or given + asked["amount"] > charge["amount"]:
            raise Refused(400, "not-refundable")

    def _charge(self, asked: Entry) -> Entry:
        for charge in self._entries["charges"]:
            if charge["id"] == asked.get("charge"):
                return charge
        raise Refused(404, "no-such-charge")


def _refuse_nothing(_: Entry) -> None:
    pass
