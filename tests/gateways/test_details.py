"""What single adapters do beside mapping answers."""

import pytest

from django_idempotency.gateways import Approved, Failed, Unknown
from django_idempotency.gateways.checkout import Checkout
from django_idempotency.gateways.paypal import PayPal
from django_idempotency.gateways.square import Square
from django_idempotency.gateways.stripe import Stripe
from django_idempotency.testing.gateways import RecordedServer, nobody

TOKEN = (200, {}, b'{"access_token": "A21AA", "expires_in": 32400}')
SHORT_TOKEN = (200, {}, b'{"access_token": "A21AA", "expires_in": 60}')
CAPTURE = b'{"id": "3C6", "status": "COMPLETED", "amount": {"currency_code": "USD", "value": "100.00"}}'
ORDER = (
    201,
    {},
    b'{"id": "5O1", "status": "COMPLETED", "purchase_units": [{"payments": {"captures": [%s]}}]}' % CAPTURE,
)
REFUSED = (401, {}, b'{"name": "AUTHENTICATION_FAILURE"}')
CALL = {"idempotency_key": "k", "amount": 10000, "currency": "USD", "order_id": "5O1"}


def paths(server):
    return [request["path"].rpartition("/")[2] for request in server.requests]


class TestPayPal:
    @pytest.fixture
    def talk(self, client):
        """Talk to a server with these answers, and return what each call returned and what was asked."""

        def talk(*replies, calls):
            with RecordedServer(list(replies)) as server:
                paypal = PayPal(client_id="c", client_secret="s", base_url=server.url, timeout=2, client=client)
                return [getattr(paypal, call)(**CALL) for call in calls], paths(server)

        return talk

    def test_a_token_is_asked_for_once(self, talk):
        _, asked = talk(TOKEN, ORDER, ORDER, calls=["charge", "find"])
        assert asked == ["token", "capture", "5O1"]

    def test_a_token_that_is_about_to_end_is_not_used(self, talk):
        _, asked = talk(SHORT_TOKEN, ORDER, TOKEN, ORDER, calls=["charge", "charge"])
        assert asked == ["token", "capture", "token", "capture"]

    @pytest.mark.parametrize("call", ["charge", "find"])
    def test_a_token_that_was_refused_is_not_used_again(self, talk, call):
        results, asked = talk(TOKEN, REFUSED, TOKEN, ORDER, calls=[call, "charge"])
        assert [type(result) for result in results] == [Failed if call == "charge" else Unknown, Approved]
        assert asked.count("token") == 2

    @pytest.mark.parametrize("reply", [REFUSED, (500, {}, b""), (200, {}, b"[]"), (200, {}, None)])
    def test_without_a_token_nothing_was_done(self, talk, reply):
        results, asked = talk(reply, calls=["charge"])
        assert results == [Failed(reason="no access token", retryable=True)]
        assert asked == ["token"]

    def test_an_order_is_asked_for(self, client):
        paypal = PayPal(client_id="c", client_secret="s", base_url=nobody(), client=client)
        with pytest.raises(ValueError, match="order_id"):
            paypal.charge(**{**CALL, "order_id": ""})

    def test_what_paypal_cannot_take_is_refused_before_it_is_sent(self, client):
        paypal = PayPal(client_id="c", client_secret="s", base_url=nobody(), client=client)
        with pytest.raises(ValueError, match="decimals"):
            paypal.charge(**{**CALL, "currency": "HUF", "amount": 150050})


class TestStripe:
    def test_details_are_written_in_brackets_and_replace_nothing(self, client):
        with RecordedServer([(500, {}, b"{}")]) as server:
            Stripe(api_key="sk_test", base_url=server.url, timeout=2, client=client).charge(
                idempotency_key="k",
                amount=2000,
                currency="EUR",
                payment_method_types=["card", "link"],
                automatic_payment_methods={"enabled": False},
                metadata={"idempotency_key": "mine", "order": 17, "coupon": None},
                description=None,
                confirm=False,
            )
            assert server.requests[0]["body"] == {
                "payment_method_types[0]": "card",
                "payment_method_types[1]": "link",
                "automatic_payment_methods[enabled]": "false",
                "metadata[idempotency_key]": "k",
                "metadata[order]": "17",
                "confirm": "true",
                "amount": "2000",
                "currency": "eur",
            }

    def test_a_key_cannot_leave_its_quotes(self, client):
        with RecordedServer([(200, {}, b'{"data": []}')]) as server:
            stripe = Stripe(api_key="sk_test", base_url=server.url, timeout=2, client=client)
            stripe.find(idempotency_key="a' OR status:'succeeded", amount=1, currency="EUR")
            assert server.requests[0]["query"]["query"] == r"metadata['idempotency_key']:'a\' OR status:\'succeeded'"

    def test_a_reference_cannot_leave_its_place(self, client):
        with RecordedServer([(500, {}, b"{}")]) as server:
            stripe = Stripe(api_key="sk_test", base_url=server.url, timeout=2, client=client)
            stripe.capture(idempotency_key="k", reference="../refunds", amount=1, currency="EUR")
            assert server.requests[0]["path"] == "/v1/payment_intents/..%2Frefunds/capture"


def test_square_looks_in_the_default_location_where_none_is_given(client):
    with RecordedServer([(200, {}, b'{"payments": []}')]) as server:
        square = Square(access_token="token", base_url=server.url, timeout=2, client=client)
        assert square.find(idempotency_key="k", amount=1, currency="EUR") is None
        assert "location_id" not in server.requests[0]["query"]


class TestCheckout:
    @pytest.mark.parametrize(
        ("status", "forgotten"), [(500, True), (503, True), (402, True), (409, False), (200, False)]
    )
    def test_only_what_it_answered_2xx_is_kept_under_a_key(self, client, status, forgotten):
        with RecordedServer([(status, {}, b"[]")]) as server:
            checkout = Checkout(secret_key="s", base_url=server.url, timeout=2, client=client)
            result = checkout.charge(idempotency_key="k", amount=1000, currency="EUR")
        assert (type(result), result.key_forgotten) == (Unknown, forgotten)
