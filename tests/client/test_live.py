"""The client against our own server, over real HTTP, with a network in between that loses things."""

import threading
import uuid

import pytest

from django_idempotency.client import IntentReused, Unanswered, intent
from tests.client.loopback import Forward, Given
from tests.support.barriers import Barriers
from tests.support.live import Live

USER = {"Authorization": "Test 1"}


@pytest.fixture
def stated():
    """An intent that no other test uses."""
    return intent("order", uuid.uuid4(), "capture")


@pytest.mark.parametrize("faults", [["cut before"], ["cut after"], ["half"], ["cut after", Given(503), "half"]])
def test_one_effect_and_its_answer_whatever_was_lost(live: Live, serve, shop_of, stated, faults):
    server = serve(Forward(live.client.port))
    server.faults.extend(faults)
    answer = shop_of(server).post({"amount": 5}, path="/plain/pay", extensions=stated, headers=USER)
    assert (answer.status_code, answer.json()["amount"]) == (201, 5)
    assert live.runs(server.seen[0].key) == 1


def test_a_decline_is_an_answer_that_is_repeated(live: Live, serve, shop_of, stated):
    server = serve(Forward(live.client.port))
    server.faults.append("cut after")
    answer = shop_of(server).post({"then": "declined"}, path="/plain/pay", extensions=stated, headers=USER)
    assert answer.status_code == 402
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert live.runs(server.seen[0].key) == 1


def test_a_server_that_knows_the_key_with_other_parameters(live: Live, serve, shop_of, stated):
    server = serve(Forward(live.client.port))
    shop_of(server).post({"amount": 5}, path="/plain/pay", extensions=stated, headers=USER)
    with pytest.raises(IntentReused) as raised:  # The second shop has lost its own memory.
        shop_of(server).post({"amount": 6}, path="/plain/pay", extensions=stated, headers=USER)
    assert raised.value.response.status_code == 422
    assert live.runs(server.seen[0].key) == 1


def test_a_500_is_not_taken_for_a_failure(live: Live, serve, shop_of, stated):
    class Spoiling(Forward):
        def __call__(self, seen):
            assert super().__call__(seen).status == 201
            return Given(500)

    server = serve(Spoiling(live.client.port))
    with pytest.raises(Unanswered):
        shop_of(server).post({"amount": 5}, path="/plain/pay", extensions=stated, headers=USER)
    assert live.runs(server.seen[0].key) == len(server.seen) == 1


def test_while_the_first_is_running_it_waits_and_gets_its_answer(
    served: Live, barriers: Barriers, serve, shop_of, stated
):
    server, gate, answers = serve(Forward(served.client.port)), barriers.gate("view"), []
    options = {"path": "/plain/pay", "extensions": stated}
    held = {**USER, "X-Test-At": gate.header}
    first = threading.Thread(target=lambda: answers.append(shop_of(server).post(headers=held, **options)))
    first.start()
    running = gate.reached()

    def let_the_first_end() -> None:
        running.release()
        first.join()

    second = shop_of(server)
    second.clock.while_asleep = let_the_first_end
    answers.append(second.post(headers=USER, **options))
    assert second.clock.pauses == [1.5]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert served.runs(server.seen[0].key) == 1
