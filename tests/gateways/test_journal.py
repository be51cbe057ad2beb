"""A gateway as a durable operation calls it."""

from datetime import timedelta

import pytest

from django_idempotency.exceptions import OutcomeUnknown, RetryLater
from django_idempotency.gateways import Journaled, Unknown
from django_idempotency.gateways.adyen import Adyen
from django_idempotency.gateways.fake import Fault, Kind

MONEY = {"amount": 1250, "currency": "EUR"}


@pytest.fixture
def journaled(gateway):
    return Journaled(gateway)


def faulty(fake, kind):
    fake.faults.set([Fault(kind=kind, times=1)])


class TestJournaled:
    def test_a_call_returns_what_a_journal_keeps(self, journaled):
        charge = journaled.charge(idempotency_key="k", card="4242424242424242", **MONEY)
        assert charge["status"] == "approved"
        assert charge["reference"] == "ch_1"
        assert journaled.find(idempotency_key="k", **MONEY) == charge

    def test_a_decline_is_a_result(self, journaled):
        charge = journaled.charge(idempotency_key="k", card="4000000000000002", **MONEY)
        assert (charge["status"], charge["reason"]) == ("declined", "insufficient_funds")

    def test_an_unknown_outcome_is_raised(self, fake, journaled):
        faulty(fake, Kind.LOST)
        with pytest.raises(OutcomeUnknown, match="the connection was lost"):
            journaled.charge(idempotency_key="k", **MONEY)

    def test_a_look_up_that_cannot_tell_raises(self, fake, journaled):
        faulty(fake, Kind.LOOKUP_DOWN)
        with pytest.raises(OutcomeUnknown, match="HTTP 503"):
            journaled.find(idempotency_key="k", **MONEY)

    def test_a_look_up_that_finds_nothing_returns_none(self, journaled):
        assert journaled.find(idempotency_key="k", **MONEY) is None

    def test_what_did_nothing_is_tried_again_later_and_its_reason_is_not_for_the_client(self, fake, journaled, caplog):
        fake.close()
        with pytest.raises(RetryLater, match="goes on later") as raised:
            journaled.charge(idempotency_key="k", **MONEY)
        assert "no connection" not in raised.value.detail
        assert "no connection" in caplog.text

    @pytest.mark.parametrize("forgotten", [True, False])
    def test_whether_a_key_protects_is_told_to_the_operation(self, gateway, monkeypatch, forgotten):
        monkeypatch.setattr(gateway, "charge", lambda: Unknown(reason="HTTP 500", key_forgotten=forgotten))
        with pytest.raises(OutcomeUnknown) as raised:
            Journaled(gateway).charge()
        assert raised.value.key_forgotten is forgotten

    def test_what_was_refused_for_good_is_a_result(self, journaled):
        refund = journaled.refund(idempotency_key="k", reference="ch_0", **MONEY)
        assert (refund["status"], refund["retryable"]) == ("failed", False)

    def test_an_operation_finds_out_how_long_a_key_and_a_call_last(self, journaled):
        assert (journaled.charge.key_ttl, journaled.charge.timeout) == (timedelta(hours=24), 0.5)

    def test_a_call_keeps_its_name(self, journaled):
        assert (journaled.charge.__name__, journaled.charge.__qualname__) == ("charge", "ExampleGateway.charge")

    def test_a_call_that_the_gateway_does_not_have_fails_where_it_is_named(self, client):
        adyen = Journaled(Adyen(api_key="key", merchant_account="Shop", base_url="http://adyen.test", client=client))
        with pytest.raises(AttributeError):
            adyen.find  # noqa: B018
