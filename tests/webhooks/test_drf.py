"""The same behind DRF, where the callable gets DRF's request and the project's own refusals come first."""

import pytest

pytest.importorskip("rest_framework")

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from django_idempotency import idempotent
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment

pytestmark = pytest.mark.django_db


class Signed(BaseAuthentication):
    """Whoever knows the secret; there is no user behind a provider."""

    def authenticate(self, request):
        if request.headers.get("X-Signature") != "right":
            raise AuthenticationFailed
        return AnonymousUser(), "provider"


@api_view(["POST"])
@authentication_classes([Signed])
@idempotent(key=lambda request: request.data["id"])
def hook(request):
    return Response({"payment": Payment.objects.create(nonce="").pk})


def deliver(data, kind="json", signature="right"):
    content = {"content_type": "application/json"} if isinstance(data, str) else {"format": kind}
    answer = hook(APIRequestFactory().post("/hook", data, headers={"X-Signature": signature}, **content))
    return answer.render() if hasattr(answer, "render") else answer


@pytest.mark.parametrize("kind", ["json", "multipart"])
def test_the_callable_may_read_what_drf_has_parsed(kind):
    first, again = deliver({"id": "evt_1"}, kind), deliver({"id": "evt_1", "more": "1"}, kind)
    assert (again.status_code, again.content) == (200, first.content)
    assert Payment.objects.count() == 1


def test_a_sender_without_a_user_has_the_endpoints_scope():
    deliver({"id": "evt_1"})
    assert IdempotencyRecord.objects.get().scope == "anonymous@/hook"


def test_a_wrong_signature_is_refused_before_any_claim_and_on_a_redelivery():
    assert deliver({"id": "evt_1"}, signature="wrong").status_code in (401, 403)
    assert not IdempotencyRecord.objects.exists()
    deliver({"id": "evt_1"})
    assert deliver({"id": "evt_1"}, signature="wrong").status_code in (401, 403)


def test_a_body_that_drf_cannot_parse_is_its_own_error():
    answer = deliver("not json")
    assert answer.status_code == 400
    assert answer.data["detail"].code == "parse_error"
    assert not IdempotencyRecord.objects.exists()
