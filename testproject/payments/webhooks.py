"""Where the gateway reports what it has charged at the shop's terminals. It delivers each event at least once."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from django_idempotency import idempotent

from . import services
from .models import Account

TOLERANCE = 300  # seconds

View = Callable[[HttpRequest], HttpResponse]


def signature(event: str, sent_at: str, body: bytes) -> str:
    """As Standard Webhooks have it."""
    signed = f"{event}.{sent_at}.".encode() + body
    digest = hmac.digest(settings.PAYMENTS_WEBHOOK_SECRET.encode(), signed, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def signed_by_gateway(view: View) -> View:
    @wraps(view)
    def verified(request: HttpRequest) -> HttpResponse:
        event, sent_at, given = (
            request.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
        )
        expected = signature(event, sent_at, request.body)
        if not hmac.compare_digest(given.encode(), expected.encode()) or abs(time.time() - int(sent_at)) > TOLERANCE:
            raise PermissionDenied
        return view(request)

    return verified


def event_id(request: HttpRequest) -> str:
    return request.headers["webhook-id"]


# The signature first, then the claim: nobody else can use up the gateway's ids.
@csrf_exempt
@require_POST
@signed_by_gateway
@idempotent(key=event_id)
def gateway_events(request: HttpRequest) -> HttpResponse:
    event = json.loads(request.body)
    account = get_object_or_404(Account, pk=event["account"])
    services.book_terminal_payment(account=account, amount=event["amount"], charge=event["charge"])
    return HttpResponse(status=204)
