from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Case, F, When
from django.utils.translation import gettext_lazy as _

from .core.states import State


class IdempotencyRecord(models.Model):
    """
    What is stored for one (namespace, scope, key).

    No foreign key may point here: inserting one would wait for the lock under which the view runs.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    namespace = models.CharField(max_length=100)
    scope = models.TextField()
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=64)
    state = models.CharField(max_length=10, choices=[(state.value, state.value) for state in State])
    claim = models.BigIntegerField()
    token = models.IntegerField(default=0)
    method = models.CharField(max_length=32)
    path = models.TextField()
    request_headers = models.TextField(default="", db_default="")
    request_body = models.BinaryField(null=True)
    request_whole = models.BooleanField(
        null=True, help_text=_("Whether the request could be sent again as it is stored.")
    )
    request_key_id = models.CharField(max_length=16, default="", db_default="")
    amount = models.DecimalField(max_digits=20, decimal_places=4, null=True)
    currency = models.CharField(max_length=16, default="", db_default="")
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.TextField(default="")
    body = models.BinaryField(null=True)
    body_key_id = models.CharField(max_length=16, default="", db_default="")
    claimed_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True, help_text=_("Until when the answer is replayed."))
    forget_at = models.DateTimeField(null=True, help_text=_("Until when the key is remembered."))
    lease_until = models.DateTimeField(null=True)
    # When upkeep has to look at the row next; one index over it serves purge and recover alike.
    due_at = models.GeneratedField(
        expression=Case(
            When(state=State.COMPLETED.value, then=F("expires_at")),
            When(state=State.TOMBSTONE.value, then=F("forget_at")),
            default=F("claimed_at"),
        ),
        output_field=models.DateTimeField(null=True),
        db_persist=True,
    )

    class Meta:
        verbose_name = _("idempotency record")
        verbose_name_plural = _("idempotency records")
        # Every index is paid for on every request. `key` is an Index, not db_index: that would add a second one for LIKE.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["key"], name="djidempotency_record_key"),
            models.Index(fields=["state", "due_at"], name="djidempotency_record_due"),
        ]

    def __str__(self) -> str:
        return f"{self.key} ({self.scope})"


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

    class Meta:
        verbose_name = _("idempotency incident")
        verbose_name_plural = _("idempotency incidents")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["record_id", "kind", "fingerprint"], name="djidempotency_incident_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["healed_at", "last_seen"], name="djidempotency_incident_open"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key} ({self.scope})"
