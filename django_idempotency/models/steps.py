from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class IdempotencyStep(models.Model):
    """
    The journal of a durable operation: one row for each step, in the order in which they ran.

    Written by operations/, never by a view. A remote call without a result was sent, perhaps, and nobody has heard of it.
    """

    class Kind(models.TextChoices):
        PHASE = "phase", _("a transaction here")
        REMOTE = "remote", _("a call to another system")

    pk = models.CompositePrimaryKey("record_id", "position")
    record_id = models.UUIDField()
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    input = models.BinaryField(null=True)
    input_key_id = models.CharField(max_length=16, default="")
    result = models.BinaryField(null=True)
    result_key_id = models.CharField(max_length=16, default="")
    status = models.PositiveSmallIntegerField(null=True, help_text=_("Of the answer, where the result is one."))
    gateway_key = models.CharField(max_length=36, default="", help_text=_("What the other system knows the call by."))
    key_ttl = models.DurationField(null=True, help_text=_("How long the other system honours that key."))
    requested_at = models.DateTimeField(null=True, help_text=_("When it was first about to be sent."))
    finished_at = models.DateTimeField(null=True)
    evidence = models.TextField(default="", help_text=_("How a person knew the outcome."))
    resolved_by = models.CharField(max_length=200, default="")

    class Meta:
        verbose_name = _("step of an operation")
        verbose_name_plural = _("steps of operations")

    def __str__(self) -> str:
        return f"{self.record_id} {self.position} {self.name}"
