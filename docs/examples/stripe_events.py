import hmac
import json
import time
from functools import wraps

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from shop.models import Payment

from django_idempotency import idempotent

TOLERANCE = 300  # seconds


def signed_by_stripe(view):
    @wraps(view)
    def verified(request):
        header = request.headers.get("Stripe-Signature", "")
        fields = [field.partition("=")[::2] for field in header.split(",")]
        signed_at = dict(fields).get("t", "")
        signed = f"{signed_at}.".encode() + request.body
        expected = hmac.digest(settings.STRIPE_ENDPOINT_SECRET.encode(), signed, "sha256").hex()
        genuine = any(name == "v1" and hmac.compare_digest(value.encode(), expected.encode()) for name, value in fields)
        if not genuine or abs(time.time() - int(signed_at)) > TOLERANCE:
            raise PermissionDenied
        return view(request)

    return verified


def event_id(request):
    return json.loads(request.body)["id"]


@csrf_exempt
@require_POST
@signed_by_stripe
@idempotent(key=event_id)
def stripe_events(request):
    event = json.loads(request.body)
    if event["type"] == "payment_intent.succeeded":
        Payment.objects.create(amount=event["data"]["object"]["amount"])
    return HttpResponse()
