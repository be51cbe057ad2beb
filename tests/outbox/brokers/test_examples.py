"""The examples of the documentation's page about the outbox."""

import pytest
from celery import Celery

from django_idempotency.models import IdempotencyMessage
from django_idempotency.outbox.drains import Drained, drain
from tests.bank.models import Payment
from tests.outbox.senders import later
from tests.test_docs import assert_runs_once, load, shop

__all__ = ["shop"]


@pytest.mark.django_db(transaction=True)
def test_a_fee_is_booked_once_for_a_payment_that_is_asked_for_and_sent_twice(app: Celery) -> None:
    app.conf.task_always_eager = True
    form = "application/x-www-form-urlencoded"
    answer = assert_runs_once(load("outbox_view").pay, "amount=5", content_type=form)
    payload = IdempotencyMessage.objects.get().payload
    assert drain() == Drained(sent=1)
    IdempotencyMessage.objects.update(delivered_at=None, payload=payload)
    later()
    assert drain() == Drained(sent=1)
    assert [fee.key for fee in Payment.objects.filter(amount=1)] == [f"fee of {answer.json()['payment']}"]
