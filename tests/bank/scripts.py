"""
What a view does is written in the request: `{"amount": 5, "then": "declined"}`.

Every run enters, writes one effect, stands at the point `view` if the request asked for it, and then does what it was told.
Everything here is the same for plain and for DRF views.
"""

import contextlib
import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import IntegrityError, connection, connections, router, transaction
from django.http import Http404

from tests.bank import runs
from tests.bank.models import Payment
from tests.support import points
from tests.support.points import backend_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a view is about to answer. `keep` asks for `raise Kept(response)`."""

    status: int = 201
    payload: dict[str, Any] | None
    headers: dict[str, str] = field(default_factory=dict)
    cookie: bool = False
    streamed: bool = False
    keep: bool = False


def play(request: Any, data: Mapping[str, Any]) -> Outcome:
    """Make the payment and return the answer, or raise, as the script in the request says."""
    key = request.headers.get("Idempotency-Key", "none")
    runs.note(key)
    payment = Payment.objects.create(
        key=key, user=str(request.user.pk), amount=int(data.get("amount", 0)), nonce=str(uuid.uuid4())
    )
    points.reach("view", _backend())
    then = str(data.get("then", "pay"))
    payload = {"payment": payment.pk, "nonce": payment.nonce, "amount": payment.amount}
    for acts in (MISDEEDS, WEATHER):
        if then in acts:
            acts[then]()
    if then == "lock rows":
        _lock_in_order(data["rows"])
    points.reach("view-done")
    return _answer(then, payload)


def _answer(then: str, payload: dict[str, Any]) -> Outcome:
    if then.isdigit():
        return Outcome(status=int(then), payload=payload)
    return ANSWERS.get(then, _paid)(payload)


def _paid(payload: dict[str, Any]) -> Outcome:
    return Outcome(payload=payload)


def _with_headers(payload: dict[str, Any]) -> Outcome:
    headers = {"Location": f"/payments/{payload['payment']}", "ETag": '"1"', "X-Private": "1", "Content-Language": "en"}
    return Outcome(payload=payload, headers=headers, cookie=True)


def _redirect(status: int, location: str) -> Callable[[dict[str, Any]], Outcome]:
    return lambda payload: Outcome(status=status, payload=payload, headers={"Location": location})


ANSWERS: dict[str, Callable[[dict[str, Any]], Outcome]] = {
    "declined": lambda payload: Outcome(status=402, payload={**payload, "error": "declined"}),
    "keep": lambda payload: Outcome(status=503, payload=payload, keep=True),
    "headers": _with_headers,
    "empty": lambda payload: Outcome(status=204, payload=None),
    "log in": _redirect(302, "/accounts/login/?next=/"),
    "elsewhere": _redirect(303, "/receipts/1"),
    "streamed": lambda payload: Outcome(payload=payload, streamed=True),
    "large": lambda payload: Outcome(payload={**payload, "padding": "x" * (1024 * 1024 + 1)}),
}


def _raise(error: Exception) -> Callable[[], None]:
    def misdeed() -> None:
        raise error

    return misdeed


def _bad_hook() -> None:
    transaction.on_commit(_raise(RuntimeError("a hook that runs after the commit")))


def _swallow_integrity_error() -> None:
    with contextlib.suppress(IntegrityError):
        Payment.objects.create(pk=Payment.objects.order_by("-pk").values_list("pk", flat=True)[0], nonce="")


def _sql(statement: str) -> Callable[[], None]:
    def misdeed() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    return misdeed


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def misdeed() -> None:
        first()
        second()

    return misdeed


def _commit_below_django() -> None:
    connection.connection.commit()


def _write() -> None:
    Payment.objects.create(key="beyond the boundary", nonce=str(uuid.uuid4()))


def _mark_for_rollback() -> None:
    with contextlib.suppress(ValueError), transaction.atomic(savepoint=False):
        raise ValueError


def _durable() -> None:
    with transaction.atomic(durable=True):
        pass


def _close() -> None:
    # Looked up now: `connection` stands for this thread's.
    connection.close()


def _lock_in_order(rows: list[int]) -> None:
    for row in rows:
        Payment.objects.select_for_update().get(pk=row)
        points.reach("between", _backend())


def _backend() -> int:
    return backend_of(connections[router.db_for_write(Payment)])


MISDEEDS: dict[str, Callable[[], None]] = {
    "raise": _raise(RuntimeError("a bug in the view")),
    "raise 404": _raise(Http404("no such account")),
    "raise 403": _raise(PermissionDenied("not yours")),
    "raise 400": _raise(SuspiciousOperation("odd")),
    "bad hook": _bad_hook,
    "swallowed integrity error": _swallow_integrity_error,
    "raw commit": _sql("COMMIT"),
    "raw rollback": _sql("ROLLBACK"),
    "raw commit and an error": _both(_sql("COMMIT"), _raise(RuntimeError("after the commit"))),
    "raw rollback and a write": _both(_sql("ROLLBACK"), _write),
    "the driver's commit": _commit_below_django,
    "marked for rollback": _mark_for_rollback,
    "set_rollback": lambda: transaction.set_rollback(True),
    "closed connection": _close,
    "durable": _durable,
}

# For the storm only: what takes its time, and what fails at times.
WEATHER: dict[str, Callable[[], None]] = {
    "slow": lambda: time.sleep(random.uniform(0.0, 0.4)),
    "sometimes": lambda: _raise(RuntimeError("one of those days"))() if random.random() < 0.4 else None,
}
