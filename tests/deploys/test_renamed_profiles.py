"""A profile that is renamed between a request and its retry."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.test import RequestFactory

from django_idempotency import idempotent
from django_idempotency.exceptions import KeyReused
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment

pytestmark = pytest.mark.django_db(transaction=True)


def pay(request):
    payment = Payment.objects.create(nonce="")
    return HttpResponse(str(payment.pk), status=201)


def post(profile, body=b"amount=5"):
    """Send one request to the release in which the profile has this name."""
    request = RequestFactory().post("/pay", body, content_type="text/plain", headers={"Idempotency-Key": "key-1"})
    request.user = AnonymousUser()
    return idempotent(profile)(pay)(request)


@pytest.fixture
def renamed(settings):
    """Send the first request, and then let the profile have another name."""
    settings.IDEMPOTENCY = {"charges": {}}
    first = post("charges")

    def rename(**rules):
        settings.IDEMPOTENCY = {"payments": rules}
        return first

    return rename


def test_a_retry_is_replayed_where_the_namespace_keeps_the_old_name(renamed):
    first = renamed(NAMESPACE="charges")
    again = post("payments")
    assert (again.content, again["Idempotent-Replayed"]) == (first.content, "true")
    assert Payment.objects.count() == 1
    assert IdempotencyRecord.objects.get().namespace == "charges"


def test_another_payload_is_refused_as_before(renamed):
    renamed(NAMESPACE="charges")
    assert post("payments", b"amount=6").status_code == 422
    assert KeyReused.code in post("payments", b"amount=6").content.decode()
    assert Payment.objects.count() == 1


def test_without_it_the_retry_is_another_request(renamed):
    """Which is why the documentation asks for it."""
    renamed()
    assert "Idempotent-Replayed" not in post("payments")
    assert Payment.objects.count() == 2


def test_two_profiles_of_one_namespace_share_their_keys(settings):
    settings.IDEMPOTENCY = {"charges": {}, "payments": {"NAMESPACE": "charges"}}
    assert post("charges").content == post("payments").content
    assert Payment.objects.count() == 1
