import json

from django.http import JsonResponse
from shop.models import Payment

from django_idempotency import idempotent


def record(amount):
    payment = Payment.objects.create(amount=amount)
    return JsonResponse({"id": payment.pk, "amount": amount}, status=201)


@idempotent(rerun=True)
async def pay(request):
    amount = json.loads(request.body)["amount"]
    return await request.idempotency.commit(record, amount)
