import json

from django.http import JsonResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from shop.models import Payment

from django_idempotency import idempotent


@csrf_exempt
@idempotent
def pay(request):
    payment = Payment.objects.create(amount=json.loads(request.body)["amount"])
    return JsonResponse({"id": payment.pk}, status=201)


class Refunds(View):
    @idempotent
    def post(self, request):
        refund = Payment.objects.create(amount=-json.loads(request.body)["amount"])
        return JsonResponse({"id": refund.pk}, status=201)


class Payouts(View):
    def post(self, request):
        payout = Payment.objects.create(amount=int(request.POST["amount"]))
        return JsonResponse({"id": payout.pk}, status=201)


@method_decorator(idempotent, name="post")
class Transfers(Payouts):
    """A view from somewhere else, protected without touching it."""


urlpatterns = [
    path("pay", pay),
    path("refunds", Refunds.as_view()),
    path("transfers", Transfers.as_view()),
    path("payouts", idempotent(Payouts.as_view())),
]
