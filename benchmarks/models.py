"""The tables that what is measured writes to."""

from django.db import models


class Payment(models.Model):
    user_id = models.BigIntegerField()
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField(auto_now_add=True)


class GatewayPayment(models.Model):
    """A payment in three steps: without a reference, the charge has not been recorded yet."""

    amount = models.BigIntegerField()
    reference = models.CharField(max_length=40)
