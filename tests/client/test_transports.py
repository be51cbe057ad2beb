"""Whatever fails on the way: one effect, or a refusal, and never a guess."""

import socket
import threading

import httpx
import pytest

from django_idempotency.client import IntentExpired, IntentReused, IntentSpent, Unanswered, intent
from django_idempotency.exceptions import OutcomeUnknown
from tests.client.loopback import PROBLEM, Given, Keyless, Stripe, problem
from tests.client.shops import CAPTURE, DAY

LOST = ["cut before", "cut after", "half"]
BUSY = [Given(status) for status in (429, 502, 503, 504)]


class TestServersThatHonourKeys:
    @pytest.mark.parametrize("fault", [*LOST, *BUSY])
    def test_one_effect_and_its_answer_whatever_was_lost(self, serve, shop_of, fault):
        server = serve(Stripe())
        server.faults.extend([fault, fault])
        answer = shop_of(server).post()
        assert (answer.status_code, answer.json()) == (201, {"number": 1})
        assert len(server.service.effects) == 1
        assert len(server.seen) == 3

    def test_a_timeout_after_the_effect_is_asked_about_again(self, serve, shop_of):
        server = serve(Stripe())
        server.faults.append("silence")
        assert shop_of(server).post(timeout=0.2).status_code == 201
        assert len(server.service.effects) == 1

    def test_each_attempt_has_the_same_key_and_the_same_bytes(self, serve, shop_of):
        server = serve(Stripe())
        server.faults.extend(["cut before", Given(503), "cut after"])
        shop_of(server).post()
        assert len({(seen.key, seen.body, seen.path) for seen in server.seen}) == 1
        assert len(server.seen) == 4
        assert len(server.seen[0].key) == 36

    def test_the_same_intent_gets_the_same_answer_from_another_process(self, serve, shop_of):
        server = serve(Stripe())
        answers = [shop_of(server).post() for _ in range(2)]
        assert [answer.json() for answer in answers] == [{"number": 1}, {"number": 1}]
        assert answers[1].headers["Idempotent-Replayed"] == "true"

    def test_another_intent_or_another_namespace_is_another_effect(self, serve, shop_of):
        server = serve(Stripe())
        shop = shop_of(server)
        shop.post()
        shop.post(extensions=intent("order", 42, "capture", 2))
        shop_of(server, namespace="staging").post()
        assert len({seen.key for seen in server.seen}) == len(server.service.effects) == 3

    def test_a_connection_that_is_refused_is_tried_again(self, serve, shop_of):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        shop, service = shop_of(f"http://127.0.0.1:{port}"), Stripe()
        shop.clock.while_asleep = lambda: serve(service, port)
        assert shop.post().status_code == 201
        assert len(service.effects) == 1

    def test_what_was_never_sent_is_no_unknown_outcome(self, shop_of):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        shop = shop_of(f"http://127.0.0.1:{port}")
        with pytest.raises(httpx.ConnectError):
            shop.post()
        with pytest.raises(Unanswered):  # Somebody stated it before, and this process cannot know how far that came.
            shop.post()

    def test_a_quoted_key_where_the_server_insists(self, serve, shop_of):
        server = serve(Keyless())
        shop_of(server, quoted=True).post()
        shop_of(server).post()
        assert server.seen[0].key == f'"{server.seen[1].key}"'


class TestFinalAnswers:
    @pytest.mark.parametrize("status", [400, 402, 404, 409, 422, 303])
    def test_an_answer_of_the_view_is_final(self, serve, shop_of, status):
        server = serve(Keyless())
        server.faults.append(Given(status, {"error": "declined"}))
        assert shop_of(server).post().status_code == status
        assert len(server.seen) == 1

    @pytest.mark.parametrize(("status", "code"), [(409, "outcome-unknown"), (412, "key-expired")])
    def test_what_the_server_will_not_say_is_unknown(self, serve, shop_of, status, code):
        server = serve(Keyless())
        server.faults.append(problem(status, code, retryable=False))
        with pytest.raises(OutcomeUnknown) as raised:
            shop_of(server).post()
        assert raised.value.response.json()["code"] == code
        assert len(server.seen) == 1

    def test_a_key_that_the_server_knows_with_other_parameters(self, serve, shop_of):
        server = serve(Keyless())
        server.faults.append(problem(422, "key-reused", retryable=False))
        with pytest.raises(IntentReused) as raised:
            shop_of(server).post()
        assert raised.value.response.status_code == 422
        assert len(server.seen) == 1

    def test_a_server_error_is_unknown_and_not_hammered(self, serve, shop_of):
        server = serve(Keyless())
        server.faults.append(Given(500))
        with pytest.raises(Unanswered, match="unknown, not failed"):
            shop_of(server).post()
        assert len(server.seen) == 1

    @pytest.mark.parametrize("status", [401, 403, 404, 429])
    def test_a_refusal_in_front_of_the_keys_does_not_tell_what_became_of_a_lost_request(self, serve, shop_of, status):
        server = serve(Stripe())
        server.faults.extend(["cut after", *[Given(status)] * 20])
        with pytest.raises(Unanswered) as raised:
            shop_of(server).post()
        assert raised.value.response.status_code == status
        assert len(server.service.effects) == 1

    def test_a_replayed_refusal_does(self, serve, shop_of):
        server = serve(Stripe(first=Given(404, {"error": "no such card"})))
        server.faults.append("cut after")
        assert shop_of(server).post().status_code == 404

    def test_a_refusal_without_any_doubt_is_an_answer(self, serve, shop_of):
        server = serve(Stripe())
        server.faults.append(Given(401))
        assert shop_of(server).post().status_code == 401

    def test_an_answer_that_cannot_be_decoded_is_a_lost_one(self, serve, shop_of):
        server = serve(Stripe())
        server.faults.append(Given(402, {}, {"Content-Encoding": "gzip"}))
        assert shop_of(server).post().status_code == 201
        server.faults.append(Given(402, {}, {"Content-Encoding": "gzip"}))
        with pytest.raises(Unanswered):
            shop_of(server, key_ttl=None).post()

    @pytest.mark.parametrize("document", ["no object", [], {"code": None, "retryable": "yes"}])
    def test_a_problem_document_that_is_none(self, serve, shop_of, document):
        server = serve(Keyless())
        server.faults.append(Given(409, document, {}, PROBLEM))
        assert shop_of(server).post().status_code == 409
        assert len(server.seen) == 1

    def test_what_the_server_calls_not_retryable_is_not_sent_again(self, serve, shop_of):
        server = serve(Stripe())
        server.faults.append(problem(503, "closed-for-good", retryable=False))
        with pytest.raises(Unanswered):
            shop_of(server).post()
        assert len(server.seen) == 1

    def test_a_fault_of_the_request_itself_comes_out_at_once(self, serve, shop_of):
        server = serve(Keyless())
        shop = shop_of(server)
        with pytest.raises(httpx.LocalProtocolError):
            shop.post(headers={"X-Order": "4\n2"})
        assert (server.seen, shop.clock.pauses) == ([], [])


class TestStripe:
    def test_a_stored_500_is_asked_for_once(self, serve, shop_of):
        server = serve(Stripe(first=Given(500, {"error": {"type": "api_error"}}, {"Stripe-Should-Retry": "false"})))
        with pytest.raises(Unanswered):
            shop_of(server).post()
        assert len(server.seen) == len(server.service.effects) == 1

    def test_other_parameters_are_final(self, serve, shop_of):
        server = serve(Stripe())
        shop_of(server).post({"amount": 500})
        with pytest.raises(IntentReused):
            shop_of(server).post({"amount": 501})
        assert len(server.seen) == 2
        assert len(server.service.effects) == 1

    def test_its_advice_goes_before_the_status(self, serve, shop_of):
        server = serve(Stripe())
        server.faults.extend([Given(409, headers={"Stripe-Should-Retry": "true"}), Given(500, headers=AGAIN)])
        assert shop_of(server).post().status_code == 201
        server.faults.append(Given(503, headers={"Stripe-Should-Retry": "false"}))
        with pytest.raises(Unanswered):
            shop_of(server).post()
        assert len(server.seen) == 4


AGAIN = {"Stripe-Should-Retry": "true"}


class TestServersWithoutKeys:
    @pytest.mark.parametrize("fault", [*LOST, *BUSY[1:], problem(503, "store-unavailable", retryable=True)])
    def test_what_may_have_arrived_is_not_sent_again(self, serve, shop_of, fault):
        server = serve(Keyless())
        server.faults.append(fault)
        with pytest.raises(Unanswered, match="Look the result up"):
            shop_of(server, key_ttl=None).post()
        assert len(server.seen) == 1
        assert len(server.service.effects) <= 1

    def test_a_timeout_is_not_sent_again(self, serve, shop_of):
        server = serve(Keyless())
        server.faults.append("silence")
        with pytest.raises(Unanswered):
            shop_of(server, key_ttl=None).post(timeout=0.2)
        assert len(server.service.effects) == 1

    def test_what_has_certainly_not_arrived_is(self, serve, shop_of):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        shop, service = shop_of(f"http://127.0.0.1:{port}", key_ttl=None), Keyless()
        shop.clock.while_asleep = lambda: serve(service, port)
        assert shop.post().status_code == 201
        assert len(service.effects) == 1

    def test_an_intent_is_sent_once_for_good(self, serve, shop_of):
        server = serve(Keyless())
        shop = shop_of(server, key_ttl=None)
        assert shop.post().status_code == 201
        with pytest.raises(IntentSpent):
            shop.post()
        assert len(server.service.effects) == 1


class TestWithoutAnIntent:
    @pytest.mark.parametrize("fault", LOST)
    def test_a_request_goes_out_once(self, serve, shop_of, fault):
        server = serve(Stripe())
        server.faults.append(fault)
        with pytest.raises(httpx.TransportError):
            shop_of(server).post(extensions=None)
        assert len(server.seen) == 1
        assert server.seen[0].key is None

    def test_an_answer_is_passed_on(self, serve, shop_of):
        server = serve(Keyless())
        server.faults.append(Given(503))
        assert shop_of(server).post(extensions=None, headers={"Idempotency-Key": "mine"}).status_code == 503
        assert [seen.key for seen in server.seen] == ["mine"]

    def test_a_safe_method_has_no_key(self, serve, shop_of):
        server = serve(Keyless())
        server.faults.append(Given(303, headers={"Location": "/receipt"}))
        assert shop_of(server).post(follow_redirects=True).status_code == 201
        assert [(seen.method, seen.key is None) for seen in server.seen] == [("POST", False), ("GET", True)]


class TestRefusedHere:
    def test_the_same_intent_with_other_parameters(self, serve, shop_of):
        server = serve(Stripe())
        shop = shop_of(server)
        shop.post({"amount": 500})
        for options in ({"body": {"amount": 501}}, {"path": "/pay?to=7"}, {"path": "/refund"}):
            with pytest.raises(IntentReused):
                shop.post(**options)
        with pytest.raises(IntentReused):
            shop.request("PATCH", "/pay", json={"amount": 500}, extensions=CAPTURE)
        assert len(server.seen) == 1

    def test_members_in_another_order_are_the_same_parameters(self, serve, shop_of):
        server = serve(Keyless())
        shop = shop_of(server)
        shop.post({"amount": 500, "currency": "EUR"})
        assert shop.post({"currency": "EUR", "amount": 500}).status_code == 201

    def test_parameters_under_an_earlier_secret_are_the_same(self, serve, shop_of, settings):
        shop = shop_of(serve(Keyless()))
        shop.post()
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another", [settings.SECRET_KEY]
        assert shop.post().status_code == 201

    def test_a_body_that_cannot_be_sent_again(self, serve, shop_of):
        server = serve(Keyless())
        shop = shop_of(server)

        async def parts():
            yield b"500"

        content = parts() if shop.kind == "async" else iter([b"500"])
        with pytest.raises(ValueError, match="streamed"):
            shop.post(content=content)
        assert server.seen == []

    def test_a_key_of_the_callers_own_beside_the_intent(self, serve, shop_of):
        server = serve(Keyless())
        with pytest.raises(ValueError, match="comes from the intent"):
            shop_of(server).post(headers={"Idempotency-Key": "mine"})
        assert server.seen == []

    def test_another_server_than_the_one_that_was_declared(self, serve, shop_of):
        declared, other = serve(Keyless()), serve(Keyless())
        declared.faults.append(Given(307, headers={"Location": f"{other.origin}/pay"}))
        with pytest.raises(ValueError, match="this client's server"):
            shop_of(declared).post(follow_redirects=True)
        assert other.seen == []


class TestTime:
    def test_pauses_grow_up_to_their_limit(self, serve, shop_of):
        server = serve(Stripe())
        server.faults.extend(["cut before"] * 7)
        shop = shop_of(server, deadline=1000)
        shop.post()
        assert shop.clock.pauses == [0.5, 1, 2, 4, 8, 16, 16]

    def test_retry_after_in_seconds_and_as_a_date(self, serve, shop_of):
        server = serve(Stripe())
        busy = problem(409, "in-flight", retryable=True, Retry_After="7")
        server.faults.extend([busy, Given(503, headers={"Retry-After": "Sat, 21 Nov 2026 12:00:17 GMT"})])
        shop = shop_of(server)
        shop.post()
        assert shop.clock.pauses == [7.5, 17 - 7.5 + 1]

    @pytest.mark.parametrize(
        "value", ["soon", "-1", "9" * 400, "Sat, 21 Nov 2020 12:00:00 GMT", "1 Jan 2026 0:0 +" + "9" * 20]
    )
    def test_a_retry_after_that_says_nothing(self, serve, shop_of, value):
        server = serve(Stripe())
        server.faults.append(Given(503, headers={"Retry-After": value}))
        shop = shop_of(server)
        shop.post()
        assert shop.clock.pauses == [0.5]

    def test_the_deadline_covers_all_attempts(self, serve, shop_of):
        server = serve(Stripe())
        server.faults.extend(["cut after"] * 50)
        shop = shop_of(server, deadline=10)
        with pytest.raises(Unanswered, match="Ask again with the same intent"):
            shop.post()
        assert shop.clock.seconds == sum(shop.clock.pauses) == 7.5
        server.faults.clear()
        assert shop.post().status_code == 201
        assert len(server.service.effects) == 1

    def test_a_pause_beyond_the_deadline_is_not_begun(self, serve, shop_of):
        server = serve(Stripe())
        server.faults.append(Given(429, headers={"Retry-After": "3600"}))
        shop = shop_of(server)
        assert shop.post().status_code == 429
        assert shop.clock.pauses == []

    def test_a_sleep_that_took_too_long_ends_the_attempts(self, serve, shop_of):
        server = serve(Stripe())
        server.faults.append("cut after")
        shop = shop_of(server)
        shop.clock.while_asleep = lambda: setattr(shop.clock, "seconds", 3600.0)
        with pytest.raises(Unanswered):
            shop.post()
        assert len(server.seen) == 1

    def test_an_attempt_has_no_longer_than_is_left(self, serve, shop_of):
        server = serve(Stripe())
        server.faults.append("silence")
        with pytest.raises(Unanswered) as raised:
            shop_of(server, deadline=0.3).post(timeout=60)
        assert isinstance(raised.value.__cause__, httpx.ReadTimeout)  # Not the server's hanging up, long after.

    def test_a_key_that_may_be_forgotten_is_not_sent(self, serve, shop_of):
        server = serve(Stripe())
        shop = shop_of(server)
        shop.post()
        shop.clock.drift = DAY * 0.98
        assert shop.post().status_code == 201
        shop.clock.drift = DAY * 0.995
        with pytest.raises(IntentExpired):
            shop.post()
        assert len(server.seen) == 2

    def test_nor_in_a_later_attempt(self, serve, shop_of):
        server = serve(Stripe())
        server.faults.append("cut after")
        shop = shop_of(server)
        shop.clock.while_asleep = lambda: setattr(shop.clock, "drift", DAY)
        with pytest.raises(Unanswered):
            shop.post()
        assert len(server.seen) == 1

    def test_the_server_is_asked_to_wait(self, serve, shop_of):
        server = serve(Keyless())
        shop_of(server, wait=5).post()
        shop_of(server).post()
        assert [seen.headers.get("Prefer") for seen in server.seen] == ["wait=5", None]


def test_many_processes_with_one_intent_have_one_effect(serve, shop_of):
    server = serve(Stripe())
    # No more than one of them can live through within its deadline.
    server.faults.extend(["cut after", "cut before", Given(503)])
    shops = [shop_of(server) for _ in range(8)]
    threads = [threading.Thread(target=shop.post) for shop in shops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.service.effects) == 1
