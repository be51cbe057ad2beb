"""The examples of the documentation's pages about Celery."""

from typing import Any

import pytest
from celery import Celery

from tests.bank.models import Payment
from tests.test_docs import load, shop

__all__ = ["shop"]


@pytest.mark.django_db(transaction=True)
def test_the_tasks_take_effect_once() -> None:
    # In one test: Celery warns of a task that is defined a second time.
    tasks, gateway = load("order_tasks"), load("gateway")
    assert tasks.capture("17", 500) == tasks.capture("17", 500)
    assert list(gateway.CHARGES.values()) == [500]
    for _ in range(2):
        tasks.book({"id": "evt_1", "amount": 5})
    assert sorted(Payment.objects.values_list("key", "amount")) == [("17", 500), ("evt_1", 5)]


def test_the_schedule_names_tasks_that_the_app_discovers(settings: Any) -> None:
    found = load("celery_settings")
    settings.CELERY_BEAT_SCHEDULE = found.CELERY_BEAT_SCHEDULE
    app: Celery = load("celery_app").app
    try:
        named = {entry["task"] for entry in app.conf.beat_schedule.values()}
        assert len(app.conf.beat_schedule) == 6
        assert named <= set(app.tasks)
    finally:
        app.close()
