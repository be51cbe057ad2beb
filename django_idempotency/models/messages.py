from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class IdempotencyMessage(models.Model):
    """
    The outbox: a call of a task, written in the transaction that it belongs to, and sent when that is committed.

    Written and sent by outbox/. Once delivered it holds nothing of what was sent.
    """

    class Target(models.TextChoices):
        CELERY = "celery", _("a task of Celery's")
        DJANGO = "django", _("a task of Django's")

    id = models.UUIDField(primary_key=True, editable=False)
    target = models.CharField(max_length=10, choices=Target.choices)
    task = models.CharField(max_length=255)
    payload = models.BinaryField(null=True)
    key_id = models.CharField(max_length=16, default="")
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(help_text=_("When it may be sent, or sent again."))
    attempts = models.PositiveIntegerField(default=0)
    delivered_at = models.DateTimeField(null=True)
    error = models.CharField(
        max_length=200, default="", help_text=_("Of the last attempt: the exception's name, never its text.")
    )

    class Meta:
        verbose_name = _("idempotency message")
        verbose_name_plural = _("idempotency messages")
        # For what is due, and for what is past its time: one begins where the first column is NULL, the other where not.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["delivered_at", "due_at"], name="djidempotency_message_due"),
        ]

    def __str__(self) -> str:
        return f"{self.id} to {self.task}"
