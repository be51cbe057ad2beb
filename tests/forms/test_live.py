"""Two clicks on one button, over real HTTP: a browser drops the first answer and shows the second."""

import uuid

import pytest

from tests.support import services
from tests.support.barriers import Barriers
from tests.support.live import Live, Servers


@pytest.fixture(params=services.chosen_databases())
def forms(request: pytest.FixtureRequest, servers: Servers) -> Live:
    """A server with the forms."""
    return servers.get(request.param, ROOT_URLCONF="tests.forms.urls")


@pytest.fixture(params=["postgresql", "mariadb"])
def served(request: pytest.FixtureRequest, servers: Servers) -> Live:
    """The same on a database where others see a request in flight."""
    services.skip_unless_chosen(request.param)
    return servers.get(request.param, ROOT_URLCONF="tests.forms.urls")


# Where a duplicate has just seen the record of the running request.
SEEN = {"postgresql": "after-claim", "mariadb": "after-read"}


def submission() -> dict[str, str]:
    """A form's fields, with a key that no other test uses, which the view also leaves in its effect."""
    return {"amount": "5", "idempotency_key": str(uuid.uuid4())}


def test_a_second_click_waits_for_the_first_and_gets_its_redirect(
    served: Live, barriers: Barriers, request: pytest.FixtureRequest
) -> None:
    seen = SEEN[request.node.callspec.params["served"]]
    fields, first, second = submission(), barriers.gate("view"), barriers.gate(seen)
    clicks = [served.client.pool.submit(served.client.request, "POST", "/held", data=fields, at=first)]
    running = first.reached()
    clicks.append(served.client.pool.submit(served.client.request, "POST", "/held", data=fields, at=second))
    second.reached().release()
    running.release()
    answers = [click.result() for click in clicks]
    assert [answer.status_code for answer in answers] == [302, 302]
    assert answers[1].headers["Location"] == answers[0].headers["Location"]
    assert answers[1].headers["Idempotent-Replayed"] == "true"


def test_of_many_clicks_one_takes_effect_and_all_get_its_redirect(forms: Live) -> None:
    fields = submission()
    sent = [forms.client.pool.submit(forms.client.request, "POST", "/held", data=fields) for _ in range(8)]
    answers = [click.result() for click in sent]
    assert {answer.status_code for answer in answers} == {302}
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1


def test_a_click_whose_worker_is_killed_is_made_good_by_the_next(forms: Live, barriers: Barriers) -> None:
    fields, gate = submission(), barriers.gate("view")
    dying = forms.client.pool.submit(forms.client.request, "POST", "/held", data=fields, at=gate)
    gate.reached().kill()
    assert dying.exception() is not None
    again = [forms.client.request("POST", "/held", data=fields) for _ in range(2)]
    assert [answer.status_code for answer in again] == [302, 302]
    assert again[0].headers["Location"] == again[1].headers["Location"]
