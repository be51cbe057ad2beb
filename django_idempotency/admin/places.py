"""Where the desk looks: in the database that requests are written to, whatever a router says of reading."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, QuerySet

from ..maintenance import records_in

M = TypeVar("M", bound=Model)


def where() -> str:
    """The alias of that database."""
    return records_in(None).db


def placed(rows: QuerySet[M]) -> QuerySet[M]:
    """The same rows where requests are written to: what is decided on them, and that they were seen, is written beside."""
    return rows.using(where())
