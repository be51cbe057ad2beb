"""The list of requests: Django's change list, with its filters, over the walks of listings.py."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..core.states import State
from ..lanes import Position, Wanted
from ..listings import COUNTED, Page, found, listed
from ..models import IdempotencyIncident
from .filters import ChosenFilter, Filter, NamespaceFilter

STATES = {
    State.PROCESSING.value: _("processing"),
    State.UNKNOWN.value: _("unknown"),
    State.COMPLETED.value: _("completed"),
    State.TOMBSTONE.value: _("tombstone"),
}
WINDOWS = {
    "1h": (timedelta(hours=1), _("the last hour")),
    "24h": (timedelta(hours=24), _("the last 24 hours")),
    "7d": (timedelta(days=7), _("the last 7 days")),
    "30d": (timedelta(days=30), _("the last 30 days")),
    "all": (None, _("all, by when they expire")),
}
USUAL = "24h"
PATIENCE = 2.0
"""Seconds for which it goes on looking, for somebody who has asked to look further back."""


class StateFilter(Filter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(STATES.items())


class WindowFilter(ChosenFilter):
    title = _("time")
    parameter_name = "window"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, title) for name, (_, title) in WINDOWS.items()]

    def value(self) -> str:
        chosen = super().value() or ""
        return chosen if chosen in WINDOWS else USUAL


class StatusFilter(Filter):
    title = _("status of the answer")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(digit, f"{digit}xx") for digit in "2345"]


class ScopeFilter(Filter):
    """There while one is chosen: by a click on the scope of a request."""

    title = _("scope")
    parameter_name = "scope"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        scope = request.GET.get("scope")
        return [(scope, scope)] if scope else []


FILTERS = [ScopeFilter, WindowFilter, StateFilter, StatusFilter, NamespaceFilter]


class RequestList(ChangeList):
    """One page of requests, in the form that Django's templates take."""

    page: Page

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        """All records. What is wanted of them is said by `wanted`: no condition on the table could be answered fast."""
        self.older, self.newer = self._taken("older"), self._taken("newer")
        self.filter_specs, self.has_filters, _, _, self.has_active_filters = self.get_filters(request)
        self.clear_all_filters_qs = self.get_query_string(remove=["scope", "window", "state", "status", "namespace"])
        return self.root_queryset

    def get_results(self, request: HttpRequest) -> None:
        self.by_key = bool(self.query) and self._hits()
        if not self.by_key:
            self.page = self._page()
        self.result_list = self.page.records
        self.result_count = self.full_result_count = len(self.result_list)
        self.most_counted = self.list_per_page if self.by_key else COUNTED
        self.counted_out = self.page.counted > self.most_counted
        self.paged = self.page.newer is not None
        self.show_full_result_count = self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        if request.user.has_perm("django_idempotency.view_idempotencyincident"):
            self._count_incidents()

    @property
    def wanted(self) -> Wanted:
        """What the filters and, where it is no key and no id, the search ask for."""
        specs: list[Any] = self.filter_specs
        chosen = {spec.parameter_name: spec.value() or "" for spec in specs}
        status = chosen.get("status", "")
        return Wanted(
            state=chosen["state"],
            window=WINDOWS[chosen["window"]][0],
            namespace=chosen.get("namespace", ""),
            scope=self.query or chosen.get("scope", ""),
            status=int(status) if status in list("12345") else 0,
        )

    def older_url(self) -> str:
        return self.get_query_string({"older": str(self.page.older)})

    def newer_url(self) -> str:
        return self.get_query_string({"newer": str(self.page.newer)})

    def _taken(self, name: str) -> Position | None:
        """A position out of the address, so that no link takes it over."""
        self.filter_params.pop(name, None)
        return Position.read(self.params.pop(name, ""))

    def _hits(self) -> bool:
        """Whether the search is for a key or an id: then these are the page; scope and namespace narrow it."""
        chosen = {name: self.filter_params[name][-1] for name in ("scope", "namespace") if name in self.filter_params}
        records = self.root_queryset.none() if "\0" in "".join(chosen.values()) else self.root_queryset.filter(**chosen)
        hits = found(records, self.query, limit=self.list_per_page)
        self.page = Page(records=hits[: self.list_per_page], counted=len(hits), until=None, newer=None, older=None)
        return bool(hits)

    def _page(self) -> Page:
        records, limit = self.root_queryset, self.list_per_page
        seconds = PATIENCE if self.older else 0
        page = listed(records, self.wanted, limit=limit, older=self.older, newer=self.newer, seconds=seconds)
        if self.newer and page.newer is None:
            # Fewer than a page: the first one, which also has what came since.
            return listed(records, self.wanted, limit=limit)
        return page

    def _count_incidents(self) -> None:
        of_page = IdempotencyIncident._base_manager.using(self.root_queryset.db).filter(
            record_id__in=[record.pk for record in self.result_list]
        )
        counts = Counter(of_page.values_list("record_id", flat=True))
        for record in self.result_list:
            record.incidents = counts[record.pk]
