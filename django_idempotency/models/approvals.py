from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

GRANTED = ("approved", "done")


class IdempotencyApproval(models.Model):
    """
    An act that needs a second person: frozen as it was asked for, until another one grants or refuses it.

    Written by approvals.py. That the two are not the same, the database itself sees to.
    """

    class State(models.TextChoices):
        REQUESTED = "requested", _("waits for a second person")
        APPROVED = "approved", _("granted")
        REJECTED = "rejected", _("refused, or taken back")
        EXPIRED = "expired", _("nobody has granted it in time")
        DONE = "done", _("granted and done")

    act = models.CharField(max_length=40)
    record_id = models.UUIDField(null=True)
    incident_id = models.BigIntegerField(null=True)
    namespace = models.CharField(max_length=100)
    amount = models.DecimalField(max_digits=20, decimal_places=4, null=True)
    currency = models.CharField(max_length=16, default="")
    arguments = models.BinaryField(help_text=_("What the act is done with, as JSON."))
    arguments_key_id = models.CharField(max_length=16, default="")
    digest = models.CharField(max_length=64, help_text=_("Of the act with its arguments, keyed."))
    state = models.CharField(max_length=10, choices=State.choices)
    requester = models.CharField(max_length=200)
    requester_id = models.CharField(max_length=64, default="")
    # Of whoever has granted or refused it.
    approver = models.CharField(max_length=200, default="")
    approver_id = models.CharField(max_length=64, default="")
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("approval")
        verbose_name_plural = _("approvals")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=~Q(state__in=GRANTED)
                | (
                    ~Q(approver="")
                    & ~Q(approver_id="")
                    & ~Q(approver=F("requester"))
                    & ~Q(approver_id=F("requester_id"))
                ),
                name="djidempotency_approval_second_person",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["state", "expires_at"], name="djidempotency_approval_waiting"),
        ]

    def __str__(self) -> str:
        return f"{self.act} ({self.requester})"
