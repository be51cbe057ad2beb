"""What one act on several would come to, before it is done; and the actions of lists, which lead there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import BigIntegerField
from django.http import Http404, HttpRequest, HttpResponse

from .. import audit, bulk
from ..core.acts import Act
from ..models import IdempotencyRecord
from ..timelines import money
from . import acts
from .act_forms import PAGES
from .desk import DeskAdmin

SHOWN = ("namespace", "key", "method", "path", "amount", "currency")
"""Of each row in a preview; never what a request holds."""


def actions(names: Sequence[Act]) -> list[Callable[..., HttpResponse]]:
    """The actions of a list: each shows what its act would come to for the rows that are ticked."""
    return [_action(act) for act in names]


def _action(act: Act) -> Callable[..., HttpResponse]:
    @admin.action(description=PAGES[act].title, permissions=PAGES[act].permissions)
    def action(model_admin: DeskAdmin[Any], request: HttpRequest, queryset: Any) -> HttpResponse:
        # The rows that are ticked, and no others: the queryset may be of all that there are.
        ids = request.POST.getlist(ACTION_CHECKBOX_NAME)
        return preview(model_admin, request, act, ids)

    action.__name__ = f"bulk_{act.value.replace('-', '_')}"
    return action


def preview(
    model_admin: DeskAdmin[Any], request: HttpRequest, act: Act, ids: list[str], *, fault: ValueError | None = None
) -> HttpResponse:
    """What it would come to, with the form that begins it."""
    refuse(model_admin, request, act)
    found = chosen(model_admin, request, ids[: bulk.MOST])
    plan = bulk.planned(act, found, actor=audit.actor_of(request))
    fit = [one for one in plan if one.against is None]
    shown = {
        "title": PAGES[act].title,
        "does": PAGES[act].does,
        "act": act.value,
        "about": "record" if model_admin.model is IdempotencyRecord else "incident",
        "rows": [(one, money(one.found.amount, one.found.currency)) for one in plan],
        "fit": fit,
        "totals": _totals(fit),
        "second_person": sum(one.second_person for one in fit),
        "refused": len(plan) - len(fit),
        "dropped": len(ids) - len(found),
        "most": bulk.MOST,
        "fault": fault,
        "reason": request.POST.get("reason", ""),
    }
    return model_admin.answer(request, "bulk_preview.html", shown)


def act_named(name: str) -> Act:
    """Raises Http404."""
    if name not in (*bulk.OF_RECORDS, *bulk.OF_INCIDENTS):
        raise Http404
    return Act(name)


def refuse(model_admin: DeskAdmin[Any], request: HttpRequest, act: Act) -> None:
    """Raises PermissionDenied, and Http404 for an act that is not done to several such things."""
    if act not in (bulk.OF_RECORDS if model_admin.model is IdempotencyRecord else bulk.OF_INCIDENTS):
        raise Http404
    if not (model_admin.has_view_permission(request) and acts.may(request.user, PAGES[act])):
        raise PermissionDenied


def chosen(model_admin: DeskAdmin[Any], request: HttpRequest, ids: list[str]) -> list[Any]:
    """What was chosen and is still there, in that order."""
    field = model_admin.opts.pk
    read = [field.to_python(one) for one in dict.fromkeys(ids) if _reads(field, one)]
    seen = "claim" if model_admin.model is IdempotencyRecord else "counter"
    rows = model_admin.get_queryset(request).only(*SHOWN, seen).in_bulk(read)
    return [rows[one] for one in read if one in rows]


def _reads(field: Any, text: str) -> bool:
    """Whether this is an id as our pages write it, and its column could hold it."""
    try:
        found = field.to_python(text)
        field.run_validators(found)
    except Exception:  # noqa: BLE001 - Django's fields disagree in what they raise
        return False
    return str(found) == text


def as_seen(rows: list[str]) -> dict[str, int]:
    """By id, as what it was shown: of values like id:number."""
    pairs = (row.rpartition(":") for row in rows)
    read = {name: int(number) for name, _colon, number in pairs if number.isdecimal() and len(number) < 20}
    return {name: number for name, number in read.items() if number <= BigIntegerField.MAX_BIGINT}


def _totals(fit: Sequence[bulk.Planned]) -> list[str]:
    """The money in each currency; and how many are of an amount that nobody knows."""
    sums: dict[str, Decimal] = {}
    for one in fit:
        if one.found.amount is not None:
            currency = one.found.currency.upper()
            sums[currency] = sums.get(currency, Decimal(0)) + one.found.amount
    return [money(sums[currency], currency) for currency in sorted(sums)]
