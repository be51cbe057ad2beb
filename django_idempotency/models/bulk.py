from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class IdempotencyBulk(models.Model):
    """One act on several records or incidents that a person has chosen. Written by bulk.py."""

    act = models.CharField(max_length=40)
    reason = models.TextField()
    requester = models.CharField(max_length=200)
    requester_id = models.CharField(max_length=64, default="")
    address = models.CharField(max_length=200, default="")
    language = models.CharField(max_length=16, help_text=_("In which it says what has become of each."))
    requested_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True, help_text=_("When a person has stopped it."))
    stopped_by = models.CharField(max_length=200, default="")

    class Meta:
        verbose_name = _("bulk act")
        verbose_name_plural = _("bulk acts")
        default_permissions = ()
        # For the purge.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["requested_at"], name="djidempotency_bulk_requested"),
        ]

    def __str__(self) -> str:
        return f"{self.act} ({self.requester})"


class IdempotencyBulkRow(models.Model):
    """One of them, as it was seen, and what has become of it."""

    class State(models.TextChoices):
        WAITING = "waiting", _("not begun")
        BEGUN = "begun", _("begun")
        DONE = "done", _("done")
        ASKED = "asked", _("waits for a second person")
        REFUSED = "refused", _("refused")
        FAILED = "failed", _("failed")

    bulk = models.ForeignKey(IdempotencyBulk, models.CASCADE, related_name="rows")
    record_id = models.UUIDField(null=True)
    incident_id = models.BigIntegerField(null=True)
    seen = models.BigIntegerField(help_text=_("Its claim or its counter when it was chosen."))
    key = models.CharField(max_length=255)
    amount = models.DecimalField(max_digits=20, decimal_places=4, null=True)
    currency = models.CharField(max_length=16, default="")
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    said = models.TextField(default="")
    approval_id = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = _("row of a bulk act")
        verbose_name_plural = _("rows of bulk acts")
        default_permissions = ()
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["bulk", "record_id"], name="djidempotency_bulk_record_once"),
            models.UniqueConstraint(fields=["bulk", "incident_id"], name="djidempotency_bulk_incident_once"),
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.state}"
