"""Keys expire and are forgotten without waiting."""

import pytest
from django.test import override_settings

from django_idempotency.models import IdempotencyRecord
from django_idempotency.testing import expire_answer, forget_key
from tests.bank.models import Payment

pytestmark = pytest.mark.django_db(databases=["default", "other"])


class TestExpireAnswer:
    def test_a_retry_finds_its_answer_expired(self, to):
        to("/right")("key-1")
        expire_answer("key-1")
        assert to("/right")("key-1").json()["code"] == "key-expired"

    def test_the_key_stays_remembered_for_its_whole_tombstone(self, to):
        to("/right")("key-1")
        before = IdempotencyRecord.objects.get()
        expire_answer("key-1")
        after = IdempotencyRecord.objects.get()
        assert after.forget_at - after.expires_at == before.forget_at - before.expires_at
        assert after.claimed_at <= after.completed_at < after.expires_at

    def test_other_keys_stay_as_they_are(self, to):
        to("/right")("key-1")
        to("/right")("key-2")
        expire_answer("key-1")
        assert to("/right")("key-2").headers["Idempotent-Replayed"] == "true"

    @override_settings(IDEMPOTENCY={"default": {"DATABASE": "other"}})
    def test_the_record_may_be_in_another_database(self, to):
        to("/right")("key-1")
        expire_answer("key-1")
        assert to("/right")("key-1").status_code == 412

    def test_a_key_without_an_answer_is_told(self):
        with pytest.raises(LookupError, match="No database has an answer under the key 'key-1'"):
            expire_answer("key-1")


class TestForgetKey:
    def test_a_retry_is_a_first_request_again(self, to):
        to("/right")("key-1")
        forget_key("key-1")
        assert "Idempotent-Replayed" not in to("/right")("key-1").headers
        assert Payment.objects.count() == 2

    def test_a_key_without_an_answer_is_told(self):
        with pytest.raises(LookupError, match=r"replace MemoryBackend\.now"):
            forget_key("key-1")
