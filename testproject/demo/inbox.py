"""What the staff finds of a request that went wrong."""

import json

from django_idempotency.models import IdempotencyIncident

from .client import poll
from .play import GOOD_CARD, Play


def an_incident(play: Play) -> None:
    call = play.payment(1700)
    play.expect_answer(play.send(call), 201)
    play.expect_books(ledger=[1700], gateway=[1700])
    answer = play.send(play.payment(7100, key=call.key), note="another amount under the same key")
    play.expect_answer(answer, 422, code="key-reused")
    play.expect_books(ledger=[], gateway=[])
    found = poll(lambda: IdempotencyIncident.objects.filter(key=call.key).first(), until=bool)
    play.report.expect("a mismatch in the staff's inbox", found is not None, "nothing")
    if found:
        _show(play, found)


def _show(play: Play, incident: IdempotencyIncident) -> None:
    first, other = (bytes(body or b"").decode() for body in (incident.first_body, incident.request_body))
    play.report.print()
    play.report.line(
        "incident", f"{incident.kind}, {incident.amount:.2f} {incident.currency}, seen {incident.counter} times"
    )
    play.report.line("first", first)
    play.report.line("other", other)
    amounts = [json.loads(body)["amount"] for body in (first, other)]
    play.report.expect("both payments side by side", amounts == [1700, 7100], f"{amounts}")
    play.report.expect("no card number in it", GOOD_CARD not in first + other, "the card number")
