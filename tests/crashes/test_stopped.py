"""An owner that is stopped, as a frozen machine is: it holds its lock until the database loses patience with it."""

from collections.abc import Iterator

import pytest

from tests.crashes.expectations import paid_once
from tests.support.barriers import Barriers
from tests.support.kinds import drf
from tests.support.live import Live, Servers
from tests.support.problems import problem
from tests.support.services import skip_unless_chosen

IMPATIENT = {
    "postgresql": {"OPTIONS": {"options": "-c idle_in_transaction_session_timeout=1000"}},
    "mariadb": {"OPTIONS": {"init_command": "SET SESSION idle_transaction_timeout = 1"}},
}


@pytest.fixture(scope="module", params=IMPATIENT)
def impatient(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Live]:
    """A server whose database cuts a transaction that does nothing for a second."""
    skip_unless_chosen(request.param)
    live = servers.start(servers.databases.new(request.param), place=IMPATIENT[request.param])
    yield live
    servers.stop(live)


MOMENTS = [
    *(("/plain/pay", point) for point in ("after-lock", "view", "before-complete", "after-complete", "before-commit")),
    *((path, "view") for path in drf("pay")),
]


@pytest.mark.parametrize("moment", MOMENTS, ids="@".join)
def test_a_stopped_owner_is_waited_for_until_the_database_cuts_it_and_then_it_is_too_late(
    impatient: Live, barriers: Barriers, key: str, moment: tuple[str, str]
) -> None:
    path, point = moment
    gate = barriers.gate(point)
    stopped = impatient.client.start(path, key=key, at=gate)
    held = gate.reached()
    held.stop()
    try:
        problem(impatient.client.post(path, key=key), 409, "in-flight", retryable=True)
        paid_once(impatient, path, key, within=5)
    finally:
        held.wake()
    # It woke up, could not commit, and may not claim that it did.
    late = stopped.result()
    assert late.status_code != 201 or "Idempotent-Replayed" in late.headers
    assert impatient.database.effects(key) == 1


def test_while_nobody_cuts_a_stopped_owner_its_duplicates_are_in_flight(
    served: Live, barriers: Barriers, key: str
) -> None:
    path = "/plain/pay"
    gate = barriers.gate("view")
    stopped = served.client.start(path, key=key, at=gate)
    held = gate.reached()
    held.stop()
    try:
        last = served.client.insist(path, key=key, within=1.5)
    finally:
        held.wake()
    problem(last, 409, "in-flight", retryable=True)
    assert stopped.result().status_code == 201
    assert (served.runs(key), served.database.effects(key)) == (1, 1)
