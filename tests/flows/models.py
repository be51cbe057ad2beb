"""What `shop.models` is in the examples of longer flows. In no installed app: the tests make the tables."""

from django.db import models


class Invoice(models.Model):
    subscription = models.CharField(max_length=40)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    until = models.DateField()
    status = models.CharField(max_length=40, default="open")

    class Meta:
        app_label = "flows"


class Settlement(models.Model):
    payee = models.CharField(max_length=40)
    rate = models.CharField(max_length=20)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=40, default="open")

    class Meta:
        app_label = "flows"


class LedgerEntry(models.Model):
    reference = models.CharField(max_length=40)
    account = models.CharField(max_length=20)
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField()

    class Meta:
        app_label = "flows"


TABLES = (Invoice, Settlement, LedgerEntry)
