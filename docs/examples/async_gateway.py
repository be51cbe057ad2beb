import json

from asgiref.sync import sync_to_async
from django.http import JsonResponse
from django.views import View
from shop import gateway
from shop.models import Payment

from django_idempotency import idempotent

charge = sync_to_async(gateway.charge, thread_sensitive=False)


def record(amount, outcome):
    if outcome == "declined":
        return JsonResponse({"code": "declined"}, status=402)
    payment = Payment.objects.create(amount=amount)
    return JsonResponse({"id": payment.pk, "amount": amount}, status=201)


class Payments(View):
    @idempotent(rerun=True)
    async def post(self, request):
        amount = json.loads(request.body)["amount"]
        outcome = await charge(amount, idempotency_key=request.idempotency.derive("charge"))
        return await request.idempotency.commit(record, amount, outcome)
