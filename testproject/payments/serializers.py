from typing import Any

from rest_framework import serializers

from . import services
from .models import Account, Payment, Refund


class AccountSerializer(serializers.ModelSerializer[Account]):
    balance = serializers.IntegerField(read_only=True)

    class Meta:
        model = Account
        fields = ["id", "name", "currency", "balance"]


class OwnAccountField(serializers.PrimaryKeyRelatedField[Account]):
    """Another merchant's account is as good as none."""

    def get_queryset(self) -> Any:
        return Account.objects.filter(owner=self.context["request"].user)


class OwnPaymentField(serializers.PrimaryKeyRelatedField[Payment]):
    def get_queryset(self) -> Any:
        return Payment.objects.filter(account__owner=self.context["request"].user)


class PaymentSerializer(serializers.ModelSerializer[Payment]):
    account = OwnAccountField()
    amount = serializers.IntegerField(min_value=1, max_value=10**12)
    card = serializers.RegexField(r"\A[0-9]{12,19}\Z", write_only=True)

    class Meta:
        model = Payment
        fields = ["id", "account", "amount", "currency", "card", "card_last4", "status", "charge"]
        read_only_fields = ["card_last4", "status", "charge"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["currency"] != attrs["account"].currency:
            raise serializers.ValidationError({"currency": "Not the account's currency."})
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Payment:
        del validated_data["currency"]
        return services.take_payment(**validated_data)


class CardPaymentSerializer(serializers.ModelSerializer[Payment]):
    account = OwnAccountField()
    amount = serializers.IntegerField(min_value=1, max_value=10**12)
    # A token of the gateway's. Digits only would be the number of a card.
    card = serializers.RegexField(r"\Atok_[A-Za-z0-9_]+\Z", max_length=100, write_only=True)

    class Meta:
        model = Payment
        fields = ["id", "account", "amount", "currency", "card", "status", "charge"]
        read_only_fields = ["currency", "status", "charge"]


class RefundSerializer(serializers.ModelSerializer[Refund]):
    payment = OwnPaymentField()
    amount = serializers.IntegerField(min_value=1, max_value=10**12)

    class Meta:
        model = Refund
        fields = ["id", "payment", "amount", "transfer"]
        read_only_fields = ["transfer"]

    def create(self, validated_data: dict[str, Any]) -> Refund:
        try:
            return services.give_refund(**validated_data)
        except services.RefundTooLarge as error:
            message = "More than what is left of the payment."
            raise serializers.ValidationError({"amount": message}) from error
