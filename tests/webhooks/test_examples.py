"""The how-to's endpoints, with signatures made as their senders make them."""

import base64
import hashlib
import hmac
import json
import time

import pytest
from django.test import Client, override_settings
from django.urls import path

from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment
from tests.test_docs import at, load, shop

__all__ = ["shop"]

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = b"a secret that only the sender knows"


def deliver(view, body, headers):
    with at(path("hook", view)):
        return Client(enforce_csrf_checks=True).post("/hook", body, content_type="application/json", headers=headers)


def from_stripe(body, *, secret=SECRET, age=0, more=""):
    sent = int(time.time()) - age
    signature = hmac.new(secret, f"{sent}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={sent},v1={signature},v0=0{more}"}


def standard(body, *, secret=SECRET, age=0, event="msg_1", more=""):
    sent = int(time.time()) - age
    signed = hmac.new(secret, f"{event}.{sent}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1a,other v1,{base64.b64encode(signed).decode()}{more}"
    return {"webhook-id": event, "webhook-timestamp": str(sent), "webhook-signature": signature}


def stripe_body(amount):
    event = {"id": "evt_1", "type": "payment_intent.succeeded", "data": {"object": {"amount": amount}}}
    return json.dumps(event).encode()


def standard_body(amount):
    return json.dumps({"type": "paid", "data": {"amount": amount}}).encode()


SENDERS = {
    "stripe": ("stripe_events", "stripe_events", from_stripe, stripe_body),
    "standard": ("standard_webhooks", "events", standard, standard_body),
}


@pytest.fixture(params=SENDERS)
def sender(request):
    module, name, sign, body = SENDERS[request.param]
    secrets = {
        "STRIPE_ENDPOINT_SECRET": SECRET.decode(),
        "WEBHOOK_SECRET": f"whsec_{base64.b64encode(SECRET).decode()}",
    }
    with override_settings(**secrets):
        yield getattr(load(module), name), sign, body


def test_a_signed_event_is_taken_once_however_often_and_differently_it_is_delivered(sender):
    view, sign, body = sender
    answers = [deliver(view, body(amount), sign(body(amount), age=age)) for amount, age in ((5, 0), (5, 7), (6, 9))]
    assert {answer.status_code for answer in answers} <= {200, 204}
    assert ["Idempotent-Replayed" in answer.headers for answer in answers] == [False, True, True]
    assert [payment.amount for payment in Payment.objects.all()] == [5]


@pytest.mark.parametrize("forged", [{"secret": b"guessed"}, {"age": 301}, {"age": -400}], ids=str)
def test_what_is_not_signed_or_too_old_is_refused_before_any_claim_and_on_a_redelivery(sender, forged):
    view, sign, body = sender
    assert deliver(view, body(5), sign(body(5), **forged)).status_code == 403
    assert not IdempotencyRecord.objects.exists()
    assert deliver(view, body(5), sign(body(5))).status_code in (200, 204)
    assert deliver(view, body(5), sign(body(5), **forged)).status_code == 403
    assert Payment.objects.count() == 1


@pytest.mark.parametrize(
    "headers", [{}, {"Stripe-Signature": "t=x,v1=ä", "webhook-signature": "v1,ä", "webhook-id": "m"}]
)
def test_no_signature_or_a_garbled_one_is_refused(sender, headers):
    view, _, body = sender
    assert deliver(view, body(5), headers).status_code == 403


def test_the_right_signature_of_another_body_is_refused(sender):
    view, sign, body = sender
    assert deliver(view, body(500), sign(body(5))).status_code == 403
