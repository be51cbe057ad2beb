"""The browsable API of Django REST framework. Apart from drf.py, because DRF loads renderers while it loads its views."""

from __future__ import annotations

from typing import Any

from django.utils.html import format_html
from rest_framework.renderers import BrowsableAPIRenderer

from .templatetags.idempotency import idempotency_key


class IdempotentBrowsableAPIRenderer(BrowsableAPIRenderer):
    """DRF's browsable API, whose HTML forms carry a key, a fresh one each time that they are shown."""

    def render_form_for_serializer(self, serializer: Any) -> Any:
        form = super().render_form_for_serializer(serializer)
        return form and format_html("{}{}", idempotency_key(), form)
