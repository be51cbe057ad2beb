from django.test import Client, TransactionTestCase
from shop.models import Payment

from django_idempotency.testing import assert_runs_once, expire_answer, forget_key


def pay(key):
    return Client().post("/payments", {"amount": 5}, content_type="application/json", headers={"Idempotency-Key": key})


class PaymentTests(TransactionTestCase):
    def test_a_payment_is_made_once(self):
        assert_runs_once(pay, effects=Payment.objects.count)

    def test_a_retry_after_the_retention_is_refused(self):
        pay("key-1")
        expire_answer("key-1")
        assert pay("key-1").status_code == 412

    def test_a_key_that_is_forgotten_can_be_used_again(self):
        pay("key-1")
        forget_key("key-1")
        assert pay("key-1").status_code == 201
        assert Payment.objects.count() == 2
