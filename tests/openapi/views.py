"""Every way of putting `idempotent` and `extend_schema` on a view, and what stays unprotected beside them."""

import functools
from datetime import timedelta

from django.utils.decorators import method_decorator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, mixins, serializers
from rest_framework.decorators import action, api_view
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet, ModelViewSet, ViewSet

from django_idempotency import idempotent
from django_idempotency.openapi import IdempotentAutoSchemaMixin
from tests.bank.models import Payment


class PaymentSerializer(serializers.ModelSerializer):
    class Meta:
        model = Payment
        fields = ["id", "amount"]


class Base:
    queryset = Payment.objects.all()
    serializer_class = PaymentSerializer


described = extend_schema(summary="Described", request=PaymentSerializer, responses={201: PaymentSerializer})


def traced(view):
    """Somebody else's decorator."""

    @functools.wraps(view)
    def wrapper(*args, **kwargs):
        return view(*args, **kwargs)

    return wrapper


def pay(request):
    return Response(PaymentSerializer(Payment.objects.create(amount=request.data.get("amount", 0), nonce="")).data, 201)


class Above(APIView):
    @described
    @idempotent
    def post(self, request):
        return pay(request)

    @described
    def put(self, request):
        return pay(request)


class Below(APIView):
    @idempotent
    @described
    def post(self, request):
        return pay(request)


class Wrapped(APIView):
    @traced
    @described
    @traced
    @idempotent
    @traced
    def post(self, request):
        return pay(request)


@described
@api_view(["POST", "PUT", "GET"])
@idempotent
def function(request):
    return pay(request)


@api_view(["POST"])
@described
@idempotent
def function_described_below(request):
    return pay(request)


@method_decorator(idempotent, name="post")
class ByName(Above):
    @described
    def post(self, request):
        return pay(request)


class Actions(Base, ViewSet):
    @described
    @action(detail=False, methods=["post", "get"])
    @idempotent
    def above(self, request):
        return pay(request)

    @action(detail=False, methods=["post"])
    @described
    @idempotent
    def below(self, request):
        return pay(request)

    @below.mapping.delete
    def cancel(self, request):
        return pay(request)

    @above.mapping.delete
    @idempotent
    @extend_schema(summary="Protected by itself", request=None, responses={204: None})
    def revoke(self, request):
        return pay(request)

    @action(detail=False, methods=["post"])
    @described
    def bare(self, request):
        return pay(request)


class Assigned(Base, mixins.CreateModelMixin, mixins.ListModelMixin, GenericViewSet):
    create = idempotent(mixins.CreateModelMixin.create)


class Models(Base, ModelViewSet):
    update = idempotent(mixins.UpdateModelMixin.update)


@extend_schema_view(create=described)
class InheritedAndDescribed(Assigned):
    pass


class Created(Base, generics.CreateAPIView):
    create = idempotent(mixins.CreateModelMixin.create)


class Posted(Base, generics.ListCreateAPIView):
    post = idempotent(generics.ListCreateAPIView.post)


class OwnPost(Created):
    """Overrides what would have led to the protected method, and does not call it."""

    @described
    def post(self, request):
        return pay(request)


class Event(APIView):
    @described
    @idempotent(key=lambda request: request.data["id"])
    def post(self, request):
        return pay(request)


class Optional(APIView):
    @extend_schema(request=PaymentSerializer, responses={201: PaymentSerializer, 400: OpenApiTypes.OBJECT})
    @idempotent("keys", required=False, retention=timedelta(hours=1))
    def post(self, request):
        return pay(request)


class OwnErrors(APIView):
    @described
    @idempotent("errors")
    def post(self, request):
        return pay(request)


BY_HAND = {"operationId": "mine", "responses": {"200": {"description": "paid"}}}


class ByHand(APIView):
    @extend_schema(operation=BY_HAND)
    @idempotent
    def post(self, request):
        return pay(request)


class OwnSchema(IdempotentAutoSchemaMixin, AutoSchema):
    def get_tags(self):
        return ["ours"]


class Tagged(Base, generics.CreateAPIView):
    schema = OwnSchema()
    create = idempotent(mixins.CreateModelMixin.create)


class OwnHeader(APIView):
    @extend_schema(
        parameters=[OpenApiParameter("idempotency-key", location="header", description="Ours")],
        request=PaymentSerializer,
        responses={201: PaymentSerializer},
    )
    @idempotent
    def post(self, request):
        return pay(request)
