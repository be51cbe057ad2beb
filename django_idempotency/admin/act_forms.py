"""What staff is told of each act, and asked for, before it is done."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ..core.acts import Act

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

SHOW_ANSWER = "show-answer"
"""It changes nothing, so no rule can put it under a second person, and it is none of Act."""


def _as_json(text: str) -> None:
    try:
        # NaN is JSON to Python alone; what is too deep, or a number too long, is to nobody here.
        json.dumps(json.loads(text), allow_nan=False)
    except (ValueError, RecursionError):
        raise ValidationError(_("This is no JSON.")) from None


class Seen(forms.Form):
    """Of every act: as what it was seen."""

    seen = forms.IntegerField(widget=forms.HiddenInput)


class Reason(Seen):
    reason = forms.CharField(
        label=_("Why?"), help_text=_("Recorded under your name."), widget=forms.Textarea(attrs={"rows": 2})
    )


class Settled(Reason):
    reference = forms.CharField(
        label=_("Reference"), max_length=200, help_text=_("Where it was settled: a payment, a refund, a ticket.")
    )
    field_order = ("seen", "reference", "reason")


class Evidence(Seen):
    evidence = forms.CharField(
        label=_("How is that known?"),
        help_text=_("What you have looked up, where, and what it said. Recorded under your name."),
        widget=forms.Textarea(attrs={"rows": 3}),
    )


class MinorUnits(forms.IntegerField):
    """A whole number as it is written: Django would take 1.000, which is a thousand to a German, for 1."""

    re_decimal = re.compile(r"(?!)")


class Approved(Evidence):
    reference = forms.CharField(label=_("The gateway's reference"), max_length=200)
    amount = MinorUnits(
        label=_("Amount in minor units"), required=False, help_text=_("Only where the call does not say.")
    )
    currency = forms.CharField(
        label=_("Currency"), required=False, max_length=16, help_text=_("Only where the call does not say.")
    )
    field_order = ("seen", "reference", "amount", "currency", "evidence")

    def clean_currency(self) -> str | None:
        return self.cleaned_data["currency"] or None


class Declined(Evidence):
    refusal = forms.CharField(label=_("The gateway's reason, in its words"), max_length=200)
    field_order = ("seen", "refusal", "evidence")


class Returned(Evidence):
    result = forms.CharField(
        label=_("What the call has returned, as JSON"),
        widget=forms.Textarea(attrs={"rows": 4}),
        validators=[_as_json],
    )
    field_order = ("seen", "result", "evidence")

    def clean_result(self) -> Any:
        return json.loads(self.cleaned_data["result"])


class Happened(Evidence):
    status = forms.IntegerField(label=_("Status of the answer"), min_value=200, max_value=499, initial=200)
    body = forms.CharField(
        label=_("The answer, as JSON"),
        help_text=_("What the client would have got. Every retry gets it from now on."),
        widget=forms.Textarea(attrs={"rows": 4}),
        initial="{}",
        validators=[_as_json],
    )
    reference = forms.CharField(
        label=_("Reference"), max_length=200, help_text=_("What was done: the payment's number, the order's.")
    )
    field_order = ("seen", "status", "body", "reference", "evidence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An act as it is offered."""

    title: StrOrPromise
    does: StrOrPromise
    form: type[Seen]
    permissions: tuple[str, ...] = ("resolve",)
    seen: str = "token"
    """What the act calls that which was seen; empty where it takes none."""

    def arguments(self, cleaned: Mapping[str, Any]) -> dict[str, Any]:
        said = dict(cleaned)
        seen = said.pop("seen")
        return {**said, self.seen: seen} if self.seen else said


PAGES: dict[str, Page] = {
    Act.RELEASE: Page(
        title=_("Free the key"),
        does=_(
            "The client's next retry runs as if it were the first. This is refused while the process that has claimed it "
            "lives, and where anything may have been done already. An incident keeps the request."
        ),
        form=Reason,
        permissions=("release",),
        seen="claim",
    ),
    Act.APPROVED: Page(
        title=_("Record that the call was approved"),
        does=_(
            "The call of the operation gets the gateway's approval as its result, exactly as it was asked, and the "
            "operation goes on from there. Nothing is sent to the gateway again."
        ),
        form=Approved,
    ),
    Act.DECLINED: Page(
        title=_("Record that the call was declined"),
        does=_("The call of the operation gets this refusal as its result, and the operation goes on from there."),
        form=Declined,
    ),
    Act.RETURNED: Page(
        title=_("Record another result of the call"),
        does=_("The call of the operation gets this result, as the operation expects it, and the operation goes on."),
        form=Returned,
    ),
    Act.HAPPENED: Page(
        title=_("Record that it happened"),
        does=_(
            "The request counts as carried out. It is not run again, now or later: every retry gets the answer that is "
            "given here."
        ),
        form=Happened,
    ),
    Act.NEVER_HAPPENED: Page(
        title=_("Record that it never happened"),
        does=_(
            "The key is closed for good: nothing is run or sent, now or later, and every retry is answered 410. For another "
            "attempt, the client takes a new key."
        ),
        form=Evidence,
    ),
    Act.GO_ON: Page(
        title=_("Let it go on"),
        does=_(
            "The operation is taken up again where it was put aside. A call without a result is looked up first, and sent "
            "again only while the gateway knows its key. First mend what it was put aside for."
        ),
        form=Evidence,
    ),
    Act.REPLAY: Page(
        title=_("Run it again"),
        does=_(
            "The stored request is really run, under its own key and in the name of its client, as if the client had sent "
            "it again. Its answer is kept for every retry. If the client is faster, nothing is run, and you see the answer "
            "that it got."
        ),
        form=Reason,
        permissions=("replay",),
        seen="seen",
    ),
    Act.DRY_RUN: Page(
        title=_("Try what it would do"),
        does=_(
            "The stored request is run in a transaction that is rolled back, and you see the answer. What its view does "
            "outside of the databases is really done."
        ),
        form=Reason,
        permissions=("replay",),
        seen="seen",
    ),
    Act.RUN_REFUSED: Page(
        title=_("Run the refused request as one of its own"),
        does=_(
            "The refused request is really run, under a fresh key and in the name of its client, beside the first one. If "
            "both are payments, both are then made. Once only, however often this is asked for."
        ),
        form=Reason,
        permissions=("replay",),
        seen="seen",
    ),
    Act.STANDS: Page(
        title=_("Let the first request stand"),
        does=_("The refused request is dropped. Nothing is run, and nothing is undone."),
        form=Reason,
        seen="counter",
    ),
    Act.CLIENT_ERROR: Page(
        title=_("Put it down to the client"),
        does=_(
            "The incident is closed as a fault for the client's makers to mend. Nothing is run, and nothing is undone."
        ),
        form=Reason,
        seen="counter",
    ),
    Act.SETTLED: Page(
        title=_("Record that it was settled outside"),
        does=_("The incident is closed as settled in another way. Nothing is run, and the key stays as it is."),
        form=Settled,
        seen="counter",
    ),
    Act.CLOSE: Page(
        title=_("Close it: nothing is left to do"),
        does=_(
            "The incident is closed. Nothing is run, and the key stays as it is. If it happens again, it is open again."
        ),
        form=Reason,
        seen="counter",
    ),
    Act.POST_ANSWER: Page(
        title=_("Post the answer to the client"),
        does=_("The stored answer is posted to the address that the request names. Nothing is run."),
        form=Reason,
        permissions=("replay",),
        seen="",
    ),
    SHOW_ANSWER: Page(
        title=_("Show the stored answer"),
        does=_(
            "You see the answer as every retry of the client's gets it, unmasked. Nothing is run, and nothing is sent."
        ),
        form=Reason,
        permissions=("replay", "view_payload"),
        seen="",
    ),
}
