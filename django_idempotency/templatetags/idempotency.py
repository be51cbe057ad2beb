from __future__ import annotations

from uuid import uuid4

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ..bodies import KEY_FIELD

register = template.Library()


@register.simple_tag
def idempotency_key() -> SafeString:
    """
    A hidden field with a key of its own for each rendering of a form: submitted twice, the form takes effect once.

    A form that is shown again with its errors has a new key: corrected, it is another request.
    """
    return format_html('<input type="hidden" name="{}" value="{}">', KEY_FIELD, uuid4())
