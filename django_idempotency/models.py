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
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.TextField(default="")
    body = models.BinaryField(null=True)
    claimed_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True, help_text=_("Until when the answer is replayed."))
    forget_at = models.DateTimeField(null=True, help_text=_("Until when the key is remembered."))
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
