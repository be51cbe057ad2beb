from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.db import models
from django.utils.translation import gettext_lazy as _

UNCHANGED = "An event of the audit is never changed and never deleted."


class Events(models.QuerySet[Any]):
    """The events. What would change or delete some raises TypeError."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(UNCHANGED)

    update = delete = bulk_update = bulk_create = _refuse


class IdempotencyEvent(models.Model):
    """
    What a person has done, and what was done about it: appended by audit.py, never changed and never deleted.

    Who it was stands here as text: the history of a member of staff survives the account. `before` and `after` are JSON,
    without anything of a payload.
    """

    sequence = models.BigIntegerField(primary_key=True, editable=False)
    at = models.DateTimeField()
    actor = models.CharField(max_length=200, help_text=_("The name under which somebody has logged in, or gave."))
    actor_id = models.CharField(max_length=64, default="", help_text=_("The user's primary key; empty without one."))
    address = models.CharField(
        max_length=200, default="", help_text=_("Where from: a network address, a command line.")
    )
    act = models.CharField(max_length=40)
    record_id = models.UUIDField(null=True)
    incident_id = models.BigIntegerField(null=True)
    approval_id = models.BigIntegerField(null=True)
    reason = models.TextField(default="")
    evidence = models.TextField(default="")
    before = models.TextField(default="{}")
    after = models.TextField(default="{}")
    previous = models.CharField(max_length=80, help_text=_("The digest of the event before this one."))
    # With the version of the rule that it was made by in front: see RULES in audit.py, and there what a new column needs.
    digest = models.CharField(max_length=80)

    objects = Events.as_manager()

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        base_manager_name = "objects"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["record_id"], name="djidempotency_event_record"),
            models.Index(fields=["actor"], name="djidempotency_event_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.act} ({self.actor})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Append it. Raises TypeError where it is there already."""
        if not self._state.adding:
            raise TypeError(UNCHANGED)
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(UNCHANGED)


class IdempotencyHead(models.Model):
    """
    Where the chain of events ends: one row, which is locked while an event is appended.

    Whoever cuts off the end of the chain can put this right, too. So it is exported: see audit.py.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, editable=False)
    sequence = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=80, default="")

    class Meta:
        verbose_name = _("head of the audit")
        verbose_name_plural = _("heads of the audit")

    def __str__(self) -> str:
        return f"{self.sequence} {self.digest}"
