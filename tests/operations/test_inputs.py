"""What an operation is given: refused before anything is claimed, or kept and given again."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import RequestFactory, override_settings

from django_idempotency import Respond, RetryLater, operation
from django_idempotency.backends import MemoryBackend
from django_idempotency.exceptions import StoreUnavailable
from django_idempotency.models import IdempotencyRecord, IdempotencyStep
from tests.operations.tills import GATEWAY, deployed, interrupted, pay, record
from tests.support.frames import shown_of

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "tok_s3cret"


@operation(name="tests.anything")
def anything(op: Any, *, given: Any = None, **others: Any) -> Any:
    return Respond(200, op.phase(echo, given=given))


def echo(given: Any) -> Any:
    return given


def nothing_was_claimed() -> bool:
    return not IdempotencyRecord.objects.exists()


NO_JSON = [Decimal("1.5"), b"bytes", {1, 2}, object(), float("nan"), float("inf"), timedelta(1), {(1, 2): 3}]


class TestRefused:
    @pytest.mark.parametrize("given", NO_JSON, ids=repr)
    def test_input_that_is_no_json(self, given: Any) -> None:
        with pytest.raises(TypeError):
            anything.run(key="k", given=given)
        assert nothing_was_claimed()

    @pytest.mark.parametrize("given", [float("nan"), Decimal(1)])
    def test_in_a_view_too(self, given: Any) -> None:
        with pytest.raises(TypeError, match="must be JSON"):
            anything.respond(RequestFactory().post("/pay", headers={"Idempotency-Key": "k"}), given=given)
        assert nothing_was_claimed()

    @pytest.mark.parametrize("name", ["cvc", "card_cvv", "pin", "track2"])
    def test_what_must_never_be_stored_even_encrypted(self, name: str) -> None:
        for given in ({name: "123"}, {"given": {"card": [{name: "123"}]}}):
            with pytest.raises(ImproperlyConfigured, match="must not be stored"):
                anything.run(key="k", **given)
        assert nothing_was_claimed()

    def test_arguments_that_the_function_does_not_take(self) -> None:
        for given in ({}, {"amount": 5, "other": 1}):
            with pytest.raises(TypeError):
                pay.run(key="k", **given)
        assert nothing_was_claimed()

    @override_settings(IDEMPOTENCY={"default": {"BACKEND": MemoryBackend}})
    def test_a_backend_without_a_journal(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="DatabaseBackend"):
            pay.run(key="k", amount=5)

    def test_a_phase_s_input_that_is_no_json(self) -> None:
        with pytest.raises(TypeError, match="phase is given"):
            deployed(lambda op, amount: op.phase(echo, given=Decimal(1))).run(key="k", amount=5)

    def test_a_call_s_input_that_is_no_json_is_not_sent(self) -> None:
        with pytest.raises(TypeError, match="remote call is given"):
            deployed(lambda op, amount: op.remote(GATEWAY.charge, amount=Decimal(1))).run(key="k", amount=5)
        assert GATEWAY.calls == []
        assert not IdempotencyStep.objects.exists()

    def test_a_phase_s_result_that_is_no_json_undoes_it(self) -> None:
        def give() -> Any:
            IdempotencyRecord.objects.filter(key="k").update(currency="EUR")
            return Decimal(1)

        with pytest.raises(TypeError, match="give returns"):
            deployed(lambda op, amount: op.phase(give)).run(key="k", amount=5)
        assert record().currency == ""


class TestKept:
    def test_a_resumed_function_is_given_what_the_first_one_was(self) -> None:
        seen = []

        def function(op: Any, **given: Any) -> Any:
            seen.append(given)
            return RetryLater(1) if op.attempt == 1 else Respond(200)

        kept = operation(name="tests.kept")(function)
        given = {"given": {"n": 12345678901234567890123, "list": [1.0, None, "ü"]}}
        with pytest.raises(RetryLater):
            kept.run(key="k", **given)
        assert kept.run(key="k", **given) == Respond(200)
        assert seen == [given, given]

    def test_equal_input_in_another_order_is_the_same_operation(self) -> None:
        first = anything.run(key="k", given={"a": 1, "b": [1, 2]})
        assert anything.run(key="k", given={"b": [1, 2], "a": 1}) == first

    @pytest.mark.parametrize("other", [1.0, "1", True, [1]])
    def test_what_only_looks_alike_is_another(self, other: Any) -> None:
        anything.run(key="k", given=1)
        with pytest.raises(Exception, match="another request"):
            anything.run(key="k", given=other)


class TestEncryption:
    @pytest.fixture(autouse=True)
    def key(self) -> Any:
        fernet = pytest.importorskip("cryptography.fernet", reason="without cryptography")
        key = fernet.Fernet.generate_key().decode()
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": [key]}}):
            yield key

    def tables(self) -> bytes:
        """Everything in the tables of the record and of its journal."""
        found = b""
        with connection.cursor() as cursor:
            for model in (IdempotencyRecord, IdempotencyStep):
                cursor.execute(f"SELECT * FROM {model._meta.db_table}")
                for row in cursor.fetchall():
                    found += b"|".join(bytes(v) if isinstance(v, bytes | memoryview) else str(v).encode() for v in row)
        return found

    def test_nothing_of_input_steps_and_answer_can_be_read_in_the_tables(self) -> None:
        def charge(idempotency_key: str, card: str) -> Any:
            return {"card": card, "more": SECRET}

        def function(op: Any, *, card: str) -> Any:
            op.phase(echo, given=card)
            return Respond(201, op.remote(charge, card=card, timeout=5))

        secret = operation(name="tests.secret")(function)
        answer = secret.run(key="k", card=SECRET)
        assert answer == secret.run(key="k", card=SECRET) == Respond(201, {"card": SECRET, "more": SECRET})
        found = self.tables()
        assert b"tests.secret" in found
        assert SECRET.encode() not in found

    def test_an_answer_that_is_no_json_shows_no_key_to_error_trackers(self, key: str) -> None:
        with pytest.raises(TypeError) as raised:
            deployed(lambda op, amount: Respond(200, Decimal(1))).run(key="k", amount=5)
        assert key not in shown_of(raised.value)

    def test_nor_does_one_that_cannot_be_read(self, key: str) -> None:
        assert pay.run(key="k", amount=5).status == 201
        IdempotencyRecord.objects.update(body=b"changed")
        with pytest.raises(StoreUnavailable) as raised:
            pay.run(key="k", amount=5)
        assert key not in shown_of(raised.value)

    def test_an_interrupted_one_goes_on_with_what_it_can_decrypt(self) -> None:
        interrupted()
        assert pay.run(key="k", amount=5) == Respond(201, {"charge": 1, "amount": 5})
