from __future__ import annotations

from django.apps import AppConfig
from django.core.signals import request_finished, request_started, setting_changed
from django.utils.translation import gettext_lazy as _


class IdempotencyConfig(AppConfig):
    name = "django_idempotency"
    verbose_name = _("Idempotency")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks, conf, incidents  # noqa: F401 - importing the checks registers them
        from .rollups.counts import STARTED, counts

        setting_changed.connect(conf.reset, dispatch_uid="django_idempotency.conf")
        request_finished.connect(incidents.write_waiting, dispatch_uid="django_idempotency.incidents")
        request_started.connect(counts.begin, dispatch_uid=STARTED)
