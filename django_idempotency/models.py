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
        # Every index is paid for on every request. `key` is an Index, not db_index: that would add a second one for LIKE.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["key"], name="djidempotency_record_key"),
            models.Index(fields=["state", "due_at"], name="djidempotency_record_due"),
        ]

    def __str__(self) -> str:
        return f"{self.key} ({self.scope})"


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


from .intents import IdempotencyIntent  # noqa: E402, F401 - Django looks for models here


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
