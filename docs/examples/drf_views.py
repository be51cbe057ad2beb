from datetime import timedelta

from rest_framework import mixins, serializers
from rest_framework.decorators import action, api_view
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet
from shop.models import Payment

from django_idempotency import idempotent


class PaymentSerializer(serializers.ModelSerializer):
    class Meta:
        model = Payment
        fields = ["id", "amount"]


class PaymentViewSet(mixins.CreateModelMixin, GenericViewSet):
    queryset = Payment.objects.all()
    serializer_class = PaymentSerializer

    # A method that DRF brings along.
    create = idempotent(mixins.CreateModelMixin.create)

    # Below @action.
    @action(detail=True, methods=["post"])
    @idempotent
    def refund(self, request, pk):
        payment = self.get_object()
        refund = Payment.objects.create(amount=-payment.amount)
        return Response({"id": refund.pk}, status=201)


# Below @api_view.
@api_view(["POST"])
@idempotent("webhooks", retention=timedelta(days=7))
def hook(request):
    payment = Payment.objects.create(amount=request.data["amount"])
    return Response({"id": payment.pk})
