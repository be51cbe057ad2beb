"""The right view on DRF."""

import uuid

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_idempotency import idempotent
from tests.bank.models import Payment


class Payments(APIView):
    @idempotent
    def post(self, request: Request) -> Response:
        payment = Payment.objects.create(nonce=uuid.uuid4(), amount=request.data["amount"])
        return Response({"nonce": payment.nonce}, status=201)
