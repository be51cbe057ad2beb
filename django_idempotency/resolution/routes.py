"""Which view answers a stored request, and the rules under which it keeps its keys."""

from __future__ import annotations

from typing import Any

from django.urls import Resolver404, resolve
from django.utils.translation import get_language, get_language_from_path, gettext_lazy, override

from ..backends.db import DatabaseBackend
from ..checks import rules_within
from ..core.policies import Policy
from .refusals import WrongState
from .stored import path_info

NO_VIEW = gettext_lazy("No idempotent view answers {path} any more, so nothing would keep it from running twice.")


def route(row: dict[str, Any], alias: str) -> tuple[Any, list[Policy]]:
    """
    The view that answers a path, and under which rules it keeps the namespace's keys in this database. Raises NotResolved.
    """
    path = path_info(row)[1].encode("iso-8859-1").decode(errors="replace")
    try:
        # A path may begin with the client's language, which is not that of whoever asks.
        with override(get_language_from_path(path) or get_language()):
            view = resolve(path).func
    except Resolver404:
        view = None
    found = [] if view is None else [rule.resolve() for rule in rules_within(view)]
    policies = [policy for policy, backend in found if policy.namespace == row["namespace"] and _is_in(backend, alias)]
    if not policies:
        raise WrongState(NO_VIEW.format(path=row["path"]))
    return view, policies


def _is_in(backend: Any, alias: str) -> bool:
    return isinstance(backend, DatabaseBackend) and backend.alias == alias
