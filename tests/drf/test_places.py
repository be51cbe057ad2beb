"""Every way of putting `idempotent` on a DRF view, right and wrong."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.decorators import method_decorator
from rest_framework import mixins, serializers
from rest_framework.decorators import action, api_view
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet, ViewSet

from django_idempotency import idempotent
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment
from tests.drf.views import pay, view_of

pytestmark = pytest.mark.django_db


class PaymentSerializer(serializers.ModelSerializer):
    class Meta:
        model = Payment
        fields = ["id", "amount"]


class Plain(APIView):
    def post(self, request, *args, **kwargs):
        return pay(request, *args, **kwargs)


class OnMethod(APIView):
    @idempotent("default", required=True)
    def post(self, request):
        return pay(request)


class InViewSet(ViewSet):
    @idempotent
    def create(self, request):
        return pay(request)

    @action(detail=False, methods=["post"])
    @idempotent
    def refund(self, request):
        return pay(request)


class Payments(mixins.CreateModelMixin, GenericViewSet):
    queryset = Payment.objects.all()
    serializer_class = PaymentSerializer


class Assigned(Payments):
    create = idempotent(mixins.CreateModelMixin.create)


@method_decorator(idempotent, name="create")
class ByName(Payments):
    pass


@method_decorator(idempotent, name="post")
class PostByName(Plain):
    pass


@api_view(["POST"])
@idempotent
def function(request):
    return pay(request)


@api_view(["POST"])
@idempotent(required=True)
def function_with_arguments(request):
    return pay(request)


PLACES = {
    "a method": view_of(),
    "a method, with arguments": OnMethod.as_view(),
    "a ViewSet's method": InViewSet.as_view({"post": "create"}),
    "an action": InViewSet.as_view({"post": "refund"}),
    "an assigned create": Assigned.as_view({"post": "create"}),
    "create by name": ByName.as_view({"post": "create"}),
    "post by name": PostByName.as_view(),
    "below api_view": function,
    "below api_view, with arguments": function_with_arguments,
}


@pytest.mark.parametrize("view", PLACES.values(), ids=PLACES)
class TestPlaces:
    def test_it_runs_once_and_is_replayed(self, view, post):
        first, again = post(view), post(view)
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.content == again.content
        assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
        assert Payment.objects.count() == 1

    def test_another_payload_is_refused(self, view, post):
        post(view)
        assert post(view, {"amount": 6}).status_code == 422

    def test_a_request_without_a_key_is_refused(self, view, post):
        refused = post(view, key=None)
        assert (refused.status_code, refused["Content-Type"]) == (400, "application/problem+json")
        assert Payment.objects.count() == 0


class TestRefusedAtImport:
    @pytest.mark.parametrize(
        "view",
        [Plain.as_view(), InViewSet.as_view({"post": "create"}), api_view(["POST"])(pay), Plain().dispatch],
        ids=["round as_view", "round a ViewSet's", "above api_view", "round a bound dispatch"],
    )
    @pytest.mark.parametrize("decorate", [idempotent, idempotent("default")], ids=["bare", "called"])
    def test_round_a_drf_view(self, decorate, view):
        with pytest.raises(ImproperlyConfigured, match="would answer before authentication") as raised:
            decorate(view)
        assert "@api_view(['POST'])\n    @idempotent\n" in str(raised.value)

    @pytest.mark.parametrize("view", [APIView, InViewSet])
    def test_on_a_drf_class(self, view):
        with pytest.raises(TypeError, match="goes on a view function or a method"):
            idempotent(view)


def opaque(request):
    """Stand for a decorator that hides what it is put round."""
    return Plain.as_view()(request)


class OwnDispatch(Plain):
    @idempotent
    def dispatch(self, request, *args, **kwargs):
        return super().dispatch(request, *args, **kwargs)


@method_decorator(idempotent, name="dispatch")
class NamedDispatch(Plain):
    pass


class TestRefusedAtRequestTime:
    @pytest.mark.parametrize("view", [OwnDispatch, NamedDispatch])
    def test_on_dispatch_before_any_claim(self, view, post, django_assert_num_queries):
        with django_assert_num_queries(0), pytest.raises(ImproperlyConfigured, match="before authentication"):
            post(view.as_view())

    def test_round_what_hid_a_drf_view_nothing_is_kept(self, post):
        with pytest.raises(ImproperlyConfigured, match="before authentication"):
            post(idempotent(opaque))
        assert not Payment.objects.exists()
        assert not IdempotencyRecord.objects.exists()
