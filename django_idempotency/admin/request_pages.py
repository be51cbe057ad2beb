"""What the page of one request shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from .. import audit, curl
from ..conf import get_policy, profiles
from ..models import IdempotencyIncident, IdempotencyRecord, IdempotencyStep
from ..payloads import Payload, compact, content_type, headers, masked, masked_headers, unmasked, visible
from ..timelines import attempts, money, timeline, told

LONGEST_COMMAND = 16_000
"""Characters of a body in a command. Nobody pastes more, and systems allow little more."""
EVENTS = 200
"""Acts of staff that are shown, the latest."""


def context(
    record: IdempotencyRecord,
    user: Any,
    *,
    revealed: Mapping[str, bytes | None] | None = None,
    refusal: Exception | None = None,
) -> dict[str, Any]:
    """
    What the template needs, for somebody who may look at requests.

    `revealed` are the payloads of which they may see all; `refusal` says why they may not.
    """
    alias = record._state.db or "default"
    incidents = _incidents(record, alias) if user.has_perm("django_idempotency.view_idempotencyincident") else []
    events = list(audit.events_in(alias).filter(record_id=record.pk).order_by("-sequence")[: EVENTS + 1])
    request_headers = headers(record.request_headers)
    shown = _payloads(record, revealed)
    return {
        **shown,
        "revealed": revealed is not None,
        "refusal": refusal,
        "title": f"{visible(record.method)} {visible(record.path)}",
        "record": record,
        "told": told(record, incidents),
        "facts": _facts(record),
        "request_headers": request_headers,
        "answer_headers": masked_headers(record.headers),
        "timeline": timeline(record, incidents, events[:EVENTS]),
        "most_events": EVENTS if len(events) > EVENTS else 0,
        "incidents": incidents,
        "steps": _steps(record, alias) if record.operation else [],
        "curl": as_curl(record, request_headers),
        "may_unmask": user.has_perm("django_idempotency.view_payload"),
    }


def as_curl(record: IdempotencyRecord, sent: list[tuple[str, str]]) -> str:
    """The request as a command, without what was masked or it was authorised by; empty where its body does not fit in."""
    body = compact(record.request_body, record.request_key_id, content_type(record.request_headers))
    if body is None or len(body) > LONGEST_COMMAND:
        return ""
    escaped = record.key.replace("\\", "\\\\").replace('"', '\\"')
    named = [(name, value) for name, value in sent if name.lower() in ("content-type", "accept", "accept-language")]
    all_headers = [(_header_name(record.namespace), f'"{escaped}"'), *named]
    return curl.command(record.method, record.path, all_headers, body)


def _payloads(record: IdempotencyRecord, revealed: Mapping[str, bytes | None] | None) -> dict[str, Payload]:
    """The three that a record may hold, masked unless they were revealed."""
    columns = {
        "request_body": ("request_key_id", content_type(record.request_headers)),
        "body": ("body_key_id", content_type(record.headers)),
        "operation_input": ("operation_key_id", "application/json"),
    }
    if revealed is not None:
        return {name: unmasked(revealed.get(name)) for name in columns}
    return {name: masked(getattr(record, name), getattr(record, of), kind) for name, (of, kind) in columns.items()}


def _header_name(namespace: str) -> str:
    policies = [get_policy(name) for name in profiles()]
    return next((policy.header for policy in policies if policy.namespace == namespace), "Idempotency-Key")


def _facts(record: IdempotencyRecord) -> list[tuple[str, Any]]:
    """What is true of it, besides the payloads; without what is empty."""
    facts: list[tuple[str, Any]] = [
        (_("Scope"), visible(record.scope)),
        (_("Namespace"), visible(record.namespace)),
        (_("Amount"), money(record.amount, record.currency)),
        (_("Attempts"), attempts(record)),
        (_("Operation"), visible(record.operation)),
        (_("Record id"), record.pk),
        (_("Fingerprint"), bytes(record.fingerprint).hex()),
        # To be given to a command: in no groups of digits.
        (_("Claim"), str(record.claim)),
    ]
    return [(name, value) for name, value in facts if value not in ("", None)]


def _incidents(record: IdempotencyRecord, alias: str) -> list[IdempotencyIncident]:
    found = IdempotencyIncident._base_manager.using(alias).filter(record_id=record.pk)
    return list(found.defer("request_body", "first_body").order_by("first_seen", "pk"))


def _steps(record: IdempotencyRecord, alias: str) -> list[dict[str, Any]]:
    """The journal of a durable operation, its payloads masked."""
    journal = IdempotencyStep._base_manager.using(alias).filter(record_id=record.pk).order_by("position")
    return [
        {
            "step": step,
            "given": masked(step.input, step.input_key_id),
            "returned": masked(step.result, step.result_key_id),
        }
        for step in journal
    ]
