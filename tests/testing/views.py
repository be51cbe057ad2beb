"""One right view of each kind, and views that are wrong each in its own way."""

import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from django_idempotency import idempotent
from tests.bank.models import Payment
from tests.settings import HAVE_DRF

CHARGES: dict[str, str] = {}
"""What a gateway has done: its idempotency keys, and whom it charged."""

LOOKED_UP = threading.Barrier(4)
"""Where the home-made views meet, between looking up and writing."""


def paid(request: HttpRequest) -> JsonResponse:
    """Pay, and return an answer that no second run would give."""
    amount = json.loads(request.body)["amount"]
    payment = Payment.objects.create(nonce=uuid.uuid4(), amount=amount)
    return JsonResponse({"nonce": payment.nonce, "amount": amount}, status=201)


@idempotent
def right(request: HttpRequest) -> HttpResponse:
    return paid(request)


@idempotent(required=False)
def optional(request: HttpRequest) -> HttpResponse:
    return paid(request)


@idempotent(key=lambda request: json.loads(request.body)["id"])
def webhook(request: HttpRequest) -> HttpResponse:
    """Take the key from the body."""
    return paid(request)


@idempotent
def with_a_derived_key(request: Any) -> HttpResponse:
    """Charge through a gateway that honours keys."""
    CHARGES.setdefault(request.idempotency.derive("charge"), "card")
    return paid(request)


@idempotent
def refusing(request: HttpRequest) -> HttpResponse:
    paid(request)
    return JsonResponse({"error": "amount"}, status=400)


@idempotent
def in_another_database(request: HttpRequest) -> HttpResponse:
    Payment.objects.using("other").create(nonce=uuid.uuid4())
    return JsonResponse({"paid": True}, status=201)


@idempotent
def in_another_database_and_refusing(request: HttpRequest) -> HttpResponse:
    Payment.objects.using("other").create(nonce=uuid.uuid4())
    return JsonResponse({"error": "amount"}, status=400)


@idempotent
def charging_twice(request: HttpRequest) -> HttpResponse:
    """Call a gateway under a new key in each attempt."""
    CHARGES[str(uuid.uuid4())] = "card"
    return paid(request)


@idempotent
def charged_already(request: Any) -> HttpResponse:
    """Take a gateway's refusal of a second charge for an error."""
    charge = request.idempotency.derive("charge")
    if charge in CHARGES:
        raise RuntimeError("charged already")
    CHARGES[charge] = "card"
    return paid(request)


@idempotent
def remembered(request: Any) -> HttpResponse:
    """Leave a mark that outlives the attempt and stops the next one."""
    answer = JsonResponse({"paid": True}, status=201)
    if request.idempotency.key not in CHARGES:
        CHARGES[request.idempotency.key] = "mark"
        Payment.objects.create(nonce=uuid.uuid4())
    return answer


@idempotent
def after_the_commit(request: HttpRequest) -> HttpResponse:
    transaction.on_commit(lambda: paid(request))
    return JsonResponse({"paid": True}, status=201)


@idempotent
def mailing_after_the_commit(request: Any) -> HttpResponse:
    transaction.on_commit(lambda: CHARGES.update(mail=request.idempotency.key))
    return paid(request)


ANSWERS: dict[str, bytes] = {}


def home_made(*, meet: bool, marker: bool) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view that looks up, runs and saves, with nothing in between to stop another."""

    def view(request: HttpRequest) -> HttpResponse:
        key = request.headers["Idempotency-Key"]
        if key in ANSWERS:
            headers = {"Idempotent-Replayed": "true"} if marker else {}
            return HttpResponse(ANSWERS[key], status=201, content_type="application/json", headers=headers)
        if meet and threading.current_thread() is not threading.main_thread():
            LOOKED_UP.wait(10)
        answer = paid(request)
        ANSWERS[key] = answer.content
        return answer

    return view


urlpatterns = [
    path("right", right),
    path("unprotected", paid),
    path("optional", optional),
    path("webhook", webhook),
    path("with-a-derived-key", with_a_derived_key),
    path("refusing", refusing),
    path("in-another-database", in_another_database),
    path("in-another-database-and-refusing", in_another_database_and_refusing),
    path("charging-twice", charging_twice),
    path("charged-already", charged_already),
    path("remembered", remembered),
    path("after-the-commit", after_the_commit),
    path("mailing-after-the-commit", mailing_after_the_commit),
    path("racing", home_made(meet=True, marker=True)),
    path("unmarked", home_made(meet=False, marker=False)),
]

if HAVE_DRF:
    from tests.testing.drf_views import Payments

    urlpatterns.append(path("drf", Payments.as_view()))
