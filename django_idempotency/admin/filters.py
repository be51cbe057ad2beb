"""What the filters of the desk's lists have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..conf import get_policy, profiles


class Filter(SimpleListFilter):
    """Read by the desk's own change lists; Django's would filter the table."""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset


class ChosenFilter(Filter):
    """One of which something is always chosen: none of its links means all."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield from list(super().choices(changelist))[1:]


class NamespaceFilter(Filter):
    title = _("namespace")
    parameter_name = "namespace"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        # Also one that no profile has any more.
        known = {get_policy(name).namespace for name in profiles()} | {*request.GET.getlist("namespace")}
        return [(name, name) for name in sorted(known) if name] if len(known) > 1 else []
