import base64
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


def signed(view):
    @wraps(view)
    def verified(request):
        delivery, signed_at, signatures = (
            request.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
        )
        secret = base64.b64decode(settings.WEBHOOK_SECRET.removeprefix("whsec_"))
        content = f"{delivery}.{signed_at}.".encode() + request.body
        expected = b"v1," + base64.b64encode(hmac.digest(secret, content, "sha256"))
        genuine = any(hmac.compare_digest(value.encode(), expected) for value in signatures.split(" "))
        if not genuine or abs(time.time() - int(signed_at)) > TOLERANCE:
            raise PermissionDenied
        return view(request)

    return verified


def webhook_id(request):
    return request.headers["webhook-id"]


@csrf_exempt
@require_POST
@signed
@idempotent(key=webhook_id)
def events(request):
    event = json.loads(request.body)
    Payment.objects.create(amount=event["data"]["amount"])
    return HttpResponse(status=204)
