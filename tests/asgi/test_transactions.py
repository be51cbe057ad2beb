"""Coroutine views round an open transaction, a connection that was lost, and functions that end strangely."""

import asyncio
import json
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import DataError, connection, transaction
from django.http import HttpResponse
from django.test import AsyncRequestFactory

from django_idempotency import Kept, idempotent
from django_idempotency.backends import DatabaseBackend
from django_idempotency.backends.db.leases import Leases
from django_idempotency.conf import get_policy
from django_idempotency.exceptions import StoreUnavailable
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment

pytestmark = pytest.mark.django_db(transaction=True)


def post(view: Any, key: str | None = "abc") -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return async_to_sync(view)(AsyncRequestFactory().post("/pay", headers=headers))


def code(response: Any) -> str:
    return str(json.loads(response.content)["code"])


def state() -> str | None:
    return IdempotencyRecord.objects.values_list("state", flat=True).first()


def pay(status: int = 201) -> HttpResponse:
    Payment.objects.create(key="k", nonce="")
    return HttpResponse(b"paid", status=status)


def keep(status: int) -> HttpResponse:
    raise Kept(pay(status))


async def end(request: Any) -> Any:
    return await request.idempotency.commit(pay)


class AsyncAtomic:
    """What many projects have: a transaction in the request's thread, open while the coroutine goes on."""

    async def __aenter__(self) -> None:
        self.atomic = transaction.atomic()
        await sync_to_async(self.atomic.__enter__)()

    async def __aexit__(self, *exc: Any) -> None:
        await sync_to_async(self.atomic.__exit__)(*exc)


class TestOpenTransaction:
    """Rolled back later, it takes along what was told to be done."""

    @pytest.fixture
    def _manual(self) -> Iterator[None]:
        connection.set_autocommit(False)
        yield
        connection.rollback()
        connection.set_autocommit(True)

    @pytest.mark.usefixtures("_manual")
    def test_without_autocommit_nothing_is_claimed_and_nothing_runs(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="autocommit"):
            post(idempotent(end))
        assert Payment.objects.count() == 0

    def test_commit_in_one_is_refused(self) -> None:
        @idempotent
        async def view(request: Any) -> HttpResponse:
            async with AsyncAtomic():
                await request.idempotency.commit(pay)
                raise RuntimeError("rolls back what was committed")

        with pytest.raises(ImproperlyConfigured, match="transaction open"):
            post(view)
        assert (state(), Payment.objects.count()) == ("unknown", 0)

    def test_an_answer_is_not_given_while_one_is_open(self) -> None:
        @idempotent
        async def view(request: Any) -> HttpResponse:
            await sync_to_async(transaction.set_autocommit)(False)
            return await sync_to_async(pay)()

        with pytest.raises(ImproperlyConfigured, match="transaction open"):
            post(view)
        connection.close()
        assert (state(), Payment.objects.count()) == ("processing", 0)


def test_a_commit_of_which_nothing_was_heard_is_asked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook fails after the COMMIT, and then the database cannot be asked for a moment."""

    def unreachable(*args: Any) -> bool:
        raise StoreUnavailable

    def function() -> HttpResponse:
        monkeypatch.setattr(Leases, "extend", unreachable)
        transaction.on_commit(lambda: next(iter([])))
        return pay()

    @idempotent
    async def view(request: Any) -> Any:
        return await request.idempotency.commit(function)

    assert [post(view).content for _ in range(2)] == [b"paid"] * 2
    assert (state(), Payment.objects.count()) == ("completed", 1)


def test_what_a_function_sets_in_its_context_is_seen_by_its_view() -> None:
    language: ContextVar[str] = ContextVar("language", default="en")

    @idempotent
    async def view(request: Any) -> HttpResponse:
        return HttpResponse(await request.idempotency.commit(function) and language.get())

    def function() -> HttpResponse:
        language.set("cy")
        return HttpResponse(status=503)

    assert post(view).content == b"cy"


class TestWithoutKey:
    """commit() does what it does with one."""

    @pytest.mark.parametrize(("function", "effects"), [(pay, 0), (keep, 1)])
    def test_an_effect_goes_with_its_answer(self, function: Any, effects: int) -> None:
        @idempotent(required=False)
        async def view(request: Any) -> Any:
            return await request.idempotency.commit(function, 503)

        assert post(view, key=None).status_code == 503
        assert Payment.objects.count() == effects
        post(view)
        assert Payment.objects.count() == 2 * effects


@pytest.mark.timeout(20)
def test_a_function_that_raises_stop_iteration_does_not_hang_its_request() -> None:
    @idempotent
    async def view(request: Any) -> Any:
        return await request.idempotency.commit(lambda: next(iter([])))

    with pytest.raises(RuntimeError, match="StopIteration"):
        post(view)
    assert state() == "unknown"


def test_an_extension_that_fails_somehow_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    extended, usual, again = [], Leases.extend, asyncio.Event()

    def extend(self: Leases, claim: Any) -> bool:
        extended.append(claim)
        if len(extended) == 1:
            raise DataError("not one of those that a database is expected to raise")
        loop.call_soon_threadsafe(again.set)
        return usual(self, claim)

    @idempotent(lease=timedelta(seconds=1))
    async def view(request: Any) -> HttpResponse:
        nonlocal loop
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(again.wait(), 5)
        return HttpResponse()

    loop: Any = None
    monkeypatch.setattr(Leases, "extend", extend)
    assert post(view).status_code == 200


def test_a_connection_that_was_lost_before_commit_is_opened_anew() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no server")

    @idempotent
    async def view(request: Any) -> Any:
        await sync_to_async(cut)()
        return await request.idempotency.commit(pay)

    assert post(view).content == b"paid"
    assert (state(), Payment.objects.count()) == ("completed", 1)


def cut() -> None:
    """Let the server end the connection."""
    driver: Any = connection.connection
    number = driver.info.backend_pid if connection.vendor == "postgresql" else driver.thread_id()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(
            f"SELECT pg_terminate_backend({number})" if connection.vendor == "postgresql" else f"KILL {number}"
        )
    other.close()


@pytest.mark.parametrize(("rerun", "told"), [(False, "outcome-unknown"), (True, "store-unavailable")])
def test_an_answer_that_cannot_be_stored_is_asked_for_again_where_that_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, rerun: bool, told: str
) -> None:
    def unreachable(*args: Any) -> bool:
        raise StoreUnavailable

    @idempotent(rerun=rerun)
    async def view(request: Any) -> HttpResponse:
        return HttpResponse()

    monkeypatch.setattr("django_idempotency.core.leases.PAUSES", (0.0,))
    monkeypatch.setattr(type(DatabaseBackend(get_policy()).leases()), "complete", unreachable)
    assert code(post(view)) == told
    assert state() == "processing"


def test_a_coroutine_is_no_check() -> None:
    """Called synchronously, it would be true of everybody."""

    async def nobody(request: Any) -> bool:
        return False

    with pytest.raises(ImproperlyConfigured, match="coroutine function"):
        idempotent(authorize=nobody)
