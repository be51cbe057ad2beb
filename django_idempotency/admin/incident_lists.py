"""The inbox: Django's change list, with its filters, over the groups of inbox.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from .. import inbox
from ..inbox import Group, Wanted, groups
from ..models import IdempotencyIncident
from ..payloads import visible
from ..timelines import lasted, money
from .filters import ChosenFilter, Filter, NamespaceFilter

SHOWN = 10
"""Of each kind, where all kinds are listed; of one kind it is a whole page."""


class KindFilter(Filter):
    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(IdempotencyIncident.Kind.choices)


class StateFilter(ChosenFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("open", _("open")), ("closed", _("closed"))]

    def value(self) -> str:
        return "closed" if super().value() == "closed" else "open"


class AssigneeFilter(Filter):
    title = _("assignee")
    parameter_name = "assigned"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("me", _("me")), ("nobody", _("nobody"))]


FILTERS = [KindFilter, StateFilter, AssigneeFilter, NamespaceFilter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An incident as it is listed."""

    incident: IdempotencyIncident
    request: str
    scope: str
    money: str
    age: str
    mine: bool
    """Whether whoever looks at it sees to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A group with what the template says of it."""

    group: Group
    rows: list[Row]
    title: Any
    number: str
    all_url: str
    """Where the rest of it is; empty where all of it is here, or one page after the other."""
    newer_url: str
    older_url: str


class IncidentList(ChangeList):
    """One page of incidents, in the form that Django's templates take."""

    sections: list[Section]

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        """All incidents. What is wanted of them is said by `wanted`."""
        self.user_id = str(request.user.pk)
        self.filter_specs, self.has_filters, _, _, self.has_active_filters = self.get_filters(request)
        self.clear_all_filters_qs = self.get_query_string(remove=["kind", "state", "assigned", "namespace"])
        return self.root_queryset

    def get_results(self, request: HttpRequest) -> None:
        # One group alone has pages.
        alone = bool(self.wanted.kind) or self.wanted.closed
        self.page_num = max(self.page_num, 1) if alone else 1
        limit = self.list_per_page if alone else SHOWN
        found = groups(self.root_queryset, self.wanted, limit=limit, page=self.page_num)
        self.sections = [self._section(group, alone=alone) for group in found]
        self.cut = not self.wanted.closed and any(group.more for group in found)
        self.most_looked_at = inbox.LOOKED_AT
        self.result_list = [incident for group in found for incident in group.incidents]
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = self.show_admin_actions = True
        self.can_show_all = self.multi_page = False

    @property
    def wanted(self) -> Wanted:
        specs: list[Any] = self.filter_specs
        chosen = {spec.parameter_name: spec.value() or "" for spec in specs}
        kind = chosen["kind"]
        return Wanted(
            kind=kind if kind in IdempotencyIncident.Kind.values else "",
            closed=chosen["state"] == "closed",
            nobodys=chosen["assigned"] == "nobody",
            assignee_id=self.user_id if chosen["assigned"] == "me" else "",
            namespace=chosen.get("namespace", ""),
        )

    def _section(self, group: Group, *, alone: bool) -> Section:
        page = self.page_num
        return Section(
            group=group,
            rows=[self._row(incident) for incident in group.incidents],
            title=IdempotencyIncident.Kind(group.kind).label if group.kind else _("closed"),
            number=number_format(group.number, force_grouping=True) + "+" * group.more,
            all_url=self.get_query_string({"kind": group.kind}) if not alone and group.pages > 1 else "",
            newer_url=self.get_query_string({"p": page - 1}) if alone and page > 1 else "",
            older_url=self.get_query_string({"p": page + 1}) if alone and page < group.pages else "",
        )

    def _row(self, incident: IdempotencyIncident) -> Row:
        return Row(
            incident=incident,
            request=visible(f"{incident.method} {incident.path}"),
            scope=visible(incident.scope),
            money=money(incident.amount, incident.currency),
            age=lasted(now() - incident.first_seen),
            mine=incident.assignee_id == self.user_id,
        )
