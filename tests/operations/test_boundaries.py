"""What may not surround an operation or a call, and what may not happen inside one."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, connections, transaction
from django.test import RequestFactory, TestCase

from django_idempotency import Respond
from django_idempotency.exceptions import TransactionBroken
from django_idempotency.models import IdempotencyRecord, IdempotencyStep
from tests.bank.models import Payment
from tests.operations.tills import GATEWAY, booked, deployed, incidents, journal, pay, record, reserve

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def request() -> Any:
    return RequestFactory().post("/pay", headers={"Idempotency-Key": "k"})


def write(**_: Any) -> dict[str, Any]:
    return {"payment": Payment.objects.create(key="inside", nonce="").pk}


CALLS = {
    "run": lambda: pay.run(key="k", amount=5),
    "respond": lambda: pay.respond(request(), amount=5),
}


@pytest.mark.parametrize("alias", ["default", "other"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_operation_inside_a_transaction_is_refused_before_anything_is_claimed(call: Any, alias: str) -> None:
    with transaction.atomic(using=alias), pytest.raises(ImproperlyConfigured, match="non_atomic_requests"):
        call()
    assert not IdempotencyRecord.objects.exists()
    assert GATEWAY.calls == []


def test_under_atomic_requests_too() -> None:
    view = transaction.atomic(lambda request: pay.respond(request, amount=5))
    with pytest.raises(ImproperlyConfigured, match="ATOMIC_REQUESTS"):
        view(request())
    assert not IdempotencyRecord.objects.exists()


def test_a_connection_without_autocommit_is_refused() -> None:
    transaction.set_autocommit(False)
    try:
        with pytest.raises(ImproperlyConfigured):
            pay.run(key="k", amount=5)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert not IdempotencyRecord.objects.exists()


@pytest.mark.parametrize("alias", ["default", "other"])
def test_a_remote_call_inside_a_transaction_is_refused_and_not_sent(alias: str) -> None:
    def function(op: Any, *, amount: int) -> Any:
        with transaction.atomic(using=alias):
            op.remote(GATEWAY.charge, amount=amount)

    with pytest.raises(ImproperlyConfigured, match="as long as the other system takes"):
        deployed(function).run(key="k", amount=5)
    assert (GATEWAY.calls, journal()) == ([], [])


@pytest.mark.parametrize("alias", ["default", "other"])
def test_a_phase_inside_a_transaction_is_refused_and_nothing_is_built_on_it(alias: str) -> None:
    def function(op: Any, *, amount: int) -> Any:
        with suppress(KeyError), transaction.atomic(using=alias):
            op.phase(reserve, amount=amount)
            raise KeyError  # undoes the phase
        return Respond(201, op.remote(GATEWAY.charge, amount=amount))

    with pytest.raises(ImproperlyConfigured, match="Each phase is a transaction of its own"):
        deployed(function).run(key="k", amount=5)
    assert (GATEWAY.calls, journal(), record().state) == ([], [], "processing")


class TestInATestCase(TestCase):
    """Django's own transaction round a test is none of the project's."""

    pytestmark: list[Any] = []

    def test_an_operation_runs(self) -> None:
        assert pay.run(key="k", amount=5).status == 201
        assert pay.run(key="k", amount=5).status == 201
        assert booked() == 1


class TestWritesInsideACall:
    @pytest.mark.parametrize("using", ["default", "other"])
    def test_a_write_is_refused_and_the_call_s_step_stays_open(self, using: str) -> None:
        GATEWAY.before = lambda: Payment.objects.using(using).create(key="inside", nonce="")
        with pytest.raises(ImproperlyConfigured, match=f"wrote to the database '{using}'"):
            pay.run(key="k", amount=5)
        assert not Payment.objects.using(using).filter(key="inside").exists()
        assert journal()[-1] == ("remote", "Gateway.charge", False)

    @pytest.mark.parametrize(
        "sql",
        [
            "INSERT INTO t VALUES (1)",
            "update t set a = 1",
            "  DELETE FROM t",
            "WITH a AS (SELECT 1) INSERT INTO t SELECT 1",
            "TRUNCATE t",
            "/* a comment */ DELETE FROM t",
        ],
    )
    def test_whatever_may_be_a_write(self, sql: str) -> None:
        def raw() -> None:
            with connection.cursor() as cursor:
                cursor.execute(sql)

        GATEWAY.before = raw
        with pytest.raises(ImproperlyConfigured, match="wrote"):
            pay.run(key="k", amount=5)

    def test_in_a_lookup_too(self) -> None:
        def find(*, idempotency_key: str, amount: int) -> Any:
            return write()

        def function(op: Any, *, amount: int) -> Any:
            return Respond(200, op.remote(GATEWAY.charge, lookup=find, amount=amount))

        GATEWAY.after = TimeoutError()
        for expected in (TimeoutError, ImproperlyConfigured):
            with pytest.raises(expected):
                deployed(function).run(key="k", amount=5)
        assert not Payment.objects.exists()

    def test_reading_is_allowed(self) -> None:
        seen = []

        def read() -> None:
            everything = Payment.objects.all()
            with transaction.atomic():
                seen.append((everything.count(), list(everything.union(everything)), everything.exists()))
            connections["other"].close()
            seen.append(Payment.objects.using("other").count())

        GATEWAY.before = read
        pay.run(key="k", amount=5)
        assert len(seen) == 2

    def test_after_the_call_writing_is_allowed_again(self) -> None:
        pay.run(key="k", amount=5)
        before = Payment.objects.count()
        write()
        assert Payment.objects.count() == before + 1

    @pytest.mark.parametrize("seconds", [60, 61, 0, -1, float("nan")])
    def test_a_call_s_timeout_is_shorter_than_the_lease(self, seconds: float) -> None:
        def function(op: Any, *, amount: int) -> Any:
            return op.remote(GATEWAY.charge, timeout=seconds, amount=amount)

        with pytest.raises(ImproperlyConfigured, match="shorter than the LEASE of 60 s"):
            deployed(function).run(key="k", amount=5)
        assert (GATEWAY.calls, journal()) == ([], [])

    def test_no_key_outlives_our_memory_of_it(self) -> None:
        GATEWAY.key_ttl = timedelta(days=33)
        assert deployed(pay.function).run(key="k", amount=5).status == 201
        GATEWAY.key_ttl = timedelta(days=33, seconds=1)
        with pytest.raises(ImproperlyConfigured, match="longer than RETENTION and TOMBSTONE"):
            pay.run(key="outlives", amount=5)
        assert GATEWAY.names == ["charge"]

    def test_the_gateway_s_own_timeout_counts(self) -> None:
        def charge(idempotency_key: str, amount: int) -> Any:
            return None

        charge.timeout = 61.0  # type: ignore[attr-defined]
        with pytest.raises(ImproperlyConfigured, match="not 61 s"):
            deployed(lambda op, amount: op.remote(charge, amount=amount)).run(key="k", amount=5)


def raw_end(how: str) -> Any:
    def end(amount: int) -> Any:
        reserve(amount)
        with connection.cursor() as cursor:
            cursor.execute(how)

    return end


class TestPhases:
    @pytest.mark.parametrize("how", ["COMMIT", "ROLLBACK"])
    def test_one_that_ends_its_transaction_itself_waits_for_a_person(self, how: str) -> None:
        end = raw_end(how)
        with pytest.raises(TransactionBroken):
            deployed(lambda op, amount: Respond(200, op.phase(end, amount=amount))).run(key="k", amount=5)
        assert (record().state, journal()) == ("unknown", [])
        assert incidents() == [("unknown", "a phase ended its transaction itself")]

    def test_one_that_swallows_an_error_of_the_database_keeps_nothing(self) -> None:
        def swallow(amount: int) -> Any:
            payment = reserve(amount)
            with suppress(IntegrityError):
                Payment.objects.create(pk=payment["payment"], key="again", nonce="")
            return payment

        with pytest.raises(transaction.TransactionManagementError):
            deployed(lambda op, amount: op.phase(swallow, amount=amount)).run(key="k", amount=5)
        assert not Payment.objects.exists()
        assert (journal(), record().state) == ([], "processing")

    def test_its_step_and_its_writes_are_one_transaction(self) -> None:
        def fail_later(amount: int) -> Any:
            reserve(amount)
            IdempotencyStep.objects.create(record_id=record().id, position=0, name="in the way", kind="phase")
            return None

        with pytest.raises(IntegrityError):
            deployed(lambda op, amount: op.phase(fail_later, amount=amount)).run(key="k", amount=5)
        assert not Payment.objects.exists()
        assert not IdempotencyStep.objects.exists()
