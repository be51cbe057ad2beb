"""Deliveries over real HTTP: in crowds, while the first one runs, and after its worker was killed."""

import uuid

import pytest

from tests.support import services
from tests.support.barriers import Barriers
from tests.support.live import Live, Servers


@pytest.fixture(params=services.chosen_databases())
def endpoints(request: pytest.FixtureRequest, servers: Servers) -> Live:
    """A server with the endpoints for events."""
    return servers.get(request.param, ROOT_URLCONF="tests.webhooks.urls")


@pytest.fixture(params=["postgresql", "mariadb"])
def served(request: pytest.FixtureRequest, servers: Servers) -> Live:
    """The same on a database where others see a request in flight."""
    services.skip_unless_chosen(request.param)
    return servers.get(request.param, ROOT_URLCONF="tests.webhooks.urls")


@pytest.fixture
def event() -> str:
    """An event that no other test delivers."""
    return f"evt_{uuid.uuid4().hex}"


def test_of_deliveries_in_parallel_with_different_bodies_one_runs(endpoints: Live, event: str) -> None:
    sent = [endpoints.client.start("/events", {"id": event, "attempt": number}) for number in range(8)]
    answers = [future.result() for future in sent]
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
    assert (endpoints.runs(event), endpoints.database.effects(event)) == (1, 1)


def test_a_delivery_while_the_first_one_runs_is_told_to_come_again(
    served: Live, barriers: Barriers, event: str
) -> None:
    gate = barriers.gate("view")
    first = served.client.start("/events", {"id": event}, at=gate)
    held = gate.reached()
    again = served.client.post("/events", {"id": event, "attempt": 2})
    assert (again.status_code, again.json()["code"]) == (409, "in-flight")
    assert int(again.headers["Retry-After"]) >= 1
    held.release()
    assert first.result().status_code == 200
    assert served.client.post("/events", {"id": event}).content == first.result().content


def test_a_delivery_whose_worker_is_killed_leaves_the_event_to_the_next(
    endpoints: Live, barriers: Barriers, event: str
) -> None:
    gate = barriers.gate("view")
    dying = endpoints.client.start("/events", {"id": event}, at=gate)
    gate.reached().kill()
    assert dying.exception() is not None
    answers = [endpoints.client.insist("/events", {"id": event, "attempt": number}, within=10) for number in (2, 3)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert endpoints.database.effects(event) == 1
