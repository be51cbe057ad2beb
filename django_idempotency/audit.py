"""
Who did what, when and why: a chain of events in each database, to which only is added.

1. An act and its event are committed together, or neither is.
2. Events are numbered without gaps. The head's row is locked until the transaction that appends has ended, so of two that
   append at once, one waits.
3. Each event has a digest over all it says and over the digest before it, under a key made of SECRET_KEY. Whoever can write
   to the database, and has not that secret, cannot change, insert, take out or reorder an event unseen. It begins with the
   version of the rule that it was made by, so that a later release can have another one, and verify these all the same.
4. What is cut off at the end is found by the heads that were exported: after each commit, to the log, to the receivers of
   the signal `audited`, and to the file that AUDIT_HEADS names. A process that dies between the two exports nothing; the
   next event makes up for it.
5. An event points at nothing. It stays when the record, the incident or the user has gone.

Reasons and evidence are stored as they were written. Of payloads nothing is.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, F, QuerySet, Value
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare, salted_hmac

from .backends.db import database
from .backends.db.batches import now
from .conf import get_policy, profiles
from .heads import append
from .models import IdempotencyEvent, IdempotencyHead
from .signals import audited

logger = logging.getLogger("django_idempotency.audit")

LONGEST = {"name": 200, "id": 64, "address": 200}
VERSIONED = re.compile(r"v([1-9][0-9]{0,3})-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts. Raises ValueError for what cannot be recorded."""

    name: str
    """The name under which somebody has logged in, or gave."""
    id: str = ""
    """The user's primary key; empty for somebody at a command line."""
    address: str = ""
    """Where from."""
    approval: int | None = None
    """Under which approval of a second person's; see approvals.py."""

    def __post_init__(self) -> None:
        refuse_empty(by=self.name)
        for column, longest in LONGEST.items():
            if len(getattr(self, column)) > longest:
                raise ValueError(f"by has {longest} characters at most.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the digest of an event is made of."""

    columns: tuple[str, ...]
    """Those that it is over. A column that came later has its default in every event by this rule."""
    text: Callable[[dict[str, Any]], str]
    """The one form in which they are digested."""


def canonical(data: Any) -> str:
    """JSON in one form only."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), default=_as_text)


# By version. What another release may have written by is never changed: a new column, or another form, is a new rule, and
# events are appended by the newest. The release before cannot verify those, and says so.
RULES = {
    1: Rule(
        columns=(
            *("sequence", "at", "actor", "actor_id", "address", "act", "record_id", "incident_id", "approval_id"),
            *("reason", "evidence", "before", "after", "previous"),
        ),
        text=canonical,
    ),
}


def actor_of(request: HttpRequest) -> Actor:
    """The user who is logged in, at the address that the request came from."""
    user: Any = request.user
    address = str(request.META.get("REMOTE_ADDR") or "")
    # A model of the project's own may allow for longer names than these are, or for none.
    name = (user.get_username() or str(user.pk))[: LONGEST["name"]]
    return Actor(name=name, id=str(user.pk), address=address[: LONGEST["address"]])


def at_command_line(name: str) -> Actor:
    """Somebody who says so at a command line; which account of the system it was is recorded, too."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        account = str(os.getuid())
    return Actor(name=name, address=f"command line, {account}"[: LONGEST["address"]])


def record_event(actor: Actor, act: str, *, using: str | None = None, **said: Any) -> IdempotencyEvent:
    """
    Append an event, in the transaction that is open on the database, or in one of its own.

    It may say record_id, incident_id, reason, evidence, before and after; those two are JSON, without anything of a payload.
    Append it last: until the transaction has ended, every other act in this database waits for the head.
    """
    alias = using or home()
    columns: dict[str, Any] = {**said, **{name: canonical(said.get(name, {})) for name in ("before", "after")}}
    who = {"actor": actor.name, "actor_id": actor.id, "address": actor.address, "approval_id": actor.approval}
    with transaction.atomic(using=alias):
        head = _advanced(alias)
        event = IdempotencyEvent(**who, **columns, act=act, **head)
        for field in IdempotencyEvent._meta.concrete_fields:
            # As it comes back from the database: an id may have come as text, out of a URL.
            setattr(event, field.attname, field.to_python(getattr(event, field.attname)))
        event.digest = digests(event, max(RULES))[0]
        event.save(using=alias)
        _head(alias).update(digest=event.digest)
        transaction.on_commit(partial(_export, alias, event), using=alias, robust=True)
    return event


def events_in(using: str | None) -> QuerySet[IdempotencyEvent]:
    """All events of a database; None means the default profile's."""
    return IdempotencyEvent._base_manager.using(using or home())


def home() -> str:
    return database(get_policy())


def digests(event: IdempotencyEvent, version: int) -> list[str]:
    """What the event's digest by a rule is under SECRET_KEY, and would be under each of the fallbacks."""
    rule = RULES[version]
    said = rule.text({name: getattr(event, name) for name in rule.columns})
    # Each rule has a key of its own: under another version than its own, no digest is right.
    return [f"v{version}-{digest}" for digest in keyed(f"audit.{version}", said)]


def version_of(digest: str) -> int | None:
    """By which rule a digest says that it was made; None for what none of ours has made."""
    found = VERSIONED.match(digest)
    return int(found[1]) if found else None


def keyed(purpose: str, text: str) -> list[str]:
    """HMAC-SHA-256 of a text, under a key made of SECRET_KEY for this purpose, and of each of the fallbacks."""
    salt, secrets = f"django_idempotency.{purpose}", [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [salted_hmac(salt, text, secret=secret, algorithm="sha256").hexdigest() for secret in secrets]


def among(digest: str, candidates: list[str]) -> bool:
    return any(constant_time_compare(digest, candidate) for candidate in candidates)


def refuse_empty(**texts: str) -> None:
    """Raises ValueError for what says nothing, and for what no database takes."""
    for name, text in texts.items():
        if not text.strip():
            raise ValueError(f"{name} must not be empty.")
        if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in text):
            raise ValueError(f"{name} must be text.")


def _as_text(value: Any) -> str:
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    return str(value)


def _head(alias: str) -> Any:
    return IdempotencyHead._base_manager.using(alias).filter(pk=1)


def _advanced(alias: str) -> dict[str, Any]:
    """The next event's place in the chain. The head is ours from here until the transaction has ended."""
    # To write is to lock, on every database; what was only read, somebody else may be about to write.
    if not _head(alias).update(sequence=F("sequence") + 1):
        # Once only. Of several who begin at the same moment, MariaDB may refuse all but one, as it does in a deadlock.
        IdempotencyHead._base_manager.using(alias).bulk_create([IdempotencyHead(pk=1)], ignore_conflicts=True)
        _head(alias).update(sequence=F("sequence") + 1)
    moment = now(alias)
    moment = Value(moment, output_field=DateTimeField()) if isinstance(moment, datetime) else moment
    head = _head(alias).annotate(at=moment).values("sequence", "digest", "at").get()
    return {"sequence": head["sequence"], "previous": head["digest"], "at": head["at"]}


def _export(alias: str, event: IdempotencyEvent) -> None:
    """Tell the world outside of the database where the chain ends now."""
    head = {"database": alias, "sequence": event.sequence, "digest": event.digest, "at": event.at}
    logger.info("The audit of the database %s ends with %s:%s.", alias, event.sequence, event.digest)
    for path in head_files(alias):
        try:
            append(path, canonical(head))
        except OSError:
            logger.exception("The head of the audit could not be written to %s.", path)
    audited.send_robust(IdempotencyEvent, event=event, **head)


def head_files(alias: str) -> list[Path]:
    """The files to which the heads of a database are exported: those of the profiles that keep their records there."""
    policies = [policy for policy in map(get_policy, profiles()) if policy.audit_heads and database(policy) == alias]
    return sorted({Path(policy.audit_heads) for policy in policies if policy.audit_heads})
