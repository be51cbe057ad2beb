"""Enqueueing: with the caller's transaction or not at all, and nothing that could not be sent."""

import uuid
from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import IntegrityError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_idempotency import enqueue_on_commit, outbox
from django_idempotency.models import IdempotencyMessage
from tests.outbox.senders import SEND, Broker, Task, enqueued, row
from tests.support.frames import shown_of

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class TestTransactions:
    def test_a_message_is_there_when_its_transaction_is_committed(self):
        number = enqueued(17, currency="EUR")
        assert bytes(row(number).payload) == b'[[17], {"currency": "EUR"}]'

    def test_a_message_is_rolled_back_with_its_transaction(self):
        with transaction.atomic():
            enqueue_on_commit(SEND)
            transaction.set_rollback(True)
        assert IdempotencyMessage.objects.count() == 0

    def test_outside_of_a_transaction_it_is_refused_and_the_way_out_is_named(self):
        with pytest.raises(
            TransactionManagementError, match=r"'default'.*transaction\.atomic\(\).*@idempotent.*using="
        ):
            enqueue_on_commit(SEND)
        assert IdempotencyMessage.objects.count() == 0

    def test_a_transaction_on_another_database_does_not_count(self):
        with transaction.atomic(using="other"), pytest.raises(TransactionManagementError):
            enqueue_on_commit(SEND)
        assert IdempotencyMessage.objects.count() == 0

    def test_another_database_can_be_named(self):
        number = enqueued(using="other")
        assert IdempotencyMessage.objects.using("other").get().pk == number
        assert IdempotencyMessage.objects.count() == 0

    @override_settings(IDEMPOTENCY={"default": {"DATABASE": "other"}})
    def test_it_lies_where_the_records_of_the_default_profile_lie(self):
        with transaction.atomic(using="other"):
            enqueue_on_commit(SEND)
        assert IdempotencyMessage.objects.using("other").count() == 1

    def test_messages_of_one_put_are_one_statement(self):
        messages = [outbox.message(SEND, [number], {}) for number in range(5)]
        with transaction.atomic(), CaptureQueriesContext(connection) as statements:
            outbox.put("default", messages)
        assert len(statements) == 1
        assert IdempotencyMessage.objects.count() == 5

    def test_the_same_id_is_refused_a_second_time(self):
        message = outbox.message(SEND, [], {}, id=uuid.uuid4())
        with transaction.atomic():
            outbox.put("default", [message])
        with pytest.raises(IntegrityError), transaction.atomic():
            outbox.put("default", [replace(message)])
        assert IdempotencyMessage.objects.count() == 1


class TestMessages:
    def test_an_id_is_made_unless_one_is_given(self):
        number = uuid.uuid4()
        assert outbox.message(SEND, [], {}, id=number).id == number
        assert outbox.message(SEND, [], {}).id != outbox.message(SEND, [], {}).id

    def test_it_is_described_as_json_without_its_id(self):
        assert outbox.message(SEND, (1,), {"b": (2,)}).described() == ["celery", "shop.send", [1], {"b": [2]}]

    def test_what_is_changed_after_it_was_enqueued_is_not_sent(self):
        basket = [1]
        message = outbox.message(SEND, [basket], {})
        basket.append(2)
        assert message.args == [[1]]

    @pytest.mark.parametrize("argument", [{1}, b"1", uuid.uuid4(), float("nan"), object()])
    def test_what_is_no_json_is_refused(self, argument: Any) -> None:
        with pytest.raises(TypeError, match=r"arguments of shop\.send must be JSON"):
            outbox.message(SEND, [argument], {})

    @pytest.mark.parametrize("task", [print, "shop.send", None, Task])
    def test_what_is_no_task_is_refused(self, task: Any) -> None:
        with pytest.raises((TypeError, AttributeError)):
            outbox.message(task, [], {})

    def test_a_name_too_long_for_the_row_is_refused(self):
        with pytest.raises(TypeError, match="255 characters"):
            outbox.message(Task("n" * 256), [], {})

    def test_what_it_is_called_with_is_not_shown(self):
        assert "4111" not in repr(outbox.message(SEND, ["4111"], {"card": "4111"}))


@pytest.mark.django_db(transaction=True)
class TestEncryption:
    def test_what_waits_is_encrypted_and_sent_as_it_was(self, broker: Broker):
        from django_idempotency.outbox.drains import drain

        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": [NEW]}}):
            number = enqueued("secret")
            assert b"secret" not in bytes(row(number).payload)
            assert drain().sent == 1
        assert broker.sent == [(number, (["secret"], {}))]

    def test_the_keys_of_any_profile_are_used_where_the_default_one_has_none(self, broker: Broker):
        from django_idempotency.outbox.drains import drain

        with override_settings(IDEMPOTENCY={"gateway": {"ENCRYPTION_KEYS": [NEW]}}):
            number = enqueued("secret")
            assert b"secret" not in bytes(row(number).payload)
            assert drain().sent == 1

    def test_rekeying_brings_what_waits_under_the_newest_key(self, broker: Broker):
        from django_idempotency.outbox.drains import drain
        from django_idempotency.rotation import Rekeyed, rekey

        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": [OLD]}}):
            enqueued("secret")
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": [NEW, OLD]}}):
            assert rekey() == Rekeyed(rekeyed=1)
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": [NEW]}}):
            assert drain().sent == 1
            enqueued("open")
            assert rekey() == Rekeyed()

    def test_one_that_cannot_be_written_shows_no_key_to_error_trackers(self):
        message = outbox.message(SEND, [], {})
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": [NEW]}}):
            with pytest.raises(IntegrityError) as raised, transaction.atomic():
                outbox.put("default", [message, message])
            assert NEW not in shown_of(raised.value)
