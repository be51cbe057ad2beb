from django.db.transaction import non_atomic_requests
from django.utils.decorators import method_decorator
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.views import APIView
from shop.models import Payment

from django_idempotency import idempotent


@method_decorator(non_atomic_requests, name="dispatch")
class Payments(APIView):
    @idempotent
    def post(self, request):
        payment = Payment.objects.create(amount=request.data["amount"])
        return Response({"id": payment.pk}, status=201)


@non_atomic_requests
@api_view(["POST"])
@idempotent
def pay(request):
    payment = Payment.objects.create(amount=request.data["amount"])
    return Response({"id": payment.pk}, status=201)
