"""The day's business: payments, a few of them sent twice, declined, wrong or refunded."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from testproject.payments.gateway import DECLINED_CARD
from testproject.payments.models import Currency

from .cast import Merchant, merchant
from .visits import NO_KEY, Day, Seen

PAYMENTS = 230
PRICES = {
    "books": (990, 1250, 1800, 2400, 3995, 4850),
    "cinema": (950, 1250, 1900, 2500, 3800, 5000),
    "clinic": (420, 799, 1295, 2150, 3640),
    "garage": (6400, 12900, 28500, 46000, 124000),
    "museum": (1200, 2400, 18000, 95000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shops:
    books: Merchant
    cinema: Merchant
    clinic: Merchant
    garage: Merchant
    museum: Merchant

    def all(self) -> tuple[Merchant, ...]:
        return (self.books, self.cinema, self.clinic, self.garage, self.museum)


def open_shops() -> Shops:
    """Merchants with accounts that nothing has been paid into yet."""
    return Shops(
        books=merchant("books", client="books-web/4.2"),
        cinema=merchant("cinema", client="kiosk/1.9"),
        clinic=merchant("clinic", client="till-android/7.1"),
        garage=merchant("garage", client="invoices/2.0"),
        museum=merchant("museum", currency=Currency.GBP, client="museum-ios/3.3"),
    )


def trade(day: Day, shops: Shops) -> None:
    """An ordinary day, in the order of its payments."""
    for at in sorted(_times(day)):
        shop = day.chance.choices(shops.all(), weights=(30, 34, 20, 6, 10))[0]
        _customer(day, shop, at)


def _times(day: Day) -> Iterator[datetime]:
    """Two rushes, and something at any hour."""
    for _ in range(PAYMENTS):
        peak = day.chance.choice((3, 9, 17))
        yield day.ago(hours=day.chance.triangular(0.05, 24, peak))


def _customer(day: Day, shop: Merchant, at: datetime) -> None:
    """One payment, and what becomes of it."""
    amount, luck = day.chance.choice(PRICES[shop.name]), day.chance.random()
    if luck < 0.04:
        day.again(day.pay(shop, amount, at, card=DECLINED_CARD), timedelta(seconds=20))
    elif luck < 0.06:
        wrong = day.pay(shop, -amount, at)
        day.again(wrong, timedelta(seconds=45), amount=amount)
    elif luck < 0.08:
        day.pay(shop, amount, at, key=NO_KEY)
    else:
        _paid(day, day.pay(shop, amount, at))


def _paid(day: Day, payment: Seen) -> None:
    luck = day.chance.random()
    if luck < 0.12:
        # The answer was lost on its way.
        for number in range(day.chance.randint(1, 3)):
            day.again(payment, timedelta(seconds=4 * 2**number))
    elif luck < 0.18:
        amount = payment.visit.data["amount"]
        at = payment.visit.at + timedelta(minutes=day.chance.uniform(1, 40))
        day.refund(payment, day.chance.choice((amount, amount // 2)), min(at, day.ends))
