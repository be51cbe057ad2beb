"""The payment view, bare: one INSERT in autocommit, one small JSON answer."""

from django.contrib.auth.models import User
from django.db import transaction
from rest_framework import serializers, status
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks.models import Payment

USER_ID = 1


class KnownUser(BaseAuthentication):
    """Everybody is the same user, and no statement is spent on finding out."""

    def authenticate(self, request: Request) -> tuple[User, None]:
        return User(pk=USER_ID, username="payer"), None


class PaymentSerializer(serializers.Serializer[Payment]):
    amount = serializers.DecimalField(max_digits=12, decimal_places=2)
    currency = serializers.CharField(min_length=3, max_length=3)


class PaymentView(APIView):
    authentication_classes = [KnownUser]
    permission_classes = [IsAuthenticated]
    database = "default"

    def post(self, request: Request) -> Response:
        asked = PaymentSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        payments = Payment.objects.using(self.database)
        payment = payments.create(user_id=request.user.pk, **asked.validated_data)
        answer = {"id": payment.pk, "status": "captured", **asked.data}
        return Response(answer, status=status.HTTP_201_CREATED)


class AtomicPaymentView(PaymentView):
    """The same work with its INSERT in a transaction, as careful views have it."""

    def post(self, request: Request) -> Response:
        with transaction.atomic(using=self.database):
            return super().post(request)
