from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Case, F, When
from django.utils.translation import gettext_lazy as _


class IdempotencyIncident(models.Model):
    """
    What the staff has to look at: one row for each record, kind and fingerprint, however often it happens.

    The record may be gone; its id is a plain column. Written by incidents.py, never by a view.
    """

    class Kind(models.TextChoices):
        MISMATCH = "mismatch", _("another payload under the same key")
        FAILED = "failed", _("the request failed")
        ABANDONED = "abandoned", _("its owner died and nobody has retried")
        UNKNOWN = "unknown", _("its outcome is unknown")

    class Decision(models.TextChoices):
        STANDS = "original-stands", _("the first request stands, the other one is dropped")
        CLIENT_ERROR = "client-error", _("a fault of the client's")
        SETTLED = "settled-outside", _("settled in another way")
        CLOSED = "close", _("nothing is left to do")
        RUN = "run-refused", _("the other one was run under a key of its own")

    kind = models.CharField(max_length=20, choices=Kind.choices)
    record_id = models.UUIDField()
    # In hexadecimal: MariaDB cannot have a column of bytes in a unique index.
    fingerprint = models.CharField(max_length=128)
    namespace = models.CharField(max_length=100)
    scope = models.TextField()
    key = models.CharField(max_length=255)
    method = models.CharField(max_length=32)
    path = models.TextField()
    error = models.CharField(
        max_length=200, default="", help_text=_("The exception's name or the status, never its text.")
    )
    request_headers = models.TextField(default="")
    request_body = models.BinaryField(null=True)
    request_whole = models.BooleanField(
        null=True, help_text=_("Whether the request could be sent again as it is stored.")
    )
    request_key_id = models.CharField(max_length=16, default="")
    # So that what staff runs is what the client has asked, and so that two that were refused are told apart.
    request_fingerprint = models.CharField(
        max_length=128, default="", db_default="", help_text=_("Of a mismatch: the other request's.")
    )
    # Of a mismatch: the request to which the key belongs, beside the other one above.
    first_headers = models.TextField(default="")
    first_body = models.BinaryField(null=True)
    first_key_id = models.CharField(max_length=16, default="")
    amount = models.DecimalField(max_digits=20, decimal_places=4, null=True)
    currency = models.CharField(max_length=16, default="")
    counter = models.PositiveBigIntegerField(default=1, help_text=_("How often it has happened."))
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    healed_at = models.DateTimeField(null=True, help_text=_("When its key was seen to have completed after all."))
    # For the index by kind: PostgreSQL takes a condition on NULL for no part of an order, and would sort all that is open.
    open_since = models.GeneratedField(
        expression=Case(When(healed_at=None, then=F("first_seen"))),
        output_field=models.DateTimeField(null=True),
        db_persist=True,
    )
    assignee = models.CharField(max_length=200, default="", db_default="", help_text=_("Who sees to it."))
    assignee_id = models.CharField(max_length=64, default="", db_default="")
    # Of a person who has closed it; empty while it is open, and where it has healed.
    decision = models.CharField(max_length=20, choices=Decision.choices, default="", db_default="")
    reference = models.CharField(max_length=200, default="", db_default="")

    class Meta:
        verbose_name = _("idempotency incident")
        verbose_name_plural = _("idempotency incidents")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["record_id", "kind", "fingerprint"], name="djidempotency_incident_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["healed_at", "last_seen"], name="djidempotency_incident_open"),
            # For the dashboard: how many of a kind are open, and since when.
            models.Index(fields=["kind", "open_since"], name="djidempotency_incident_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key} ({self.scope})"
