"""
What staff sends on behalf of a client, through the same view and the same decorator as the client's own retry.

1. It runs under the key, the scope and the fingerprint that are stored, or not at all: the decorator makes sure of that
   before it claims anything. So a retry of the client's that comes at the same time and this are one run.
2. What nobody knows the outcome of is never run; nor is what may have been answered and forgotten since.
3. An event is committed before it is sent, and another one after it, with the answer's status.
4. A refused payload gets one key of its own, ever, and runs under that once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.utils.translation import gettext_lazy

from ..audit import Actor
from ..core.acts import Act
from ..core.policies import Policy
from ..on_behalf import NOT_DRY
from .acts import Asked
from .refusals import WrongState
from .sending import prepared, send
from .serving import Answer
from .subjects import Subject, of_mismatch, of_replay

KEY_OF_ITS_OWN = gettext_lazy("Its view takes the key from the request itself: it cannot be run under another one.")


def replay(
    found: UUID | int, *, reason: str, actor: Actor, seen: int | None = None, using: str | None = None
) -> Answer | None:
    """
    Run a failed or abandoned request again, under its own key and as its original principal.

    `found` is the id of a record, or of an incident; `seen` the record's claim or the incident's counter as it was shown to
    whoever decides. What the view answers is kept, or frees the key, as for a retry of the client's; an answer that did not
    run was stored by somebody who was faster. Under an approval, None: it runs when that is committed.

    Raises NotResolved, and whatever comes out of the run itself.
    """
    subject = of_replay(found, seen, using)
    asked = _asked(Act.REPLAY, subject, reason, actor)
    return send(asked, subject, prepared(subject, asked)[0])


def dry_run(
    found: UUID | int, *, reason: str, actor: Actor, seen: int | None = None, using: str | None = None
) -> Answer | None:
    """
    What a failed or abandoned request would be answered now. See replay().

    It runs in transactions on all databases, which are rolled back, without a claim on its key, and only where its view is
    marked with `dry_run=True`: what a view does elsewhere is really done.
    """
    subject = of_replay(found, seen, using)
    asked = _asked(Act.DRY_RUN, subject, reason, actor)
    ready, policies = prepared(subject, asked, dry_run=True)
    refuse_not_dry(policies)
    return send(asked, subject, ready)


def run_refused(
    incident_id: int, *, reason: str, actor: Actor, seen: int | None = None, using: str | None = None
) -> Answer | None:
    """
    Run the payload that a mismatch has refused as a request of its own, under a fresh key, as the same principal.

    Once: whoever asks again runs it under the same key, and gets the answer that is kept. The key is the incident's
    `reference`. See replay().
    """
    subject = of_mismatch(incident_id, seen, using)
    asked = _asked(Act.RUN_REFUSED, subject, reason, actor)
    ready, policies = prepared(subject, asked)
    if any(policy.key for policy in policies):
        raise WrongState(KEY_OF_ITS_OWN)
    return send(asked, subject, ready)


def refuse_not_dry(policies: Iterable[Policy]) -> None:
    """Raises WrongState where a view's rules do not all allow a dry run."""
    if not all(policy.dry_run for policy in policies):
        raise WrongState(NOT_DRY)


def _asked(act: Act, subject: Subject, reason: str, actor: Actor) -> Asked:
    # What was not said to have been seen is what is here now: whoever approves the act later approves it of this.
    arguments: dict[str, Any] = {"reason": reason, "seen": subject.seen}
    return Asked(act=act, actor=actor, arguments=arguments, **subject.about)
