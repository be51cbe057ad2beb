"""What goes wrong on that day. Each says what there is to look for at the desk."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from django.core.management import call_command
from django.db import transaction

from django_idempotency.gateways.fake import FakeGateway, Fault, Kind
from django_idempotency.models import IdempotencyRecord

from .faults import outage
from .past import waited_for
from .trade import Shops
from .visits import CARD_PAYMENTS, Day, Seen

TIMES = 37
"""That a kiosk sends what is refused again, under the key of the sale before."""
RESUMES = 12
"""After which upkeep leaves an operation to a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing to look for."""

    key: str
    story: str


def go_wrong(day: Day, shops: Shops, gateway: FakeGateway) -> dict[str, Trouble]:
    """All of it, by the names that staff.py calls it by, and what upkeep has made of it."""
    happened: tuple[Callable[[Day, Shops], dict[str, Trouble]], ...] = (_mismatches, _decided, _an_outage, _deaths)
    found = {name: trouble for what in happened for name, trouble in what(day, shops).items()}
    found |= _silence(day, shops, gateway)
    for command in ("idempotency_heal", "idempotency_recover"):
        call_command(command, verbosity=0)
    stuck = _killed(day, day.pay, shops.cinema, 5000, day.ago(minutes=41))
    return found | {"stuck": _told(stuck, "a payment in flight for 40 minutes: upkeep has not been since")}


def _mismatches(day: Day, shops: Shops) -> dict[str, Trouble]:
    """Open ones."""
    kiosk = day.pay(shops.cinema, 1250, day.ago(hours=7))
    for number in range(TIMES):
        day.again(kiosk, timedelta(minutes=3 + 9 * number, seconds=number), amount=2500)
    click = day.pay(shops.books, 4850, day.ago(hours=2, minutes=20))
    day.again(click, timedelta(seconds=9), amount=8450)
    day.again(click, timedelta(seconds=12), amount=8450)
    repair = day.pay(shops.garage, 124000, day.ago(hours=5, minutes=10))
    day.again(repair, timedelta(minutes=2), amount=142000)
    poster = day.pay(shops.museum, 95000, day.ago(hours=1, minutes=5))
    day.refund(poster, 95000, poster.visit.at + timedelta(minutes=7), key=poster.visit.key)
    return {
        "kiosk": _told(kiosk, f"a cinema's kiosk sends a sale under the key of the one before: refused {TIMES} times"),
        "click": _told(click, "two clicks in a bookshop, with another amount the second time: which one was meant?"),
        "repair": _told(repair, "a garage's bill, corrected under the same key; finance waits for a second person"),
        "poster": _told(poster, "a museum shop's refund under the key of its payment"),
    }


def _decided(day: Day, shops: Shops) -> dict[str, Trouble]:
    """Mismatches that are history by now."""
    cure = day.pay(shops.clinic, 799, day.ago(hours=15))
    day.again(cure, timedelta(seconds=6), amount=1598)
    novel = day.pay(shops.books, 1800, day.ago(hours=19))
    day.again(novel, timedelta(minutes=1), currency="USD")
    return {
        "cure": _told(cure, "decided: the first request of the clinic's patient stands"),
        "novel": _told(novel, "decided: a fault of the bookshop's program"),
    }


def _an_outage(day: Day, shops: Shops) -> dict[str, Trouble]:
    """Some ten minutes without the gateway. Most clients come back."""
    down, up = day.ago(hours=11, minutes=48), timedelta(minutes=11)
    poster = day.pay(shops.museum, 18000, down - timedelta(hours=3))
    with outage():
        failed = [
            day.pay(shop, 1250 + 300 * number, down + timedelta(minutes=2 * number))
            for number, shop in enumerate((shops.cinema, shops.books, shops.cinema, shops.clinic, shops.garage))
        ]
        for attempt in range(1, 7):
            day.again(failed[3], timedelta(seconds=20 * attempt))
        refund = day.refund(poster, 18000, down + timedelta(minutes=5))
    for seen in failed[:3]:
        day.again(seen, up)
    return {
        "till": _told(failed[3], "a clinic's till gave up after seven attempts while the gateway was down"),
        "bill": _told(failed[4], "a garage's payment of that time, tried once"),
        "returned": _told(refund, "a museum's refund of that time: on-call has run it again since"),
    }


def _deaths(day: Day, shops: Shops) -> dict[str, Trouble]:
    """Workers that were killed."""
    hedges = day.pay(shops.garage, 28500, day.ago(hours=9))
    back = _killed(day, day.refund, hedges, 28500, day.ago(hours=4, minutes=12))
    book = _killed(day, day.pay, shops.books, 3995, day.ago(hours=3, minutes=31))
    return {
        "back": _told(
            back, "a garage's refund whose worker was killed: nobody has tried again, and it can be run again"
        ),
        "book": _told(
            book, "a payment whose worker was killed: its card is masked, so only its client can send it again"
        ),
    }


def _killed(day: Day, send: Callable[..., Seen], *asked: object) -> Seen:
    """
    Send it to a worker that is killed before it commits: only its claim is left.

    On PostgreSQL and MariaDB, that is: on SQLite not even the claim would be, so it is written here.
    """
    with transaction.atomic():
        seen = send(*asked)
        left = IdempotencyRecord.objects.get(key=seen.visit.key)
        transaction.set_rollback(True)
    left.state, left.token, left.claimed_at = "processing", 0, seen.visit.at
    left.status = left.body = left.completed_at = left.expires_at = left.forget_at = None
    left.headers = left.body_key_id = ""
    left.save(force_insert=True)
    # Nobody has heard of its answer.
    day.seen[-1] = replace(seen, status=0)
    return seen


def _silence(day: Day, shops: Shops, gateway: FakeGateway) -> dict[str, Trouble]:
    """Payments through a gateway that does not answer, and cannot be asked either."""
    paid = _unheard(day, gateway, Kind.LOST, shops.clinic, 8420, day.ago(hours=9, minutes=6))
    unpaid = _unheard(day, gateway, Kind.CUT, shops.garage, 46000, day.ago(hours=8, minutes=2))
    for seen in (paid, unpaid):
        waited_for(seen.visit.key, resumes=RESUMES)
    late = _unheard(day, gateway, Kind.LOST, shops.clinic, 2150, day.ago(hours=1, minutes=26))
    waited_for(late.visit.key, resumes=8, until=day.ends + timedelta(minutes=24))
    return {
        "paid": _told(paid, "nobody knows whether the gateway has charged: look into its book"),
        "unpaid": _told(unpaid, "nobody knows of this one either"),
        "late": _told(late, "in flight for an hour: upkeep still asks the gateway"),
    }


def _unheard(day: Day, gateway: FakeGateway, kind: Kind, *asked: object) -> Seen:
    gateway.faults.set([Fault(kind=kind, times=1)])
    seen = day.pay(*asked, path=CARD_PAYMENTS, card="tok_visa")  # type: ignore[arg-type]
    gateway.faults.set([])
    return seen


def _told(seen: Seen, story: str) -> Trouble:
    return Trouble(key=seen.visit.key, story=story)
