from rest_framework.response import Response
from rest_framework.views import APIView
from shop.models import Payment

from django_idempotency import idempotent


class Payments(APIView):
    @idempotent("api")
    def post(self, request):
        payment = Payment.objects.create(amount=request.data["amount"])
        return Response({"id": payment.pk}, status=201)
