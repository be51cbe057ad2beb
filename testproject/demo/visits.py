"""The requests of a day: sent now, by a program that goes through the hours, and said to have been sent then."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.test import RequestFactory
from django.urls import resolve
from django.utils import timezone

from .cast import Merchant
from .faults import GatewayDown
from .play import GOOD_CARD

PAYMENTS = "/api/payments/"
CARD_PAYMENTS = "/api/card-payments/"
REFUNDS = "/api/refunds/"

SEED = 20_26
LENGTH = timedelta(hours=24)
LONGEST = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request, and when it came."""

    by: Merchant
    path: str
    key: str
    data: Mapping[str, Any]
    at: datetime
    took: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request with what it was answered."""

    visit: Visit
    status: int
    data: Mapping[str, Any]
    replayed: bool

    @property
    def code(self) -> str:
        """Which refusal it is, where it is one of django_idempotency's."""
        return str(self.data.get("code", ""))


@dataclass(kw_only=True)
class Day:
    """The 24 hours up to `ends`, and what has happened in them. The same in every run, because chance has a seed."""

    ends: datetime
    host: str
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311 - repeatable, not secret
    seen: list[Seen] = field(default_factory=list)
    numbers: int = 0

    def ago(self, **time: float) -> datetime:
        return self.ends - timedelta(**time)

    def key(self, by: Merchant) -> str:
        """A new one. Accounts are new in every demo, and so their keys are."""
        self.numbers += 1
        return f"{by.name}-{by.account * 1000 + self.numbers}"

    def pay(self, by: Merchant, amount: int, at: datetime, *, key: str = "", **said: Any) -> Seen:
        """Send a payment by card; under its number, unless `said` has another card or path."""
        path = said.pop("path", PAYMENTS)
        data = {"account": by.account, "amount": amount, "currency": by.currency, "card": GOOD_CARD} | said
        return self.send(by, path, data, at, key=key)

    def refund(self, payment: Seen, amount: int, at: datetime, *, key: str = "") -> Seen:
        """Send a refund of some of a payment."""
        by = payment.visit.by
        data = {"payment": payment.data["id"], "amount": amount, "currency": by.currency}
        return self.send(by, REFUNDS, data, at, key=key)

    def send(self, by: Merchant, path: str, data: Mapping[str, Any], at: datetime, *, key: str = "") -> Seen:
        visit = Visit(by=by, path=path, key=key or self.key(by), data=data, at=at, took=self._took())
        return self.serve(visit)

    def again(self, seen: Seen, after: timedelta, **changes: Any) -> Seen:
        """Send the same again, or what only the key is the same of."""
        visit = seen.visit
        return self.send(visit.by, visit.path, {**visit.data, **changes}, visit.at + after, key=visit.key)

    def serve(self, visit: Visit) -> Seen:
        """Send it to its view, without a server."""
        headers = {"Authorization": f"Token {visit.by.token}", "Host": self.host, "User-Agent": visit.by.client}
        if visit.key != NO_KEY:
            headers["Idempotency-Key"] = f'"{visit.key}"'
        factory = RequestFactory(headers=headers)
        found = resolve(visit.path)
        try:
            response = found.func(factory.post(visit.path, visit.data, "application/json"), *found.args, **found.kwargs)
        except GatewayDown:
            # What a server would make of it.
            self.seen.append(Seen(visit=visit, status=500, data={}, replayed=False))
        else:
            self.seen.append(_seen(visit, response))
        return self.seen[-1]

    def _took(self) -> timedelta:
        """Mostly some 80 milliseconds, and now and then much longer."""
        return min(LONGEST, timedelta(milliseconds=self.chance.lognormvariate(4.4, 0.7)))


NO_KEY = "-"
"""In the place of a key: the client has sent none."""


def today(host: str) -> Day:
    """The 24 hours that end a minute ago."""
    return Day(ends=timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=1), host=host)


def _seen(visit: Visit, response: Any) -> Seen:
    if not getattr(response, "is_rendered", True):
        response.render()
    data = json.loads(response.content)
    replayed = response.headers.get("Idempotent-Replayed") == "true"
    return Seen(visit=visit, status=response.status_code, data=data, replayed=replayed)
