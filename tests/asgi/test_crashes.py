"""SIGKILL, SIGSTOP and a blocked event loop at every point of a coroutine view's protocol."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.asgi.conftest import settings, uvicorn
from tests.asgi.test_live import unknown
from tests.crashes.expectations import answer_lost, paid_once
from tests.support.barriers import Barriers
from tests.support.live import Live, Servers
from tests.support.problems import problem

pytestmark = pytest.mark.slow

VIEW = ["after-claim", "view", "view-done", "before-complete"]
COMMIT = ["before-extend", "after-extend", "in-commit", "before-complete", "after-complete", "before-commit"]
LAPSE = 4.0
"""Seconds for which to insist until a lease of one second has run out."""


@pytest.fixture
def own(servers: Servers, vendor: str) -> Iterator[Live]:
    """A uvicorn for one test."""
    live = servers.start(servers.databases.new(vendor), command=uvicorn, **settings(vendor, "coroutines"))
    yield live
    servers.stop(live)


def kill_at(live: Live, barriers: Barriers, path: str, key: str, point: str) -> None:
    gate = barriers.gate(point)
    dying = live.client.start(path, key=key, at=gate)
    gate.reached().kill()
    answer_lost(dying)


def lapse(live: Live, path: str, key: str) -> None:
    """In flight while the lease lasts, unknown from then on."""
    problem(live.client.insist(path, key=key, within=LAPSE), 409, "outcome-unknown", retryable=False)


@pytest.mark.parametrize("point", VIEW)
def test_a_killed_view_is_not_run_again(asgi: Live, barriers: Barriers, key: str, point: str) -> None:
    kill_at(asgi, barriers, "/async/brief", key, point)
    lapse(asgi, "/async/brief", key)
    unknown(asgi, "/async/brief", key, runs=0 if point == "after-claim" else 1)


@pytest.mark.parametrize("place", ["brief", "brief/rerun", "commit/brief"])
@pytest.mark.parametrize("point", ["before-claim", "after-complete"])
def test_a_kill_outside_of_the_lease_leaves_no_doubt(
    asgi: Live, barriers: Barriers, key: str, place: str, point: str
) -> None:
    if (place, point) == ("commit/brief", "after-complete"):
        point = "after-commit"
    kill_at(asgi, barriers, f"/async/{place}", key, point)
    paid_once(asgi, f"/async/{place}", key)
    assert asgi.runs(key) == 1


@pytest.mark.parametrize("point", VIEW)
def test_a_killed_view_that_vouches_is_taken_over_when_its_lease_has_run_out(
    asgi: Live, barriers: Barriers, key: str, point: str
) -> None:
    kill_at(asgi, barriers, "/async/brief/rerun", key, point)
    retry = asgi.client.insist("/async/brief/rerun", key=key, within=LAPSE)
    assert (retry.status_code, retry.json()["attempt"]) == (201, 2)
    assert asgi.client.post("/async/brief/rerun", key=key).content == retry.content


@pytest.mark.parametrize("point", COMMIT)
def test_a_killed_commit_leaves_neither_effect_nor_answer(asgi: Live, barriers: Barriers, key: str, point: str) -> None:
    kill_at(asgi, barriers, "/async/commit/brief", key, point)
    lapse(asgi, "/async/commit/brief", key)
    assert (asgi.runs(key), asgi.database.effects(key)) == (1, 0)


@pytest.mark.parametrize("point", ["view", *COMMIT, "after-commit", "committed"])
def test_with_commit_and_rerun_a_kill_anywhere_leaves_exactly_one_payment(
    asgi: Live, barriers: Barriers, key: str, point: str
) -> None:
    kill_at(asgi, barriers, "/async/commit/rerun", key, point)
    survived = asgi.database.nonces(key)
    assert len(survived) == (point in ("after-commit", "committed"))
    paid_once(asgi, "/async/commit/rerun", key, within=LAPSE)
    assert asgi.database.nonces(key)[: len(survived)] == survived


def test_a_kill_during_the_takeover_changes_nothing(asgi: Live, barriers: Barriers, key: str) -> None:
    path = "/async/commit/rerun"
    kill_at(asgi, barriers, path, key, "view")
    gate = barriers.gate("before-commit")
    second = asgi.client.pool.submit(asgi.client.insist, path, key=key, at=gate, within=LAPSE)
    gate.reached().kill()
    answer_lost(second)
    paid_once(asgi, path, key, within=LAPSE)


class TestCut:
    """The database ends the connection."""

    @pytest.fixture(autouse=True)
    def _served(self, vendor: str) -> None:
        if vendor == "sqlite":
            pytest.skip("SQLite has no server")

    @pytest.mark.parametrize("place", ["pay", "rerun"])
    def test_an_answer_is_stored_over_a_fresh_connection(
        self, asgi: Live, barriers: Barriers, key: str, place: str
    ) -> None:
        gate = barriers.gate("before-complete")
        first = asgi.client.start(f"/async/{place}", key=key, at=gate)
        held = gate.reached()
        asgi.database.terminate(held.backend)
        held.release()
        assert first.result().status_code == 201, asgi.log()
        paid_once(asgi, f"/async/{place}", key)
        assert asgi.runs(key) == 1

    @pytest.mark.parametrize("point", ["in-commit", "before-complete", "before-commit"])
    def test_a_commit_that_was_cut_has_no_effect(self, asgi: Live, barriers: Barriers, key: str, point: str) -> None:
        for place, status in (("commit", 409), ("commit/rerun", 201)):
            gate = barriers.gate(point)
            first = asgi.client.start(f"/async/{place}", key=f"{key}-{status}", at=gate)
            held = gate.reached()
            asgi.database.terminate(held.backend)
            held.release()
            assert first.result().status_code >= 409
            assert asgi.database.effects(f"{key}-{status}") == 0
            assert asgi.client.insist(f"/async/{place}", key=f"{key}-{status}").status_code == status


class TestStopped:
    """Neither a stopped process nor a blocked event loop extends its lease."""

    @pytest.fixture
    def asgi(self, own: Live) -> Live:
        return own

    def test_a_stopped_view_loses_its_claim_and_may_not_say_that_it_succeeded(
        self, asgi: Live, barriers: Barriers, key: str
    ) -> None:
        gate = barriers.gate("view")
        stopped = asgi.client.start("/async/brief", key=key, at=gate)
        held = gate.reached()
        held.stop()
        try:
            lapse(asgi, "/async/brief", key)
        finally:
            held.wake()
        problem(stopped.result(), 409, "outcome-unknown", retryable=False)
        unknown(asgi, "/async/brief", key)

    @pytest.mark.parametrize("place", ["brief/rerun", "commit/rerun"])
    def test_a_stopped_view_that_was_taken_over_answers_as_the_other_did(
        self, asgi: Live, barriers: Barriers, key: str, place: str
    ) -> None:
        gate = barriers.gate("view")
        stopped = asgi.client.start(f"/async/{place}", key=key, at=gate)
        held = gate.reached()
        held.stop()
        try:
            other = asgi.client.insist(f"/async/{place}", key=key, within=LAPSE)
        finally:
            held.wake()
        late = stopped.result()
        assert (late.status_code, late.content) == (201, other.content)
        assert late.headers["Idempotent-Replayed"] == "true"
        assert "commit" not in place or asgi.database.nonces(key) == [other.json()["nonce"]]

    def test_a_commit_that_outlasts_its_lease_is_in_flight_and_not_unknown(
        self, asgi: Live, barriers: Barriers, key: str
    ) -> None:
        gate = barriers.gate("in-commit")
        first = asgi.client.start("/async/commit/brief", key=key, at=gate)
        held = gate.reached()
        problem(asgi.client.insist("/async/commit/brief", key=key, within=1.5), 409, "in-flight", retryable=True)
        held.release()
        assert first.result().status_code == 201, asgi.log()
        paid_once(asgi, "/async/commit/brief", key)

    def test_a_blocked_event_loop_loses_the_claim(self, asgi: Live, barriers: Barriers, key: str) -> None:
        gate = barriers.gate("blocked")
        blocked = asgi.client.start("/async/brief", {"amount": 5, "then": "block"}, key=key, at=gate)
        held = gate.reached()
        last = asgi.client.insist("/async/brief", {"amount": 5, "then": "block"}, key=key, within=LAPSE)
        held.release()
        for answer in (last, blocked.result()):
            problem(answer, 409, "outcome-unknown", retryable=False)
        assert asgi.runs(key) == 1

    def test_a_view_that_only_waits_keeps_its_claim(self, asgi: Live, barriers: Barriers, key: str) -> None:
        gate = barriers.gate("view", "after-extend")
        first = asgi.client.start("/async/brief", key=key, at=gate)
        view, extended = gate.reached(), gate.reached()
        assert extended.point == "after-extend"
        extended.release()
        # Until the lease that was claimed would have run out.
        problem(asgi.client.insist("/async/brief", key=key, within=1.1), 409, "in-flight", retryable=True)
        view.release()
        assert first.result().status_code == 201
        paid_once(asgi, "/async/brief", key)


@pytest.mark.parametrize("place", ["pay", "commit"])
def test_a_server_told_to_stop_ends_its_requests_first(own: Live, barriers: Barriers, key: str, place: str) -> None:
    gate = barriers.gate("view")
    last = own.client.start(f"/async/{place}", key=key, at=gate)
    held = gate.reached()
    os.kill(held.pid, signal.SIGTERM)
    held.release()
    assert last.result().status_code == 201
    paid_once(own, f"/async/{place}", key)
