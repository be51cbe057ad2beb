"""Which acts need a second person, and whether one was granted: the rules of APPROVALS. See approvals.py for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

from ..audit import among, canonical, keyed
from ..conf import get_policy, profiles
from ..core.acts import Act
from ..core.policies import Policy
from ..models import IdempotencyApproval
from .refusals import NotGranted

if TYPE_CHECKING:
    from .acts import Asked

NOT_GRANTED = _("The approval is not granted for this, or it was used already. Look at it again.")


def policies_of(namespace: str) -> list[Policy]:
    """The profiles of a namespace; what belongs to none, such as a task's, goes by the default one."""
    found = [get_policy(profile) for profile in profiles()]
    return [policy for policy in found if policy.namespace == namespace] or [get_policy()]


def needed(act: Act, row: Mapping[str, Any], arguments: Mapping[str, Any] | None = None) -> bool:
    """
    Whether an act on this record or incident needs a second person; of unknown money, it does where any amount does.

    So it does of money that whoever acts has named: it is not what the client has asked for.
    """
    named = arguments is not None and arguments.get("amount") is not None
    amount = None if named else row["amount"]
    rules = [policy.approvals for policy in policies_of(row["namespace"])]
    return any(_exceeds(rule, act, amount, row["currency"]) for rule in rules)


def _exceeds(rules: Mapping[str, Any], act: Act, amount: Decimal | None, currency: str) -> bool:
    if act.value not in rules:
        return False
    limits = {name.upper(): limit for name, limit in (rules[act.value] or {}).items()}
    limit = limits.get(currency.upper())
    return limit is None or amount is None or abs(amount) > limit


def digests(asked: Asked) -> list[str]:
    """What an act that was asked for is frozen by: all that it would do, and who asks."""
    # As they come back from the database: an id may have come as text, out of a URL.
    ids = {name: _column(name).to_python(getattr(asked, name)) for name in ("record_id", "incident_id")}
    said = {**ids, "arguments": asked.arguments}
    who = {"requester": asked.actor.name, "requester_id": asked.actor.id}
    return keyed("approval", canonical({"act": asked.act.value, **said, **who}))


def _column(name: str) -> Any:
    return IdempotencyApproval._meta.get_field(name)


def redeem(asked: Asked, using: str) -> None:
    """Use up the approval of an act that is just being done. Raises NotGranted."""
    approvals = IdempotencyApproval._base_manager.using(using)
    granted = approvals.filter(pk__in=[asked.actor.approval], state=IdempotencyApproval.State.APPROVED)
    frozen = granted.values_list("digest", flat=True).first()
    if frozen is None or not among(frozen, digests(asked)):
        raise NotGranted(NOT_GRANTED)
    # Of two at once, one is left with nothing here.
    if not granted.update(state=IdempotencyApproval.State.DONE):
        raise NotGranted(NOT_GRANTED)
