"""The function has changed between two attempts: it goes on where nothing differs, and else waits for a person."""

from collections.abc import Callable
from typing import Any

import pytest

from django_idempotency import OutcomeUnknown, Respond
from django_idempotency.core.journal import Changed, Kind, Step, refuse_change, refuse_end
from tests.operations.tills import (
    GATEWAY,
    booked,
    deployed,
    incidents,
    interrupted,
    journal,
    pay,
    paying,
    record,
    reserve,
)

pytestmark = pytest.mark.django_db(transaction=True)


def reserve_more(amount: int) -> dict[str, Any]:
    return reserve(amount)


def notice() -> None:
    """A new phase."""


def renamed(op: Any, *, amount: int) -> Any:
    op.phase(reserve_more, amount=amount)
    return Respond(201, op.remote(GATEWAY.charge, amount=amount))


def removed(op: Any, *, amount: int) -> Any:
    return Respond(201, op.remote(GATEWAY.charge, amount=amount))


def all_removed(op: Any, *, amount: int) -> Any:
    return Respond(201)


def last_removed(op: Any, *, amount: int) -> Any:
    return Respond(201, op.phase(reserve, amount=amount))


def reordered(op: Any, *, amount: int) -> Any:
    op.remote(GATEWAY.charge, amount=amount)
    return Respond(201, op.phase(reserve, amount=amount))


def added_before(op: Any, *, amount: int) -> Any:
    op.phase(notice)
    return paying(op, amount=amount)


def looped(op: Any, *, amount: int) -> Any:
    for _ in range(2):
        op.phase(reserve, amount=amount)
    return Respond(201, op.remote(GATEWAY.charge, amount=amount))


def branching(op: Any, *, amount: int) -> Any:
    payment = op.phase(reserve, amount=amount)
    if payment["payment"]:
        op.phase(notice)
    return Respond(201, op.remote(GATEWAY.charge, amount=amount))


def other_input(op: Any, *, amount: int) -> Any:
    op.phase(reserve, amount=amount)
    return Respond(201, op.remote(GATEWAY.charge, amount=amount * 100))


def other_kind(op: Any, *, amount: int) -> Any:
    op.phase(reserve, amount=amount)
    return Respond(201, op.phase(GATEWAY.charge, amount=amount, idempotency_key="k"))


CHANGES: dict[Callable[..., Any], str] = {
    renamed: "step 0 was phase reserve, and is phase reserve_more now",
    removed: "step 0 was phase reserve, and is remote Gateway.charge now",
    all_removed: "step 0 was phase reserve, and the function ends before it now",
    last_removed: "step 1 was remote Gateway.charge, and the function ends before it now",
    reordered: "step 0 was phase reserve, and is remote Gateway.charge now",
    added_before: "step 0 was phase reserve, and is phase notice now",
    looped: "step 1 was remote Gateway.charge, and is phase reserve now",
    branching: "step 1 was remote Gateway.charge, and is phase notice now",
    other_input: "step 1, Gateway.charge, is given another input now: /amount",
    other_kind: "step 1 was remote Gateway.charge, and is phase Gateway.charge now",
}


@pytest.mark.parametrize(("function", "why"), CHANGES.items(), ids=[change.__name__ for change in CHANGES])
def test_a_changed_function_waits_for_a_person_who_is_told_what_differs(function: Any, why: str) -> None:
    interrupted()
    before = journal()
    with pytest.raises(OutcomeUnknown) as caught:
        deployed(function).run(key="k", amount=5)
    assert (record().state, caught.value.operation) == ("unknown", record().id)
    assert incidents() == [("unknown", why)]
    assert (GATEWAY.names, journal(), booked()) == (["charge"], before, 0)


def test_steps_added_after_what_is_done_are_run() -> None:
    def added_after(op: Any, *, amount: int) -> Any:
        payment = op.phase(reserve, amount=amount)
        charge = op.remote(GATEWAY.charge, lookup=GATEWAY.find, amount=amount)
        op.phase(notice)
        return Respond(201, [bool(payment), charge["amount"]])

    interrupted()
    assert deployed(added_after).run(key="k", amount=5) == Respond(201, [True, 5])
    assert [name for _, name, _ in journal()] == ["reserve", "Gateway.charge", "notice"]


def test_what_has_completed_is_replayed_whatever_the_function_is_now() -> None:
    first = pay.run(key="k", amount=5)
    assert deployed(all_removed).run(key="k", amount=5) == first


def test_another_timeout_and_lookup_are_no_change() -> None:
    def tuned(op: Any, *, amount: int) -> Any:
        op.phase(reserve, amount=amount)
        return Respond(201, op.remote(GATEWAY.charge, amount=amount, timeout=9))

    interrupted()
    assert deployed(tuned).run(key="k", amount=5).status == 201


class TestWhatDiffers:
    def told(self, before: str, now: str) -> str:
        with pytest.raises(Changed) as caught:
            refuse_change(Step(position=3, name="s", kind=Kind.PHASE, input=before), "s", Kind.PHASE, now)
        return str(caught.value).rpartition(": ")[2]

    @pytest.mark.parametrize(
        ("before", "now", "where"),
        [
            ('{"a": 1}', '{"a": 2}', "/a"),
            ('{"a": {"b": [1, 2]}}', '{"a": {"b": [1, 3]}}', "/a/b/1"),
            ('{"a": [1]}', '{"a": [1, 2]}', "/a"),
            ('{"a": 1}', '{"b": 1}', "/a, /b"),
            ('{"a":1,"b":1,"c":1,"d":1}', '{"a":2,"b":2,"c":2,"d":2}', "/a, /b, /c"),
            ("1", "2", "/"),
        ],
    )
    def test_it_is_named_and_its_values_are_not(self, before: str, now: str, where: str) -> None:
        assert self.told(before, now) == where

    def test_an_end_after_the_last_step_is_none(self) -> None:
        recorded = [Step(position=0, name="s", kind=Kind.PHASE, input="{}")]
        refuse_end(recorded, 1)
        with pytest.raises(Changed):
            refuse_end(recorded, 0)
