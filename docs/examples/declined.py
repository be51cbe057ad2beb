from django.http import JsonResponse
from shop.models import Payment

from django_idempotency import Kept, idempotent


def charge(amount):
    if amount == 402:
        raise Kept(JsonResponse({"code": "declined"}, status=402))


@idempotent
def pay(request):
    payment = Payment.objects.create(amount=int(request.POST["amount"]))
    charge(payment.amount)
    return JsonResponse({"id": payment.pk}, status=201)
