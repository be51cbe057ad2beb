from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class IdempotencyRollup(models.Model):
    """
    How often something has happened in one minute, or one hour: what the dashboard's charts are drawn from.

    Written by rollups/, never by a view. Times are whole minutes since 1970, because any database can divide those.
    """

    begins = models.PositiveIntegerField(help_text=_("The minute it begins with, counted from 1970 in UTC."))
    minutes = models.PositiveSmallIntegerField(help_text=_("How long it is: 1, or 60 once it is compacted."))
    measure = models.CharField(max_length=80, help_text=_("What was counted."))
    counter = models.PositiveBigIntegerField()

    class Meta:
        # The admin shows the rows as the dashboard, and in no other way: so that is what the permission is called after. By
        # its name, too, because the admin sorts by names, the dashboard is the first entry of the app.
        verbose_name = _("activity dashboard")
        verbose_name_plural = _("activity dashboard")
        default_permissions = ("view",)
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["begins", "minutes", "measure"], name="djidempotency_rollup_once"),
        ]

    def __str__(self) -> str:
        return f"{self.measure} from {datetime.fromtimestamp(self.begins * 60, UTC):%Y-%m-%d %H:%M}: {self.counter}"
