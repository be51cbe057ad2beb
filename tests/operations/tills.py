"""A till that takes payments through a gateway in memory, and what a test does to an operation from outside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db.models import F

from django_idempotency import OutcomeUnknown, Respond, operation
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord, IdempotencyStep
from django_idempotency.operations.definitions import REGISTRY
from tests.bank.models import Payment

HOUR = timedelta(hours=1)


class Died(BaseException):
    """The process dies here, as far as a test in the same process can have it die."""


class Gateway:
    """Remembers what it has charged by its key. `before` and `after` the charge, something may happen, once."""

    timeout = 5.0
    key_ttl: timedelta | None = timedelta(hours=24)

    def __init__(self) -> None:
        self.charged: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str, int]] = []
        self.before: BaseException | Callable[[], object] | None = None
        self.after: BaseException | Callable[[], object] | None = None
        self.finding: BaseException | None = None

    def charge(self, *, idempotency_key: str, amount: int) -> dict[str, Any]:
        self.calls.append(("charge", idempotency_key, amount))
        before, self.before, after, self.after = self.before, None, self.after, None
        happen(before)
        answer = self.charged.setdefault(idempotency_key, {"number": len(self.charged) + 1, "amount": amount})
        happen(after)
        return answer

    def find(self, *, idempotency_key: str, amount: int) -> dict[str, Any] | None:
        self.calls.append(("find", idempotency_key, amount))
        happen(self.finding)
        return self.charged.get(idempotency_key)

    @property
    def names(self) -> list[str]:
        """The names of the calls, in order."""
        return [name for name, *_ in self.calls]


def happen(what: BaseException | Callable[[], object] | None) -> None:
    if isinstance(what, BaseException):
        raise what
    if what:
        what()


GATEWAY = Gateway()


def reserve(amount: int) -> dict[str, Any]:
    payment = Payment.objects.create(key="reserved", amount=amount, nonce="")
    return {"payment": payment.pk}


def book(payment: int, charge: dict[str, Any]) -> Respond:
    Payment.objects.create(key="booked", amount=charge["amount"], nonce="")
    return Respond(201, {"charge": charge["number"], "amount": charge["amount"]})


def paying(op: Any, *, amount: int) -> Any:
    payment = op.phase(reserve, amount=amount)
    charge = op.remote(GATEWAY.charge, lookup=GATEWAY.find, amount=amount)
    return op.phase(book, payment=payment["payment"], charge=charge)


pay = operation(name="tests.pay")(paying)


def deployed(function: Callable[..., Any], **choices: Any) -> Any:
    """The next release has another function under the same name."""
    return operation(name="tests.pay", **choices)(function)


def restore() -> None:
    """Back to the release that the tests begin with."""
    GATEWAY.__init__()  # type: ignore[misc]
    vars(GATEWAY).pop("key_ttl", None)
    REGISTRY["tests.pay"] = pay


def die(call: Callable[[], object]) -> None:
    """Call what dies in its course; its lease runs out."""
    try:
        call()
    except Died:
        lapse()
    else:
        raise AssertionError("it did not die")


def lapse(by: timedelta = HOUR) -> None:
    """Let time pass for the one record: its lease runs out, and it is due."""
    changes = {"lease_until": F("lease_until") - by, "resume_at": F("resume_at") - by}
    assert IdempotencyRecord.objects.update(**changes) == 1


def age(by: timedelta) -> None:
    """Let time pass since a call was first sent."""
    IdempotencyStep.objects.update(requested_at=F("requested_at") - by)


def interrupted(key: str = "k", amount: int = 5) -> None:
    """An operation whose process died inside its remote call, after the charge."""
    GATEWAY.after = Died()
    die(lambda: pay.run(key=key, amount=amount))


def doubtful() -> OutcomeUnknown:
    return OutcomeUnknown("The gateway did not answer.")


def record() -> IdempotencyRecord:
    return IdempotencyRecord.objects.get()


def journal() -> list[tuple[str, str, bool]]:
    """Kind and name of each step, and whether it has a result."""
    rows = IdempotencyStep.objects.order_by("position")
    return [(row.kind, row.name, row.result is not None) for row in rows]


def incidents() -> list[tuple[str, str]]:
    return list(IdempotencyIncident.objects.order_by("pk").values_list("kind", "error"))


def booked() -> int:
    return Payment.objects.filter(key="booked").count()


@contextmanager
def dying_at(connection: Any, matches: Callable[[str], bool], *, after: bool = False) -> Iterator[None]:
    """The process dies just before, or just after, the first statement that matches."""

    def execute(execute: Callable[..., Any], sql: str, *others: Any) -> Any:
        if not matches(sql):
            return execute(sql, *others)
        if after:
            execute(sql, *others)
        raise Died

    with connection.execute_wrapper(execute):
        yield
