"""What the demo prints: requests, answers, the books, and whether things went as expected."""

import json
import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import TextIO

from testproject.payments.gateway import Transfer

from .books import Books, Entry, money, moved
from .client import Answer, Call

WIDTH = 96
LABEL = 10
LONGEST = 500
SHOWN_HEADERS = ("idempotent-replayed", "retry-after")

BOLD, RED, GREEN, DIM = "1", "1;31", "32", "2"


class Report:
    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        self.stream = stream
        self.colour = colour
        self.held = 0
        self.failures: list[str] = []
        self._title = ""

    def title(self, title: str, story: str) -> None:
        self._title = title
        self.print()
        self.print()
        self.print(title, BOLD)
        self.print("-" * len(title), BOLD)
        for line in textwrap.wrap(story, WIDTH):
            self.print(line)

    def request(self, call: Call, note: str = "") -> None:
        self.print()
        key = "" if call.key is None else f'   Idempotency-Key: "{call.key}"'
        self.line("request", f"{call.method} {call.path}{key}")
        self.block(call.body or "")
        if note:
            self.line("", f"({note})", DIM)

    def answer(self, answer: Answer) -> None:
        self.line("answer", describe(answer))
        # With spaces, so that it can be wrapped; the bytes are compared elsewhere.
        self.block(json.dumps(answer.data) if answer.data else answer.body.decode(errors="replace"))

    def answers(self, answers: Iterable[Answer]) -> None:
        """A crowd's answers, counted."""
        label = "answers"
        for text, count in sorted(Counter(describe(answer) for answer in answers).items()):
            self.line(label, f"{count} x {text}")
            label = ""

    def books(self, books: Books, new: Books) -> None:
        """What is new in them, and what that makes altogether."""
        self._book("ledger", [_entry(entry) for entry in new.entries], books.balance)
        self._book("gateway", [_transfer(transfer) for transfer in new.transfers], books.settled)

    def expect(self, text: str, held: bool, got: str = "") -> None:
        if held:
            self.held += 1
            self.line("ok", text, GREEN)
            return
        self.failures.append(f"{self._title}: expected {text}; got {got}")
        self.line("FAILED", f"expected  {text}", RED)
        self.line("", f"got       {got}", RED)

    def verdict(self) -> None:
        self.print()
        self.print("=" * WIDTH)
        if self.failures:
            self.print(f"FAILED: {len(self.failures)} of {self.held + len(self.failures)} expectations", RED)
            for failure in self.failures:
                self.print(f"  {failure}", RED)
        else:
            self.print(f"All went as expected: {self.held} expectations held.", BOLD)
        self.print("=" * WIDTH)

    def line(self, label: str, text: str, style: str = "") -> None:
        self.print(f"  {label:{LABEL}}{text}".rstrip(), style)

    def block(self, text: str) -> None:
        """Under the line before it, wrapped and not endless."""
        text = textwrap.shorten(text, LONGEST, placeholder=" ...")
        for line in textwrap.wrap(text, WIDTH - LABEL, break_long_words=False, break_on_hyphens=False):
            self.line("", line)

    def print(self, text: str = "", style: str = "") -> None:
        if style and self.colour:
            text = f"\x1b[{style}m{text}\x1b[0m"
        print(text, file=self.stream, flush=True)

    def _book(self, label: str, new: list[tuple[str, int]], total: int) -> None:
        for text, amount in new:
            self._sum(label, f"+  {text}", amount)
            label = ""
        self._sum(label, "=  altogether" if new else "=  unchanged", total)

    def _sum(self, label: str, text: str, amount: int) -> None:
        self.line(label, f"{text:44}{money(amount):>14}")


def describe(answer: Answer) -> str:
    """The status, which refusal, and the headers that matter to a client that retries."""
    headers = [f"{name.title()}: {answer.headers[name]}" for name in SHOWN_HEADERS if name in answer.headers]
    return "   ".join([f"{answer.status} {answer.reason}", *filter(None, [answer.code]), *headers])


def _entry(entry: Entry) -> tuple[str, int]:
    return f"{entry.reason:12} {entry.account}", entry.amount


def _transfer(transfer: Transfer) -> tuple[str, int]:
    outcome = "" if transfer.approved else f" of {money(transfer.amount)}, declined"
    return f"{transfer.id:12} {transfer.kind}{outcome}", moved(transfer)
