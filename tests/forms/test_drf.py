"""Forms that reach a DRF view, and those of its browsable API."""

import re

import pytest

pytest.importorskip("rest_framework")

from django.http import QueryDict
from django.test import Client, override_settings
from django.urls import path
from django.urls.base import clear_url_caches
from rest_framework import mixins, parsers, renderers, serializers
from rest_framework.decorators import api_view, throttle_classes
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.throttling import BaseThrottle
from rest_framework.viewsets import ModelViewSet

from django_idempotency import idempotent
from django_idempotency.bodies import KEY_FIELD
from django_idempotency.models import IdempotencyRecord
from django_idempotency.renderers import IdempotentBrowsableAPIRenderer
from tests.bank.models import Payment

pytestmark = pytest.mark.django_db

KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"
FORM = {"application/x-www-form-urlencoded": f"amount=5&{KEY_FIELD}={KEY}", "multipart/form-data": None}


class PaymentSerializer(serializers.ModelSerializer):
    class Meta:
        model = Payment
        fields = ["id", "amount"]


class Payments(ModelViewSet):
    queryset = Payment.objects.all()
    serializer_class = PaymentSerializer
    renderer_classes = [renderers.JSONRenderer, IdempotentBrowsableAPIRenderer]

    create = idempotent(mixins.CreateModelMixin.create)
    update = idempotent(mixins.UpdateModelMixin.update)


class Reading(BaseThrottle):
    """Reads the form before us."""

    def allow_request(self, request, view):
        return bool(request.data)


class FromStream(parsers.BaseParser):
    """A parser of the project's own, which leaves no bytes behind."""

    media_type = "application/x-www-form-urlencoded"

    def parse(self, stream, media_type=None, parser_context=None):
        return QueryDict(stream.read())


@api_view(["POST"])
@throttle_classes([Reading])
@idempotent
def throttled(request):
    return Response({"payment": Payment.objects.create(amount=request.data["amount"], nonce="").pk})


payments = Payments.as_view({"post": "create"})
payment = Payments.as_view({"get": "retrieve", "put": "update"})
urlpatterns = [
    path("payments/<int:pk>", payment),
    path("payments", Payments.as_view({"get": "list", "post": "create"})),
]

KINDS = pytest.mark.parametrize("kind", ["multipart", "urlencoded"])
VIEWS = pytest.mark.parametrize("view", [payments, throttled], ids=["plain", "read by a throttle"])


def with_own_parser(**members):
    members["parser_classes"] = [FromStream, parsers.MultiPartParser]
    return type("OwnParser", (Payments,), members).as_view({"post": "create"})


def submit(view=payments, kind="multipart", method="post", headers=None, **fields):
    data = {"amount": 5, KEY_FIELD: KEY, **fields}
    data = {name: value for name, value in data.items() if value is not None}
    content = {"format": "multipart"}
    if kind == "urlencoded":
        data = "&".join(f"{name}={value}" for name, value in data.items())
        content = {"content_type": "application/x-www-form-urlencoded"}
    more = {"pk": Payment.objects.create(nonce="").pk} if method == "put" else {}
    request = getattr(APIRequestFactory(), method)("/payments", data, headers=headers, **content)
    answer = view(request, **more)
    return answer.render() if hasattr(answer, "render") else answer


@KINDS
@VIEWS
def test_a_form_submitted_twice_takes_effect_once(view, kind):
    first, again = submit(view, kind), submit(view, kind)
    assert first.status_code in (200, 201), first.content
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert IdempotencyRecord.objects.get().key == KEY
    assert Payment.objects.count() == 1


@KINDS
@pytest.mark.parametrize(
    "view",
    [payments, throttled, with_own_parser(), with_own_parser(throttle_classes=[Reading])],
    ids=["plain", "read by a throttle", "parsed in their own way", "parsed so by a throttle"],
)
def test_the_same_key_in_the_header_and_in_the_field_is_one_request(view, kind):
    header = {"Idempotency-Key": KEY}
    answers = [
        submit(view, kind, headers=header),
        submit(view, kind),
        submit(view, kind, headers=header, idempotency_key=None),
    ]
    assert len({answer.content for answer in answers}) == 1
    assert Payment.objects.count() == 1


@KINDS
@VIEWS
def test_another_content_under_the_same_key_is_refused(view, kind):
    submit(view, kind)
    assert submit(view, kind, amount=6).status_code == 422


@KINDS
def test_a_form_without_the_field_has_no_key(kind):
    assert submit(kind=kind, idempotency_key=None).status_code == 400
    assert not IdempotencyRecord.objects.exists()


def test_a_form_that_is_put_is_protected_too():
    assert submit(payment, method="put").status_code == 200
    assert IdempotencyRecord.objects.get().key == KEY


@KINDS
def test_an_api_that_reads_no_forms_says_that_the_key_is_missing(kind):
    view = type("JSONOnly", (Payments,), {"parser_classes": [parsers.JSONParser]}).as_view({"post": "create"})
    assert submit(view, kind).status_code == 400
    assert not Payment.objects.exists()


@pytest.fixture
def browser():
    with override_settings(ROOT_URLCONF=__name__):
        clear_url_caches()
        yield Client(headers={"Accept": "text/html"})
    clear_url_caches()


def hidden(page, form):
    """The key in one of the page's forms."""
    (found,) = re.findall(rf'id="{form}".*?name="{KEY_FIELD}" value="([^"]+)"', page.content.decode(), re.DOTALL)
    return found


def test_the_browsable_apis_form_carries_a_key_and_submitted_twice_takes_effect_once(browser):
    key = hidden(browser.get("/payments"), "post-object-form")
    answers = [browser.post("/payments", {"amount": 7, KEY_FIELD: key}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert Payment.objects.filter(amount=7).count() == 1


def test_each_page_of_the_browsable_api_has_another_key(browser):
    place = f"/payments/{Payment.objects.create(nonce='').pk}"
    keys = [
        hidden(browser.get(url), f"{form}-object-form") for url, form in ((place, "put"), ("/payments", "post")) * 2
    ]
    assert len(set(keys)) == 4


def test_what_is_posted_stays_escaped_in_the_form(browser):
    place = f"/payments/{Payment.objects.create(nonce='').pk}"
    page = browser.get(place, {KEY_FIELD: "<script>alert(1)</script>"}).content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;input" not in page
