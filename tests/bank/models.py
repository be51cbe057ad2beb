"""The ledger: one row per effect, with no constraint that would hide a second one."""

from django.db import models


class Payment(models.Model):
    """An effect. `nonce` tells two runs of one key apart."""

    key = models.CharField(max_length=300, db_index=True)
    user = models.CharField(max_length=50, default="")
    amount = models.IntegerField(default=0)
    nonce = models.CharField(max_length=36)

    def __str__(self) -> str:
        return f"{self.amount} under {self.key}"
