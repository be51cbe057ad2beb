"""Payments through a gateway over HTTP, and what is left of them when their workers die."""

import os
import re
import signal
import threading
from dataclasses import dataclass
from io import StringIO

from django.core.management import call_command

from django_idempotency.gateways.fake import Fault, Kind
from testproject.payments.models import LedgerEntry, Payment

from .books import money
from .client import TIMEOUT, Call, poll
from .faults import ashes, fuse_at, sender
from .play import Play

PATH = "/api/card-payments/"


FIRST = 2300
"""The amount of the payment that nothing befalls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    moment: str
    story: str
    amount: int
    charged: bool
    """Whether the gateway has charged by then."""


DEATHS = (
    Death(
        moment="before",
        story="the worker is killed before it sends the charge",
        amount=1100,
        charged=False,
    ),
    Death(
        moment="inside",
        story="the worker is killed while the gateway, which has charged, holds back its answer",
        amount=1300,
        charged=True,
    ),
    Death(
        moment="after",
        story="the worker is killed with the answer in its hands",
        amount=1700,
        charged=True,
    ),
    Death(
        moment="record",
        story="the worker is killed before the payment is in the ledger",
        amount=1900,
        charged=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One payment as the ledger and the gateway have it."""

    payment: str
    ledger: list[int]
    charged: list[int]
    references: str


def a_card_payment(play: Play) -> None:
    call = _payment(play, FIRST)
    first = play.send(call, by=play.card_client)
    play.expect_answer(first, 201)
    again = play.send(call, by=play.card_client, note="the same again")
    play.expect_answer(again, 201, replayed=True)
    play.expect_same(again, first)
    _expect_charges(play, [FIRST])
    _expect_ledger(play, [FIRST])


def four_dead_workers(play: Play) -> None:
    calls = [_die(play, death) for death in DEATHS]
    _expect_charges(play, [FIRST, *(death.amount for death in DEATHS if death.charged)])
    _expect_ledger(play, [FIRST])
    _recover(play, len(calls))
    for call in calls:
        answer = play.send(call, by=play.card_client, note="its client comes back after all")
        play.expect_answer(answer, 201, replayed=True)
    amounts = [FIRST, *(death.amount for death in DEATHS)]
    _expect_charges(play, amounts)
    _expect_ledger(play, amounts)
    _side_by_side(play)


def _payment(play: Play, amount: int) -> Call:
    return play.post(PATH, {"account": play.card_account, "amount": amount, "card": "tok_visa"})


def _die(play: Play, death: Death) -> Call:
    call = _payment(play, death.amount)
    play.report.request(call, note=death.story)
    inside = death.moment == "inside"
    play.expect_a_death(_inside(play, call) if inside else _at_the_fuse(play, call, death.moment))
    return call


def _at_the_fuse(play: Play, call: Call, moment: str) -> int:
    """The worker that has killed itself at that moment."""
    fuse = fuse_at(moment)
    fuse.touch()
    try:
        play.send_in_vain(call, by=play.card_client)
    finally:
        fuse.unlink(missing_ok=True)
    return int(ashes(fuse).read_text())


def _inside(play: Play, call: Call) -> int:
    """The worker that was killed while it waited for the gateway."""
    play.gateway.faults.set([Fault(kind=Kind.HOLD_AFTER, times=1)])
    waiting = threading.Thread(target=play.send_in_vain, args=[call], kwargs={"by": play.card_client})
    waiting.start()
    if not play.gateway.barriers.held(TIMEOUT):
        # Nobody waits there: whoever has charged last is not the one to kill.
        raise TimeoutError("no charge has come to the gateway")
    worker = int(sender().read_text())
    os.kill(worker, signal.SIGKILL)
    waiting.join()
    play.gateway.barriers.release()
    return worker


def _recover(play: Play, count: int) -> None:
    """Until the leases of the dead have run out, there is nothing to recover."""
    play.report.print()
    play.report.line("command", "idempotency_recover, until the leases of the dead workers have run out")
    poll(lambda: _recovered(play), until=lambda ledger: len(ledger) > count)


def _recovered(play: Play) -> list[int]:
    told = StringIO()
    call_command("idempotency_recover", stdout=told)
    for line in told.getvalue().splitlines():
        if line.startswith("resumed") and re.search("[1-9]", line):
            play.report.line("", line)
    return _ledger(play)


def _ledger(play: Play) -> list[int]:
    return [*LedgerEntry.objects.filter(account=play.card_account).order_by("id").values_list("amount", flat=True)]


def _expect_ledger(play: Play, amounts: list[int]) -> None:
    _expect_amounts(play, "in the ledger", amounts, _ledger(play))


def _expect_charges(play: Play, amounts: list[int]) -> None:
    _expect_amounts(play, "at the gateway", amounts, [charge["amount"] for charge in play.gateway.charges])


def _expect_amounts(play: Play, where: str, amounts: list[int], seen: list[int]) -> None:
    told = ", ".join(map(money, sorted(seen))) or "nothing"
    text = ", ".join(map(money, sorted(amounts)))
    play.report.expect(f"{text} {where}", sorted(seen) == sorted(amounts), told)


def _side_by_side(play: Play) -> None:
    """Each payment with its ledger entries and its charges: one of each."""
    rows = [_row(play, payment) for payment in Payment.objects.filter(account=play.card_account).order_by("id")]
    play.report.print()
    play.report.line("", f"{'payment':14}{'ledger':>14}{'gateway':>14}   charge")
    for row in rows:
        play.report.line("", f"{row.payment:14}{_sum(row.ledger):>14}{_sum(row.charged):>14}   {row.references}")
    ledger = [amount for row in rows for amount in row.ledger]
    charged = [amount for row in rows for amount in row.charged]
    play.report.line("", f"{'altogether':14}{_sum(ledger):>14}{_sum(charged):>14}")
    once = all(len(row.charged) == 1 and row.ledger == row.charged for row in rows)
    play.report.expect("one charge and one ledger entry for each payment", once, f"{rows}")
    every = [charge["amount"] for charge in play.gateway.charges]
    agree = sum(ledger) == sum(charged) == sum(every)
    play.report.expect("the ledger and the gateway agree", agree, f"{_sum(ledger)}, {_sum(every)} at the gateway")


def _row(play: Play, payment: Payment) -> Row:
    charges = [charge for charge in play.gateway.charges if charge["id"] == payment.charge]
    return Row(
        payment=str(payment),
        ledger=[entry.amount for entry in payment.entries.all()],
        charged=[charge["amount"] for charge in charges],
        references=", ".join(charge["id"] for charge in charges),
    )


def _sum(amounts: list[int]) -> str:
    return money(sum(amounts))
