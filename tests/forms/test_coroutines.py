"""Coroutine views: a form's field, and an id by the view's own callable."""

import asyncio
import json
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponseRedirect
from django.test import AsyncRequestFactory

from django_idempotency import idempotent

pytestmark = pytest.mark.django_db(transaction=True)


def view(entered=None, go_on=None, **choices):
    runs = []

    @idempotent(**choices)
    async def pay(request):
        runs.append(request.idempotency.key)
        if entered:
            entered.set()
            await go_on.wait()
        return HttpResponseRedirect(f"/receipts/{len(runs)}")

    return pay, runs


def submission(**headers):
    return AsyncRequestFactory().post("/pay", {"amount": 5, "idempotency_key": "abc"}, headers=headers)


def test_a_form_submitted_twice_takes_effect_once():
    pay, runs = view()
    answers = [async_to_sync(pay)(submission()) for _ in range(2)]
    assert [answer.headers["Location"] for answer in answers] == ["/receipts/1"] * 2
    assert (answers[1].headers["Idempotent-Replayed"], runs) == ("true", ["abc"])


def test_an_event_delivered_twice_is_taken_once():
    pay, runs = view(key=lambda request: json.loads(request.body)["id"])
    for attempt in (1, 2):
        body = {"id": "evt_1", "attempt": attempt}
        answer = async_to_sync(pay)(AsyncRequestFactory().post("/hook", body, content_type="application/json"))
    assert (answer.headers["Idempotent-Replayed"], runs) == ("true", ["evt_1"])


def test_a_second_click_waits_for_the_first():
    async def click_twice():
        entered, go_on = asyncio.Event(), asyncio.Event()
        pay, runs = view(entered, go_on, wait=timedelta(seconds=20))
        first = asyncio.create_task(pay(submission()))
        await entered.wait()
        second = asyncio.create_task(pay(submission()))
        await asyncio.sleep(0)
        # One thread does all that waits for the database: who asks after the second click is answered after it.
        impatient = await pay(submission(**{"Idempotency-Key": "abc"}))
        go_on.set()
        return impatient, await first, await second, runs

    impatient, first, second, runs = async_to_sync(click_twice)()
    assert impatient.status_code == 409
    assert (second.status_code, second.headers["Location"]) == (302, first.headers["Location"])
    assert runs == ["abc"]
