"""Money is a whole number of minor units (cents) beside its currency, never a float."""

from django.conf import settings
from django.db import models


class Currency(models.TextChoices):
    EUR = "EUR"
    GBP = "GBP"
    USD = "USD"


class Account(models.Model):
    """Where a merchant's takings are kept. The ledger knows the balance; no column repeats it."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="accounts")
    name = models.CharField(max_length=100)
    currency = models.CharField(max_length=3, choices=Currency)

    def __str__(self) -> str:
        return self.name

    @property
    def balance(self) -> int:
        balance: int = self.entries.aggregate(total=models.Sum("amount", default=0))["total"]
        return balance


class Payment(models.Model):
    class Status(models.TextChoices):
        PENDING = "pending"
        PAID = "paid"
        DECLINED = "declined"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="payments")
    amount = models.PositiveBigIntegerField(help_text="In minor units.")
    currency = models.CharField(max_length=3, choices=Currency)
    card_last4 = models.CharField(max_length=4)
    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING)
    charge = models.CharField(max_length=40, blank=True, help_text="The gateway's name for it.")
    receipts = models.PositiveSmallIntegerField(default=0, help_text="How many were sent.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="payment_is_positive"),
        ]

    def __str__(self) -> str:
        return f"payment {self.pk}"

    @property
    def refundable(self) -> int:
        if self.status != self.Status.PAID:
            return 0
        refunded: int = self.refunds.aggregate(total=models.Sum("amount", default=0))["total"]
        return self.amount - refunded


class Refund(models.Model):
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    amount = models.PositiveBigIntegerField(help_text="In minor units.")
    transfer = models.CharField(max_length=40, blank=True, help_text="The gateway's name for it.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="refund_is_positive"),
        ]

    def __str__(self) -> str:
        return f"refund {self.pk}"


class LedgerEntry(models.Model):
    """One movement of money: a payment comes in, a refund goes out. Never changed, only added."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="entries")
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="entries")
    refund = models.ForeignKey(Refund, on_delete=models.PROTECT, related_name="entries", null=True, blank=True)
    amount = models.BigIntegerField(help_text="In minor units; negative for a refund.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "ledger entries"

    def __str__(self) -> str:
        return f"{self.refund or self.payment}: {self.amount}"
