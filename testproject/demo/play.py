"""What a step of the scenario can do and expect. Everything it does is printed."""

import http.client
import os
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django_idempotency.gateways.fake import FakeGateway

from .books import Books, money, moved, read_books
from .client import Answer, Call, Client, poll
from .report import Report, describe

GOOD_CARD = "4242424242424242"


@dataclass(kw_only=True)
class Play:
    report: Report
    client: Client
    account: int
    other_client: Client
    other_account: int
    payments: str
    """The path of the payments view."""
    brief_payments: str
    """The path of the one that keeps its answers for a second."""
    card_client: Client
    card_account: int
    gateway: FakeGateway
    """The gateway over HTTP, and its book."""
    fuse: Path
    last: Books = field(init=False)

    def __post_init__(self) -> None:
        self.last = self.look()

    def payment(self, amount: int, *, key: str | None = None, **changes: Any) -> Call:
        data = {"account": self.account, "amount": amount, "currency": "EUR", "card": GOOD_CARD}
        return self.post(self.payments, data | changes, key=key)

    def post(self, path: str, data: dict[str, Any], *, key: str | None = None) -> Call:
        return Call(method="POST", path=path, key=key or str(uuid.uuid4()), data=data)

    def send(self, call: Call, *, by: Client | None = None, note: str = "") -> Answer:
        """The answer, after as many attempts as the server asks for."""
        self.report.request(call, note)
        for answer in (by or self.client).attempts(call):
            self.report.answer(answer)
        return answer

    def send_in_vain(self, call: Call, *, by: Client) -> None:
        """Send it to a worker that is going to die."""
        try:
            answer = by.send(call)
        except (OSError, http.client.HTTPException):
            self.report.line("answer", "none: the connection broke")
        else:
            self.report.answer(answer)

    def expect_a_death(self, worker: int) -> None:
        gone = poll(lambda: not _lives(worker), until=bool)
        self.report.expect(f"worker {worker} is dead", gone, "a living process")

    def look(self) -> Books:
        """The books as they are, not printed."""
        return read_books([self.account, self.other_account])

    def expect_books(self, *, ledger: list[int], gateway: list[int]) -> None:
        """Prints them, and expects these amounts to be new since the last time."""
        books = self.look()
        new = books.since(self.last)
        self.last = books
        self.report.books(books, new)
        in_ledger = [entry.amount for entry in new.entries]
        at_gateway = [moved(transfer) for transfer in new.transfers]
        self._expect_amounts("in the ledger", ledger, in_ledger)
        self._expect_amounts("at the gateway", gateway, at_gateway)

    def expect_answer(self, answer: Answer, status: int, *, code: str | None = None, replayed: bool = False) -> None:
        text = f"{status} {code or ('replayed' if replayed else 'from the view itself')}"
        seen = (answer.status, answer.code, answer.replayed)
        self.report.expect(text, seen == (status, code, replayed), describe(answer))

    def expect_same(self, answer: Answer, first: Answer) -> None:
        text = "the first answer, byte for byte"
        self.report.expect(text, answer.body == first.body, answer.body.decode(errors="replace"))

    def _expect_amounts(self, where: str, amounts: list[int], seen: list[int]) -> None:
        text = f"{_in_words(amounts)} {where}"
        self.report.expect(text, sorted(amounts) == sorted(seen), _in_words(seen))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _in_words(amounts: list[int]) -> str:
    if not amounts:
        return "nothing new"
    counts = Counter(money(amount) if amount else "a decline" for amount in amounts)
    return ", ".join(text if count == 1 else f"{count} x {text}" for text, count in counts.items())
