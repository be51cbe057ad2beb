"""A payments API as its schema tells it, for a client that believes the schema and tries what it does not say."""

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework import parsers, renderers, serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from django_idempotency import idempotent
from tests.bank.models import Payment


class PaymentSerializer(serializers.ModelSerializer):
    amount = serializers.IntegerField(min_value=1, max_value=1000)

    class Meta:
        model = Payment
        fields = ["id", "amount"]


class Payments(APIView):
    parser_classes = [parsers.JSONParser]
    renderer_classes = [renderers.JSONRenderer]

    @extend_schema(
        request=PaymentSerializer, responses={201: PaymentSerializer, (400, "application/json"): OpenApiTypes.OBJECT}
    )
    @idempotent
    def post(self, request):
        asked = PaymentSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        asked.save(nonce="", key=request.idempotency.key)
        return Response(asked.data, status=201)


urlpatterns = [
    path("plain/ready", lambda request: HttpResponse("ready")),
    path("schema", SpectacularAPIView.as_view()),
    path("payments", Payments.as_view()),
]
