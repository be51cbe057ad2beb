"""What requests and answers hold, for a person who has a reason to see it. That it was looked at is recorded first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _

from ..audit import Actor, record_event, refuse_empty
from ..encryption import KeyLost, opened
from ..maintenance import records_in
from ..models import IdempotencyIncident, IdempotencyRecord
from ..outbox.rows import sealing_keys
from .acts import one_transaction
from .refusals import NotFound, Unreadable

# Each with the column that names its key.
OF_RECORD = {"request_body": "request_key_id", "body": "body_key_id", "operation_input": "operation_key_id"}
OF_INCIDENT = {"request_body": "request_key_id", "first_body": "first_key_id"}

Revealed = dict[str, bytes | None]
"""What is stored, decrypted, by the column's name."""


def reveal(record_id: UUID, *, reason: str, actor: Actor, using: str | None = None) -> Revealed:
    """
    The request and the answer of a record as they are stored, and the input of an operation, decrypted.

    What was masked before it was stored stays so. Raises NotResolved.
    """
    alias = records_in(using).db
    rows = IdempotencyRecord._base_manager.using(alias).filter(pk=record_id)
    return _revealed(rows, OF_RECORD, actor=actor, reason=reason, about={"record_id": record_id})


def reveal_incident(incident_id: int, *, reason: str, actor: Actor, using: str | None = None) -> Revealed:
    """The request of an incident; of a mismatch, both. See reveal()."""
    alias = records_in(using).db
    rows = IdempotencyIncident._base_manager.using(alias).filter(pk=incident_id)
    about = {"incident_id": incident_id, "record_id": rows.values_list("record_id", flat=True).first()}
    return _revealed(rows, OF_INCIDENT, actor=actor, reason=reason, about=about)


def _revealed(
    rows: QuerySet[Model], columns: Mapping[str, str], *, actor: Actor, reason: str, about: dict[str, Any]
) -> Revealed:
    refuse_empty(reason=reason)
    found = rows.values(*columns, *columns.values()).first()
    if found is None:
        raise NotFound(_("There is nothing under this id."))
    shown = {name: _opened(found[name], found[place]) for name, place in columns.items()}
    with one_transaction(rows.db):
        record_event(actor, "reveal", using=rows.db, reason=reason, **about)
    return shown


def _opened(value: Any, under: str) -> bytes | None:
    try:
        return opened(None if value is None else bytes(value), under, sealing_keys())
    except KeyLost:
        raise Unreadable from None
