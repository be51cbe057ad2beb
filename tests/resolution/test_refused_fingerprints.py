"""What a mismatch has refused, known by its fingerprint: what is run is what its client has asked, and nothing twice."""

import pytest
from django.utils import timezone

from django_idempotency import resolution
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from django_idempotency.resolution import NotSent, WrongState
from tests.resolution.retries import SAID, incident, mismatched, payments, post
from tests.resolution.shop import TILL
from tests.settings import HAVE_DRF

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.resolution.shop")]

FORM = {"content_type": "application/x-www-form-urlencoded", "headers": {"Idempotency-Key": "k"}}


def run_refused(number, **said):
    return resolution.run_refused(number, **{**SAID, **said})


def amounts():
    return [amount for _key, amount in payments()]


def mismatches():
    return list(IdempotencyIncident.objects.filter(kind="mismatch").order_by("pk"))


class TestWhatIsRun:
    def test_a_header_that_decides_and_is_not_stored_is_not_left_out(self, buyer):
        """X-Channel is in the view's FINGERPRINT: without it, the payment would go another way."""
        post(buyer, "/channel", {"amount": 5}, headers={"X-Channel": "shop"})
        assert post(buyer, "/channel", {"amount": 6}, headers={"X-Channel": "till"}).status_code == 422
        with pytest.raises(NotSent, match="another request"):
            run_refused(incident("mismatch").pk)
        assert amounts() == [5]

    @pytest.mark.skipif(not HAVE_DRF, reason="needs DRF")
    def test_a_version_that_is_asked_for_by_another_header_is_not_left_out(self, buyer, monkeypatch):
        """Of version 2, amounts are in cents, say."""
        from rest_framework.versioning import BaseVersioning

        from tests.resolution.shop_api import Api

        class ByHeader(BaseVersioning):
            def determine_version(self, request, *args, **kwargs):
                return request.headers.get("X-Version", "1")

        monkeypatch.setattr(Api, "versioning_class", ByHeader)
        post(buyer, "/api/v1/pay", {"amount": 5})
        assert post(buyer, "/api/v1/pay", {"amount": 600}, headers={"X-Version": "2"}).status_code == 422
        with pytest.raises(NotSent, match="another request"):
            run_refused(incident("mismatch").pk)
        assert amounts() == [5]

    def test_a_payload_that_was_changed_in_the_database_is_not_run(self, buyer):
        number = mismatched(buyer)
        IdempotencyIncident.objects.update(request_body=b'{"amount": 6000}')
        with pytest.raises(NotSent, match="another request"):
            run_refused(number)
        assert amounts() == [5]

    def test_one_whose_fingerprint_nobody_has_stored_is_refused(self, buyer):
        number = mismatched(buyer)
        IdempotencyIncident.objects.update(request_fingerprint="")
        with pytest.raises(WrongState, match="fingerprint"):
            run_refused(number)
        assert amounts() == [5]

    def test_a_secret_that_was_changed_since_is_still_honoured(self, buyer, settings):
        number = mismatched(buyer)
        settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 10
        assert run_refused(number).kept
        assert amounts() == [5, 6]

    def test_a_form_that_brings_its_key_in_a_field_runs_under_the_new_one(self, buyer):
        form = {**FORM, "headers": {}}
        buyer.post("/pay", "amount=5&idempotency_key=k", **form)
        assert buyer.post("/pay", "amount=6&idempotency_key=k", **form).status_code == 422
        assert run_refused(incident("mismatch").pk).kept
        assert payments() == [("k", 5), (incident("mismatch").reference, 6)]


class TestLetInSince:
    def test_what_was_let_in_under_the_same_key_later_is_not_run_again(self, buyer):
        """k with 5 is in flight; k with 6 is refused; 5 fails and frees the key; k with 6 comes again, and runs."""
        number = mismatched(buyer)
        IdempotencyRecord.objects.all().delete()
        assert post(buyer, data={"amount": 6}).status_code == 201
        TILL.seen.clear()
        with pytest.raises(WrongState, match="let in"):
            run_refused(number)
        assert TILL.seen == []
        assert amounts() == [5, 6]

    def test_a_third_one_is_not_taken_for_it(self, buyer):
        number = mismatched(buyer)
        IdempotencyRecord.objects.all().delete()
        assert post(buyer, data={"amount": 7}).status_code == 201
        assert run_refused(number).kept
        assert amounts() == [5, 7, 6]


class TestSeveral:
    def test_another_payload_than_the_one_that_was_decided_is_seen(self, buyer):
        resolution.settled_outside(mismatched(buyer), counter=1, reference="SEPA 99", **SAID)
        assert post(buyer, data={"amount": 7}).status_code == 422
        decided, other = mismatches()
        assert (decided.counter, decided.reference, bytes(decided.request_body)) == (1, "SEPA 99", b'{"amount": 6}')
        assert (other.counter, other.healed_at, other.decision) == (1, None, "")
        assert (bytes(other.first_body), bytes(other.request_body)) == (b'{"amount": 5}', b'{"amount": 7}')

    def test_each_is_run_once_under_a_key_of_its_own(self, buyer):
        run_refused(mismatched(buyer))
        post(buyer, data={"amount": 7})
        decided, other = mismatches()
        assert run_refused(other.pk).ran
        assert not run_refused(decided.pk).ran
        assert amounts() == [5, 6, 7]

    def test_what_was_decided_is_only_counted_when_it_comes_again(self, buyer):
        resolution.original_stands(mismatched(buyer), counter=1, **SAID)
        for amount in (7, 6, 7, 8):
            post(buyer, data={"amount": amount})
        assert [(one.counter, one.decision) for one in mismatches()] == [(2, "original-stands"), (3, "")]

    def test_many_that_differ_are_one_row_more_for_each_decision(self, buyer):
        mismatched(buyer)
        for amount in (7, 8):
            post(buyer, data={"amount": amount})
        assert len(mismatches()) == 1
        for number, one in enumerate(mismatches() * 2):
            IdempotencyIncident.objects.filter(decision="").update(
                decision="client-error", healed_at=timezone.now(), reference=str(one.pk)
            )
            post(buyer, data={"amount": 100 + number})
        assert [one.decision for one in mismatches()] == ["client-error", "client-error", ""]
