"""The answer that is stored: shown as its client would get it, or posted to where the client wants it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..audit import Actor, record_event, refuse_empty
from ..backends.db.statements import COLUMNS, stored_record
from ..core.acts import Act
from ..core.policies import Policy
from ..core.states import State
from ..exceptions import StoreUnavailable
from ..http import Exchange
from ..maintenance import CHOSEN, ago, records_in
from ..masking import pointer_steps
from ..stored_requests import pointed
from .accounts import Account, carried_out
from .acts import Asked, Row, one_transaction
from .callbacks import Target, post, target
from .grants import policies_of
from .refusals import NotFound, Unreadable, WrongState
from .serving import Answer, answer_of
from .stored import OF_REQUEST, environ

NO_ANSWER = gettext_lazy("The record {id} is {state}: it has no answer.")
EXPIRED = gettext_lazy("The answer is no longer kept: the client would be told so, too.")
NO_BODY = gettext_lazy("Its body was not kept: it was streamed, or larger than MAX_RESPONSE. It cannot be posted.")
NO_CALLBACK = gettext_lazy("The request names no address to post its answer to, or CALLBACK does not say where.")


def stored_answer(record_id: UUID, *, reason: str, actor: Actor, using: str | None = None) -> Answer:
    """
    The answer as the client would get it, decrypted; without its body where that was not kept. Raises NotResolved.

    That it was shown is recorded first.
    """
    refuse_empty(reason=reason)
    row, answer, alias = _found(record_id, using)
    with one_transaction(alias):
        record_event(actor, "show-answer", using=alias, record_id=row["id"], reason=reason)
    return answer


def post_answer(record_id: UUID, *, reason: str, actor: Actor, using: str | None = None) -> int | None:
    """
    Post the answer to the address that its request names (CALLBACK); the status that comes back.

    Under an approval, None: it is posted when that is committed. Raises NotResolved.
    """
    row, answer, alias, where = destination(record_id, using)
    asked = Asked(act=Act.POST_ANSWER, actor=actor, record_id=record_id, arguments={"reason": reason})
    headers = {
        "Content-Type": dict(answer.headers).get("Content-Type", "application/octet-stream"),
        "Idempotency-Key": json.dumps(row["key"]),
        "Idempotent-Status": str(answer.status),
        "User-Agent": "django-idempotency",
    }
    return carried_out(
        Account(asked=asked, row=row, alias=alias),
        begin=lambda: {"host": where.host},
        work=partial(post, where, answer.body or b"", headers),
        end=lambda status: {"status": status},
    )


def destination(record_id: UUID, using: str | None) -> tuple[Row, Answer, str, Target]:
    """The record's columns, its answer, where the record is, and where its client wants the answer. Raises NotResolved."""
    row, answer, alias = _found(record_id, using)
    if answer.body is None:
        # Posted without one, it would be taken for an answer that has none.
        raise WrongState(NO_BODY)
    policies = policies_of(row["namespace"])
    where = target(_address(row, policies), [host for policy in policies for host in policy.callback_hosts])
    return row, answer, alias, where


def _found(record_id: UUID, using: str | None) -> tuple[Row, Answer, str]:
    """The record's columns, its answer, and where it is. Raises NotResolved."""
    records = records_in(using)
    found = records.filter(id=record_id)
    row = found.values(*CHOSEN, *OF_REQUEST).first()
    if row is None:
        raise NotFound(_("There is no record {id}.").format(id=record_id))
    if row["state"] not in (State.COMPLETED.value, State.TOMBSTONE.value):
        raise WrongState(NO_ANSWER.format(id=record_id, state=row["state"]))
    columns = found.filter(state=State.COMPLETED.value, expires_at__gt=ago(records, timedelta(0)))
    stored = columns.values_list(*COLUMNS).first()
    if stored is None:
        raise WrongState(EXPIRED)
    return dict(row), _thawed(stored, policies_of(row["namespace"])), records.db


def _thawed(stored: Any, policies: list[Policy]) -> Answer:
    snapshot: Any = stored_record(stored, None).snapshot
    keys = [key for policy in policies for key in policy.encryption_keys]
    try:
        response = Exchange(HttpRequest(), replace(policies[0], encryption_keys=keys)).thaw(snapshot)
    except StoreUnavailable:
        raise Unreadable from None
    answer = answer_of(response)
    return replace(answer, body=None if snapshot.body is None else answer.body, ran=False, kept=True)


def _address(row: Row, policies: list[Policy]) -> Any:
    """What the request says, or the callable in CALLBACK says of it. Raises WrongState."""
    chosen = next((policy.callback for policy in policies if policy.callback is not None), None)
    request = WSGIRequest(environ(row, row["key"], policies))
    try:
        if callable(chosen):
            return chosen(request)
        return pointed(json.loads(request.body), pointer_steps(chosen or "/"))
    except Exception:  # noqa: BLE001 - whatever a request holds, or a project's callable makes of it
        raise WrongState(NO_CALLBACK) from None
