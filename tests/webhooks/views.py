"""Endpoints for events: the key is the event's id, in the body or in a header."""

import json

from django.http import HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from django_idempotency import idempotent
from tests.bank import runs
from tests.bank.models import Payment
from tests.support import points


def event_id(request):
    return json.loads(request.body)["id"]


def header_id(request):
    return request.headers.get("webhook-id")


def take(request):
    """Make one effect of an event, as its body says."""
    event = json.loads(request.body or b"{}")
    key = request.idempotency.key or "none"
    runs.note(key)
    payment = Payment.objects.create(key=key, amount=event.get("amount", 0), nonce="")
    points.reach("view")
    if event.get("then") == "raise":
        raise RuntimeError("a bug in the view")
    return JsonResponse({"payment": payment.pk}, status=event.get("status", 200))


def endpoint(key=event_id, view=take, **choices):
    return csrf_exempt(idempotent(key=key, **choices)(view))


def ready(request):
    return HttpResponse("ready")
