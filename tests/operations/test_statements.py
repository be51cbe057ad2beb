"""What an operation costs: its own statements, beside BEGIN and COMMIT."""

from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_idempotency import Respond
from tests.operations.tills import GATEWAY, Died, deployed, die, pay

pytestmark = pytest.mark.django_db(transaction=True)

CONTROL = ("BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK")
# A new operation of three steps, its replay, and the rest of one that died in its call, from the claim to the answer.
BUDGET = {"postgresql": (8, 1, 10), "mariadb": (13, 1, 12), "sqlite": (13, 1, 12)}[settings.TEST_DATABASE]


def nothing(**given: Any) -> None:
    """A phase without a statement of its own."""


def quiet(op: Any, *, amount: int) -> Any:
    op.phase(nothing, amount=amount)
    charge = op.remote(GATEWAY.charge, lookup=GATEWAY.find, amount=amount)
    return Respond(201, op.phase(nothing, charge=charge))


def cost(call: Any) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        call()
    return [query["sql"] for query in queries if not query["sql"].startswith(CONTROL)]


def test_an_operation_of_three_steps_keeps_to_its_budget() -> None:
    operation = deployed(quiet)
    operation.run(key="first", amount=5)
    statements = cost(lambda: operation.run(key="k", amount=5))
    assert len(statements) == BUDGET[0], "\n".join(statements)
    assert settings.TEST_DATABASE != "postgresql" or len(statements) <= 8


def test_a_replay_is_one_statement() -> None:
    pay.run(key="k", amount=5)
    assert len(cost(lambda: pay.run(key="k", amount=5))) == BUDGET[1]


def test_going_on_keeps_to_its_budget() -> None:
    operation = deployed(quiet)
    GATEWAY.after = Died()
    die(lambda: operation.run(key="k", amount=5))
    statements = cost(lambda: operation.run(key="k", amount=5))
    assert len(statements) == BUDGET[2], "\n".join(statements)
