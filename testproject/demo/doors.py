"""What comes without a header: an event from the gateway, and a form from a browser."""

import json
import re
import time
import uuid
from dataclasses import replace

from testproject.payments.gateway import PretendGateway
from testproject.payments.webhooks import signature

from .client import Answer, Call
from .play import GOOD_CARD, Play
from .report import describe


def a_webhook(play: Play) -> None:
    amount = 3300
    charge = PretendGateway().charge(amount=amount, card=GOOD_CARD, idempotency_key=str(uuid.uuid4()))
    event = {"account": play.account, "amount": amount, "charge": charge.id}
    name = f"evt_{uuid.uuid4().hex}"
    gateway = replace(play.client, token="")
    first = play.send(_delivery(name, event | {"attempt": 1}), by=gateway, note=f"webhook-id: {name}")
    play.expect_answer(first, 204)
    play.expect_books(ledger=[amount], gateway=[amount])
    again = play.send(_delivery(name, event | {"attempt": 2}), by=gateway, note=f"webhook-id: {name}, delivered again")
    play.expect_answer(again, 204, replayed=True)
    forged = _delivery(name, event | {"attempt": 3})
    forged.headers["webhook-signature"] = "v1,guessed"
    refused = play.send(forged, by=gateway, note="with a wrong signature")
    play.report.expect("403 before anything is claimed or replayed", refused.status == 403, describe(refused))
    play.expect_books(ledger=[], gateway=[])


def _delivery(name: str, event: dict[str, object]) -> Call:
    sent_at = str(int(time.time()))
    headers = {
        "webhook-id": name,
        "webhook-timestamp": sent_at,
        "webhook-signature": signature(name, sent_at, json.dumps(event).encode()),
    }
    return Call(method="POST", path="/webhooks/gateway", data=event, headers=headers)


def a_form(play: Play) -> None:
    browser = replace(play.client, token="")
    path = f"/pay/{play.account}/"
    page = browser.send(Call(method="GET", path=path))
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)">', page.body.decode()))
    cookie = page.headers.get("set-cookie", "").partition(";")[0]
    fields = {"amount": 2700, "card": GOOD_CARD, **hidden}
    call = Call(method="POST", path=path, form=fields, headers={"Cookie": cookie})
    play.report.request(call, note="two clicks on one button")
    clicks = browser.send_together(call, 2)
    play.report.answers(clicks)
    again = play.send(call, by=browser, note="and once more, by the back button")
    _expect_one_receipt(play, [*clicks, again])
    play.expect_books(ledger=[2700], gateway=[2700])


def _expect_one_receipt(play: Play, answers: list[Answer]) -> None:
    receipts = {answer.headers.get("location") for answer in answers if answer.status == 302}
    one = len(receipts) == 1 and {answer.status for answer in answers} == {302}
    play.report.expect("each click leads to the one receipt", one, ", ".join(map(describe, answers)))
