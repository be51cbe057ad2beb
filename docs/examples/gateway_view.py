from rest_framework.response import Response
from rest_framework.views import APIView
from shop import gateway
from shop.models import Payment

from django_idempotency import idempotent


class Payments(APIView):
    @idempotent
    def post(self, request):
        amount = request.data["amount"]
        outcome = gateway.charge(amount, idempotency_key=request.idempotency.derive("charge"))
        if outcome == "declined":
            return Response({"code": "declined"}, status=402)
        payment = Payment.objects.create(amount=amount)
        return Response({"id": payment.pk, "amount": amount}, status=201)
