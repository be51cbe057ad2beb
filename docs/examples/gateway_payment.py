import os

from rest_framework.views import APIView
from shop.models import Payment

from django_idempotency import Respond, operation
from django_idempotency.gateways import Journaled
from django_idempotency.gateways.stripe import Stripe

stripe = Journaled(Stripe(api_key=os.environ.get("STRIPE_API_KEY", "")))
NOTHING_TAKEN = {"declined", "cancelled", "failed"}


def reserve(*, amount):
    return Payment.objects.create(amount=amount).pk


def book(*, payment, charge):
    if charge["status"] == "approved":
        return Respond(201, {"id": payment, "amount": charge["amount"], "reference": charge["reference"]})
    if charge["status"] in NOTHING_TAKEN:
        Payment.objects.filter(pk=payment).delete()
        return Respond(402, {"code": charge["status"], "reason": charge["reason"]})
    # The payer has to do something first, or the gateway decides later: a webhook will tell.
    return Respond(202, {"id": payment, "code": charge["status"]})


@operation
def create_payment(op, *, amount, currency, payment_method):
    payment = op.phase(reserve, amount=amount)
    charge = op.remote(
        stripe.charge, lookup=stripe.find, amount=amount, currency=currency, payment_method=payment_method
    )
    return op.phase(book, payment=payment, charge=charge)


class Payments(APIView):
    def post(self, request):
        asked = {name: request.data[name] for name in ("amount", "currency", "payment_method")}
        return create_payment.respond(request, **asked)
