from __future__ import annotations

from django.apps import AppConfig
from django.core.signals import request_finished, setting_changed
from django.utils.translation import gettext_lazy as _


class IdempotencyConfig(AppConfig):
    name = "django_idempotency"
    verbose_name = _("Idempotency")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks, conf, incidents  # noqa: F401 - importing the checks registers them

        setting_changed.connect(conf.reset, dispatch_uid="django_idempotency.conf")
        request_finished.connect(incidents.write_waiting, dispatch_uid="django_idempotency.incidents")
