"""The one table that the measured view writes to."""

from django.db import models


class Payment(models.Model):
    user_id = models.BigIntegerField()
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField(auto_now_add=True)
