"""What this service has asked of others. In a module of its own, because the client's need httpx and the models must not."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class IdempotencyIntent(models.Model):
    """
    One intent that was about to be sent to another service: its key, and the parameters that the key belongs to.

    Written by `django_idempotency.client.DatabaseIntents` before the first byte is sent. A row may be deleted only when
    nobody will state its intent again: the service forgets keys too, and would then take the intent for a new one.
    """

    id = models.UUIDField(primary_key=True, editable=False, help_text=_("The key that is sent."))
    namespace = models.CharField(max_length=200)
    intent = models.TextField(help_text=_("A JSON list, as the caller stated it."))
    method = models.CharField(max_length=32)
    url = models.TextField(help_text=_("Without its query."))
    fingerprint = models.BinaryField(max_length=64)
    first_sent_at = models.DateTimeField(help_text=_("By the clock of the machine that was about to send it."))

    class Meta:
        verbose_name = _("idempotency intent")
        verbose_name_plural = _("idempotency intents")

    def __str__(self) -> str:
        return f"{self.intent} ({self.namespace})"
