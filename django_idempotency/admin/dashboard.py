"""The dashboard: what is open, in tiles that lead to their lists, and what has happened, in charts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import figures
from ..models import IdempotencyApproval, IdempotencyIncident, IdempotencyRecord, IdempotencyRollup
from ..rollups.series import SPANS, series
from ..timelines import money
from .charts import NOTHING, amount, charts
from .desk import LookOnlyAdmin

Kind = IdempotencyIncident.Kind

SPAN_NAMES = {
    "hour": gettext_lazy("Last hour"),
    "day": gettext_lazy("Last 24 hours"),
    "week": gettext_lazy("Last 7 days"),
}
KIND_NAMES = {
    Kind.MISMATCH: gettext_lazy("Mismatches"),
    Kind.FAILED: gettext_lazy("Failures"),
    Kind.ABANDONED: gettext_lazy("Abandoned"),
    Kind.UNKNOWN: gettext_lazy("Unknown outcomes"),
}
CURRENCIES = 3
"""That are named on a tile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure, and the list behind it."""

    title: str
    url: str
    figure: str
    lines: tuple[str, ...] = ()
    alarming: bool = False


@admin.register(IdempotencyRollup)
class DashboardAdmin(LookOnlyAdmin[IdempotencyRollup]):
    """One page in the place of a list; the rows that it is drawn from are shown nowhere."""

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return [path("", self.admin_site.admin_view(self.changelist_view), name=name)]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        span = request.GET.get("span", "")
        chosen = span if span in SPANS else "hour"
        context = {
            **self.admin_site.each_context(request),
            **(extra_context or {}),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "now": timezone.now(),
            "groups": [(title, tiles) for title, tiles in self._groups(request) if tiles],
            "charts": charts(series(SPANS[chosen])),
            "spans": [(name, title, name == chosen) for name, title in SPAN_NAMES.items()],
        }
        return TemplateResponse(request, "admin/django_idempotency/dashboard.html", context)

    def _groups(self, request: HttpRequest) -> Iterator[tuple[str, list[Tile]]]:
        """The tiles under their headings: of what this member of staff may look at, and no others."""
        incidents = self._list(request, IdempotencyIncident)
        yield _("Open incidents"), [*_of_incidents(incidents)] if incidents else []
        records = self._list(request, IdempotencyRecord)
        yield _("Requests"), [*_of_records(records)] if records else []
        approvals = self._list(request, IdempotencyApproval)
        yield _("Approvals"), [_approvals(approvals)] if approvals else []

    def _list(self, request: HttpRequest, model: type[Model]) -> str:
        """Where the list of these is; empty where it is not for this member of staff."""
        try:
            theirs = self.admin_site.get_model_admin(model)
        except NotRegistered:
            return ""
        if not theirs.has_view_permission(request):
            return ""
        options = model._meta
        return reverse(f"{self.admin_site.name}:{options.app_label}_{options.model_name}_changelist")


def _of_incidents(url: str) -> Iterator[Tile]:
    for kind, title in KIND_NAMES.items():
        yield _standing(title, f"{url}?kind={kind}", figures.incidents(kind), alarming=True)
    settled = figures.settled()
    closed = ngettext("of %s closed in 7 days", "of %s closed in 7 days", settled.number) % _number(settled)
    yield Tile(
        title=_("Time to resolution"),
        url=f"{url}?state=closed",
        figure=NOTHING if settled.median is None else _span(settled.median),
        lines=(_("median"), closed),
    )


def _of_records(url: str) -> Iterator[Tile]:
    yield _standing(_("In flight"), f"{url}?state=processing&window=all", figures.in_flight(), alarming=False)
    yield _standing(_("Abandoned"), f"{url}?state=processing&window=all", figures.abandoned(), alarming=True)
    yield _standing(_("Unknown"), f"{url}?state=unknown&window=all", figures.unknown(), alarming=True)


def _approvals(url: str) -> Tile:
    return _standing(
        _("Awaiting approval"), f"{url}?state__exact=requested", figures.awaiting_approval(), alarming=False
    )


def _standing(title: Any, url: str, standing: figures.Standing, *, alarming: bool) -> Tile:
    lines = [_("oldest: %s") % _span(timezone.now() - standing.since)] if standing.since else []
    lines += [_money(found) for found in standing.money[:CURRENCIES]]
    left = len(standing.money) - CURRENCIES
    if left > 0:
        lines.append(ngettext("and %s more currency", "and %s more currencies", left) % amount(left))
    return Tile(
        title=str(title),
        url=url,
        figure=_number(standing),
        lines=tuple(lines),
        alarming=alarming and bool(standing.number),
    )


def _number(counted: figures.Standing | figures.Settled) -> str:
    return f"{amount(counted.number)}+" if counted.more else amount(counted.number)


def _span(time: timedelta) -> str:
    """As exact as it matters."""
    if time < timedelta(minutes=1):
        return _("under a minute")
    now = timezone.now()
    return timesince(now - time, now, depth=1)


def _money(found: figures.Money) -> str:
    if found.oldest == found.largest:
        return money(found.largest, found.currency)
    said = {
        name: money(value, found.currency) for name, value in (("oldest", found.oldest), ("largest", found.largest))
    }
    return _("oldest %(oldest)s, largest %(largest)s") % said
