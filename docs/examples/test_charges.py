import pytest
from rest_framework.test import APIClient
from shop import gateway

from django_idempotency.testing import assert_runs_once


def pay(key, amount=5):
    return APIClient().post("/payments", {"amount": amount}, format="json", headers={"Idempotency-Key": key})


@pytest.mark.django_db(transaction=True)
def test_a_card_is_charged_once():
    assert_runs_once(pay, effects=lambda: len(gateway.CHARGES))


@pytest.mark.django_db
def test_a_declined_card_is_not_asked_again(idempotency_key):
    assert pay(idempotency_key, amount=402).status_code == 402
    assert pay(idempotency_key, amount=402).headers["Idempotent-Replayed"] == "true"
