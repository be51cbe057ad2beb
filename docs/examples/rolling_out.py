import logging

from django.dispatch import receiver
from rest_framework.response import Response
from rest_framework.views import APIView
from shop.models import Payment

from django_idempotency import idempotent, signals

logger = logging.getLogger("shop")


class Payments(APIView):
    @idempotent(required=False)
    def post(self, request):
        payment = Payment.objects.create(amount=request.data["amount"])
        return Response({"id": payment.pk}, status=201)


@receiver(signals.missing)
def count_clients_without_keys(sender, request, **kwargs):
    logger.warning("%s sends no key", request.headers.get("User-Agent", "somebody"))
