"""A coroutine view between its client and the store: cancelled at every await, failing, extended, settled in the end."""

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.http import HttpResponse
from django.test import AsyncRequestFactory

from django_idempotency import Kept, idempotent
from django_idempotency.backends import BaseBackend, DatabaseBackend
from django_idempotency.conf import get_policy
from django_idempotency.core.engine import Claim, Completed, Refused, Released, StoredRecord
from django_idempotency.core.leases import settle
from django_idempotency.core.states import State
from django_idempotency.exceptions import InFlight, OutcomeUnknown, StoreUnavailable
from tests.support.contenders import operation
from tests.support.threads import PATIENCE

FIRST = Claim(operation=operation("k"), number=1)


class Store:
    """Says what it is told to, and remembers what it was asked and in which thread."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.threads: set[int] = set()
        self.says: dict[str, list[Any]] = {"claim": [FIRST]}
        self.meanwhile: dict[str, Callable[[], None]] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*args: Any) -> Any:
            self.asked.append(name)
            self.threads.add(threading.get_ident())
            self.meanwhile.get(name, int)()
            if name == "commit":
                args[1](args[0])
            says = self.says.get(name, [{"commit": Completed(FIRST), "read": None}.get(name, True)])
            answer = says.pop(0) if len(says) > 1 else says[0]
            if isinstance(answer, Exception):
                raise answer
            if name == "claim" and isinstance(answer, Claim):
                return Claim(operation=args[0], number=answer.number)
            return answer

        return ask


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store of every backend."""
    store = Store()
    monkeypatch.setattr(DatabaseBackend, "leases", lambda self: store)
    monkeypatch.setattr(DatabaseBackend, "observe", lambda self, send: send())
    monkeypatch.setattr(DatabaseBackend, "on_commit", lambda self, call: call())
    return store


def run(view: Any, *, key: str | None = "k", method: str = "post") -> Any:
    """Answer one request as the ASGI handler does."""

    async def main() -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        async with ThreadSensitiveContext():
            return await view(getattr(AsyncRequestFactory(), method)("/pay", headers=headers))

    return asyncio.run(main())


def problem(response: Any) -> str:
    """Return the code of a problem document."""
    return str(json.loads(response.content)["code"])


def cancelling(store: Store, name: str, *, every_task: bool = False) -> Callable[..., Any]:
    """Wrap a view so that its request is cancelled while the store is asked this; or all there is, as at shutdown."""

    def around(view: Any) -> Any:
        async def request(*args: Any) -> Any:
            task, loop = asyncio.current_task(), asyncio.get_running_loop()
            assert task is not None

            def cancel() -> None:
                # The first is swallowed by asgiref, too; what is then done for the request is hit by the second.
                for _ in range(1 if every_task else 2):
                    for one in asyncio.all_tasks(loop) if every_task else [task]:
                        loop.call_soon_threadsafe(one.cancel)
                    # The loop has delivered it, through all that awaits, when it has gone round a few times.
                    for _ in range(5):
                        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(5)

            store.meanwhile[name] = cancel
            return await view(*args)

        return request

    return around


@idempotent
async def pay(request: Any) -> HttpResponse:
    return HttpResponse(b"paid", status=201)


@idempotent
async def commit(request: Any) -> Any:
    return await request.idempotency.commit(HttpResponse, b"paid", status=201)


@idempotent(rerun=True)
async def rerun(request: Any) -> HttpResponse:
    return HttpResponse(b"paid", status=201)


def raising(error: BaseException, **choices: Any) -> Any:
    @idempotent(**choices)
    async def view(request: Any) -> HttpResponse:
        raise error

    return view


def returning(status: int, **choices: Any) -> Any:
    @idempotent(**choices)
    async def view(request: Any) -> HttpResponse:
        return HttpResponse(status=status)

    return view


class TestSettling:
    @pytest.mark.parametrize(
        ("view", "asked"),
        [
            (pay, ["claim", "complete"]),
            (rerun, ["claim", "complete"]),
            (commit, ["claim", "commit"]),
            (returning(402), ["claim", "complete"]),
            (returning(400), ["claim", "release"]),
            (returning(503), ["claim", "release"]),
            (returning(503, keep=lambda request, response: True), ["claim", "complete"]),
        ],
    )
    def test_what_is_returned_is_kept_or_frees_the_key(self, store: Store, view: Any, asked: list[str]) -> None:
        run(view)
        assert store.asked == asked

    def test_kept_is_kept(self, store: Store) -> None:
        assert run(raising(Kept(HttpResponse(status=503)))).status_code == 503
        assert store.asked == ["claim", "complete"]

    @pytest.mark.parametrize("error", [RuntimeError("a bug"), asyncio.CancelledError()])
    def test_what_raises_is_in_doubt(self, store: Store, error: BaseException) -> None:
        with pytest.raises(type(error)):
            run(raising(error))
        assert store.asked == ["claim", "doubt"]

    @pytest.mark.parametrize("error", [RuntimeError("a bug"), asyncio.CancelledError()])
    def test_what_raises_frees_the_key_where_its_author_vouches(self, store: Store, error: BaseException) -> None:
        with pytest.raises(type(error)):
            run(raising(error, rerun=True))
        assert store.asked == ["claim", "release"]

    def test_without_a_key_nothing_is_asked(self, store: Store) -> None:
        assert run(idempotent(required=False)(pay.__wrapped__), key=None).status_code == 201
        assert run(pay, method="get").status_code == 201
        assert run(pay, key=None).status_code == 400
        assert store.asked == []

    def test_an_answer_that_cannot_be_stored_at_first_is_tried_again(self, store: Store) -> None:
        store.says["complete"] = [StoreUnavailable(), True]
        assert run(pay).status_code == 201
        assert store.asked == ["claim", "complete", "complete"]

    def test_an_answer_that_cannot_be_stored_at_all_is_not_given(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_idempotency.core.leases.PAUSES", (0.0,))
        store.says["complete"] = [StoreUnavailable()]
        assert problem(run(pay)) == "outcome-unknown"

    def test_a_claim_that_was_lost_answers_what_the_record_says(self, store: Store) -> None:
        store.says["complete"] = [False]
        assert problem(run(pay)) == "outcome-unknown"

    def test_a_first_request_is_waited_for_without_blocking_the_loop(self, store: Store) -> None:
        store.says["claim"] = [
            Refused(InFlight()),
            Refused(InFlight()),
            Refused(OutcomeUnknown(operation=FIRST.operation.id)),
        ]
        waiting = idempotent(wait=timedelta(seconds=5))(pay.__wrapped__)

        async def main() -> Any:
            headers = {"Idempotency-Key": "k", "Prefer": "wait=5"}
            async with ThreadSensitiveContext():
                return await waiting(AsyncRequestFactory().post("/pay", headers=headers))

        assert problem(asyncio.run(main())) == "outcome-unknown"
        assert store.asked == ["claim"] * 3


class TestCancelled:
    """Cancelled while the store is at work: what was begun is ended first."""

    def test_in_the_claim_the_view_does_not_start_and_the_key_is_free(self, store: Store) -> None:
        with pytest.raises(asyncio.CancelledError):
            run(cancelling(store, "claim")(pay))
        assert store.asked == ["claim", "release"]

    @pytest.mark.parametrize("name", ["claim", "complete", "commit"])
    def test_with_every_task_of_the_loop_what_the_thread_has_begun_is_minded(self, store: Store, name: str) -> None:
        with pytest.raises(asyncio.CancelledError):
            run(cancelling(store, name, every_task=True)(commit if name == "commit" else pay))
        assert store.asked == (["claim", "release"] if name == "claim" else ["claim", name])

    @pytest.mark.parametrize(("view", "name"), [(pay, "complete"), (rerun, "complete"), (returning(400), "release")])
    def test_in_the_completion_the_answer_is_stored(self, store: Store, view: Any, name: str) -> None:
        with pytest.raises(asyncio.CancelledError):
            run(cancelling(store, name)(view))
        assert store.asked == ["claim", name]

    def test_in_the_commit_it_is_committed_and_not_in_doubt(self, store: Store) -> None:
        with pytest.raises(asyncio.CancelledError):
            run(cancelling(store, "commit")(commit))
        assert store.asked == ["claim", "commit"]

    def test_in_the_doubt_the_doubt_is_written(self, store: Store) -> None:
        with pytest.raises(asyncio.CancelledError):
            run(cancelling(store, "doubt")(raising(RuntimeError("a bug"))))
        assert store.asked == ["claim", "doubt"]


class TestCommit:
    def view(self, call: Callable[[Any], Any], **choices: Any) -> Any:
        @idempotent(**choices)
        async def view(request: Any) -> Any:
            return await call(request.idempotency)

        return view

    def test_its_answer_stands_whatever_the_view_returns(self, store: Store, caplog: Any) -> None:
        async def call(idempotency: Any) -> HttpResponse:
            await idempotency.commit(HttpResponse, b"paid")
            return HttpResponse(b"another")

        assert run(self.view(call)).content == b"paid"
        assert "did not return what it committed" in caplog.text

    def test_its_answer_stands_though_the_view_raises(self, store: Store, caplog: Any) -> None:
        async def call(idempotency: Any) -> HttpResponse:
            await idempotency.commit(HttpResponse, b"paid")
            raise RuntimeError("after the commit")

        assert run(self.view(call)).content == b"paid"
        assert store.asked == ["claim", "commit"]
        assert "failed after its commit" in caplog.text

    def test_it_commits_one_answer(self, store: Store) -> None:
        async def call(idempotency: Any) -> Any:
            await idempotency.commit(HttpResponse, b"paid")
            with pytest.raises(ImproperlyConfigured, match="cannot be called again"):
                await idempotency.commit(HttpResponse, b"again")
            return HttpResponse()

        assert run(self.view(call)).content == b"paid"

    def test_after_a_failure_it_may_be_called_again(self, store: Store) -> None:
        async def call(idempotency: Any) -> Any:
            with pytest.raises(TypeError, match="returns the response, not dict"):
                await idempotency.commit(dict)
            return await idempotency.commit(HttpResponse, b"paid")

        assert run(self.view(call)).content == b"paid"

    def test_a_coroutine_function_is_refused(self, store: Store) -> None:
        with pytest.raises(TypeError, match="synchronous function"):
            run(self.view(lambda idempotency: idempotency.commit(pay)))

    def test_where_the_claim_was_lost_the_record_answers(self, store: Store) -> None:
        store.says["commit"] = [Refused(InFlight())]
        assert problem(run(commit)) == "in-flight"
        assert store.asked == ["claim", "commit"]

    def test_what_is_not_kept_is_returned_and_frees_the_key(self, store: Store) -> None:
        store.says["commit"] = [Released(FIRST)]
        view = self.view(lambda idempotency: idempotency.commit(HttpResponse, status=503))
        assert run(view).status_code == 503
        assert store.asked == ["claim", "commit", "release"]

    def test_a_store_that_cannot_be_reached_leaves_doubt_or_a_free_key(self, store: Store) -> None:
        store.says["commit"] = [StoreUnavailable()]
        assert problem(run(commit)) == "outcome-unknown"
        vouched = self.view(lambda idempotency: idempotency.commit(HttpResponse), rerun=True)
        assert problem(run(vouched)) == "store-unavailable"
        assert store.asked == ["claim", "commit", "doubt", "claim", "commit", "release"]


class TestExtension:
    def view(self, done: threading.Event) -> Any:
        @idempotent(lease=timedelta(seconds=1))
        async def view(request: Any) -> HttpResponse:
            assert await sync_to_async(done.wait, thread_sensitive=False)(PATIENCE)
            return HttpResponse()

        return view

    @pytest.mark.parametrize("first", [True, StoreUnavailable()])
    def test_the_lease_is_extended_until_the_view_ends(self, store: Store, first: Any) -> None:
        done = threading.Event()
        store.says["extend"] = [first, True]
        store.meanwhile["extend"] = lambda: done.set() if store.asked.count("extend") == 2 else None
        assert run(self.view(done)).status_code == 200
        assert store.asked == ["claim", "extend", "extend", "complete"]

    def test_a_lost_lease_is_not_extended_again(self, store: Store, caplog: Any) -> None:
        done = threading.Event()
        store.says["extend"] = [False]
        store.meanwhile["extend"] = done.set
        run(self.view(done))
        assert store.asked == ["claim", "extend", "complete"]
        assert "was lost" in caplog.text


class TestThreads:
    def test_the_store_is_asked_in_the_request_s_own_thread(self, store: Store) -> None:
        threads: set[int] = set()

        @idempotent
        async def view(request: Any) -> Any:
            threads.add(await sync_to_async(threading.get_ident)())
            return await request.idempotency.commit(HttpResponse)

        run(view)
        assert store.threads == threads
        assert threading.get_ident() not in threads

    @pytest.mark.django_db(transaction=True)
    def test_a_store_that_is_asked_in_the_event_loop_fails_loudly(self) -> None:
        leases = DatabaseBackend(get_policy()).leases()

        async def main() -> None:
            leases.claim(FIRST.operation)

        with pytest.raises(SynchronousOnlyOperation):
            asyncio.run(main())


def test_a_backend_without_leases_says_so() -> None:
    class Other(BaseBackend):
        def attempt(self, operation: Any, work: Any) -> Any:
            """Never asked."""

    with pytest.raises(ImproperlyConfigured, match="cannot protect coroutine views"):
        Other(get_policy()).leases()


def test_a_released_record_that_is_gone_is_free() -> None:
    store: Any = Store()
    store.says |= {"release": [False], "read": [None]}
    assert settle(store, FIRST, None) == Released(FIRST)
    found = StoredRecord(
        state=State.UNKNOWN, claim=1, token=1, fingerprint=FIRST.operation.fingerprints[0], now=None, claimed_at=None
    )
    store.says["read"] = [found]
    assert settle(store, FIRST, None).error.code == "outcome-unknown"
