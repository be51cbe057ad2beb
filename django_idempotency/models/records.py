from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Case, F, When
from django.utils.translation import gettext_lazy as _

from ..core.journal import NEVER
from ..core.states import State


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
    # Of a durable operation; empty for a view. The input is what the operation was first given, and is given again.
    operation = models.CharField(max_length=200, default="", db_default="")
    operation_input = models.BinaryField(null=True)
    operation_key_id = models.CharField(max_length=16, default="", db_default="")
    resume_at = models.DateTimeField(null=True, help_text=_("When upkeep may go on with it."))
    resumes = models.PositiveSmallIntegerField(default=0, db_default=0)
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
        permissions = [
            ("view_payload", "Can see what requests and answers hold"),
            ("replay", "Can send an answer again, and run a request again"),
            ("resolve", "Can record outcomes, and settle incidents"),
            ("release", "Can free the key of a dead request"),
            ("approve", "Can approve what another person has asked for"),
            ("export", "Can export lists"),
        ]
        # Every index is paid for on every request. `key` is an Index, not db_index: that would add a second one for LIKE.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["key"], name="djidempotency_record_key"),
            models.Index(fields=["state", "due_at"], name="djidempotency_record_due"),
        ]

    def __str__(self) -> str:
        return f"{self.key} ({self.scope})"


def never() -> datetime:
    """NEVER, as `resume_at` takes and has it: without USE_TZ, no time may know of its zone."""
    return NEVER if settings.USE_TZ else NEVER.replace(tzinfo=None)
