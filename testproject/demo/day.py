"""A day of trouble at the desk: made, looked over, and left to whoever explores it."""

import logging
from collections import Counter
from io import StringIO

from django.core.management import call_command
from django.db import connection
from django.db.models import Sum
from django.urls import reverse

from django_idempotency.models import IdempotencyApproval, IdempotencyIncident, IdempotencyRecord
from testproject.payments.gateway import PretendGateway
from testproject.payments.models import LedgerEntry

from .books import money, moved
from .cast import STAFF
from .past import put_back
from .play import Play
from .staff import see_to_it
from .trade import open_shops, trade
from .trouble import go_wrong
from .visits import REFUNDS, Day, today

STORY = (
    "The staff's desk would be empty now but for what you have just seen. So here are another 24 hours of five"
    " merchants: sent to the same views, only faster than they are said to have come, and in the same way in every"
    " demo. Members of staff have seen to some of what went wrong."
)
OPEN = {"mismatch": 4, "failed": 2, "abandoned": 2, "unknown": 2}
"""Incidents of the day, by their kinds."""


def a_day(play: Play) -> None:
    play.report.title("A day for the staff", STORY)
    # A server's log would have what the package says of all this. Celery has given the others a handler in this process.
    logging.getLogger("django_idempotency").addHandler(logging.NullHandler())
    logging.getLogger("django_idempotency").propagate = False
    _hurry()
    shops, before = open_shops(), len(PretendGateway().transfers())
    day = today(f"127.0.0.1:{play.client.port}")
    trade(day, shops)
    found = go_wrong(day, shops, play.gateway)
    put_back(day)
    see_to_it(found)
    _tell(play, day)
    _expect_open(play, day)
    _expect_money(play, day, [shop.account for shop in shops.all()], before)
    _expect_audit(play)
    play.report.print()
    for trouble in found.values():
        play.report.line("", f"{trouble.key:18} {trouble.story}")


def explore(play: Play, url: str, password: str) -> None:
    """Where to begin."""
    dashboard = reverse("admin:django_idempotency_idempotencyrollup_changelist")
    play.report.line("desk", f"{url}{dashboard}")
    play.report.line("staff", f"{', '.join(STAFF)}; password {password}")
    play.report.line("gateway", f"{play.gateway.url}/charges, its book")


def _hurry() -> None:
    """Hundreds of commits need not wait for the disk: whoever pulls the plug makes another day."""
    said = {"sqlite": "PRAGMA synchronous = OFF", "postgresql": "SET synchronous_commit = off"}
    with connection.cursor() as cursor:
        cursor.execute(said[connection.vendor])


def _tell(play: Play, day: Day) -> None:
    statuses = Counter(_outcome(seen.status, replayed=seen.replayed) for seen in day.seen)
    play.report.print()
    told = ", ".join(f"{number} {outcome}" for outcome, number in statuses.most_common())
    play.report.line("sent", f"{len(day.seen)} requests: {told}")


def _outcome(status: int, *, replayed: bool) -> str:
    if replayed:
        return "replayed"
    return f"answered {status}" if status else "never answered"


def _expect_open(play: Play, day: Day) -> None:
    keys = {seen.visit.key for seen in day.seen}
    incidents = IdempotencyIncident.objects.filter(key__in=keys, healed_at=None).values_list("kind", flat=True)
    _expect_counts(play, "open incidents", Counter(incidents), OPEN)
    states = Counter(IdempotencyRecord.objects.filter(key__in=keys).values_list("state", flat=True))
    left = {state: number for state, number in states.items() if state != "completed"}
    _expect_counts(play, "requests without an answer", left, {"processing": 2, "unknown": 2})
    waiting = IdempotencyApproval.objects.filter(state="requested").count()
    play.report.expect("an approval waits for a second person", waiting > 0, f"{waiting}")


def _expect_counts(play: Play, what: str, found: dict[str, int], expected: dict[str, int]) -> None:
    text = ", ".join(f"{number} {name}" for name, number in expected.items())
    play.report.expect(f"{what}: {text}", dict(found) == expected, f"{dict(found)}")


def _expect_money(play: Play, day: Day, accounts: list[int], before: int) -> None:
    """The ledger and the gateway agree, but for what dead workers have left."""
    lost = sum(_signed(day, number) for number, seen in enumerate(day.seen) if not seen.status)
    at_gateway = sum(moved(transfer) for transfer in PretendGateway().transfers()[before:])
    ledger = LedgerEntry.objects.filter(account__in=accounts).aggregate(total=Sum("amount", default=0))["total"]
    text = f"ledger and gateway agree, but for {money(lost)} of the workers that were killed"
    play.report.expect(text, at_gateway - ledger == lost, money(at_gateway - ledger))


def _signed(day: Day, number: int) -> int:
    visit = day.seen[number].visit
    amount: int = visit.data["amount"]
    return -amount if visit.path == REFUNDS else amount


def _expect_audit(play: Play) -> None:
    told = StringIO()
    call_command("idempotency_audit", verify=True, stdout=told)
    play.report.expect("the audit verifies", told.getvalue().startswith("verified: "), told.getvalue())
    play.report.line("", told.getvalue().strip())
