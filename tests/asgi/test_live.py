"""Coroutine views in real uvicorn processes: duplicates, failures, cancellation."""

import socket

import pytest

from tests.crashes.expectations import paid_once
from tests.support.barriers import Barriers, Gate, Held
from tests.support.live import Live
from tests.support.problems import problem

PLACES = ["pay", "method", "named", "wrapped", "rerun", "commit", "commit/rerun"]
RAISE = {"amount": 5, "then": "raise"}


def hang_up(live: Live, path: str, key: str, gate: Gate) -> Held:
    """Send a request and close the connection when the request stands at its point."""
    lines = [f"POST {path} HTTP/1.1", "Host: bank", "Content-Type: application/json", "Content-Length: 13"]
    lines += [f"Idempotency-Key: {key}", f"X-Test-At: {gate.header}", "Authorization: Test 1"]
    with socket.create_connection(("127.0.0.1", live.client.port)) as connection:
        connection.sendall(("\r\n".join(lines) + '\r\n\r\n{"amount": 5}').encode())
        return gate.reached()


def unknown(live: Live, path: str, key: str, runs: int = 1) -> None:
    """The outcome is unknown, and nothing runs again."""
    problem(live.client.post(path, key=key), 409, "outcome-unknown", retryable=False)
    assert (live.runs(key), live.database.state(key)) == (runs, "unknown")


@pytest.mark.parametrize("place", PLACES)
def test_a_retry_gets_the_first_answer(chained: Live, key: str, place: str) -> None:
    first = chained.client.post(f"/async/{place}", key=key)
    assert first.status_code == 201, chained.log()
    paid_once(chained, f"/async/{place}", key)
    assert chained.runs(key) == 1


@pytest.mark.parametrize("place", ["pay", "commit", "rerun"])
def test_of_fifty_parallel_requests_one_runs(chained: Live, barriers: Barriers, key: str, place: str) -> None:
    """The first holds its view until the others have their answers."""
    path, gate = f"/async/{place}", barriers.gate("view")
    first = chained.client.start(path, key=key, at=gate)
    held = gate.reached()
    others = [chained.client.start(path, key=key) for _ in range(49)]
    for other in others:
        problem(other.result(), 409, "in-flight", retryable=True)
    held.release()
    assert first.result().status_code == 201, chained.log()
    paid_once(chained, path, key)
    assert chained.runs(key) == 1


def test_of_fifty_first_requests_at_once_one_runs(chained: Live, key: str) -> None:
    requests = [chained.client.start("/async/pay", key=key) for _ in range(50)]
    answers = [request.result() for request in requests]
    assert {answer.status_code for answer in answers} <= {201, 409}, chained.log()
    paid_once(chained, "/async/pay", key)
    assert chained.runs(key) == 1


class TestFailures:
    def test_a_view_that_raises_is_not_run_again(self, chained: Live, key: str) -> None:
        assert chained.client.post("/async/pay", RAISE, key=key).status_code == 500
        problem(chained.client.post("/async/pay", RAISE, key=key), 409, "outcome-unknown", retryable=False)
        assert (chained.runs(key), chained.database.effects(key)) == (1, 1)

    def test_a_view_that_vouches_is_run_again(self, chained: Live, key: str) -> None:
        assert chained.client.post("/async/rerun", RAISE, key=key).status_code == 500
        assert chained.database.state(key) is None
        assert chained.client.post("/async/rerun", key=key).status_code == 201

    @pytest.mark.parametrize("place", ["pay", "rerun", "commit", "commit/rerun"])
    def test_an_answer_that_is_not_kept_frees_the_key(self, chained: Live, key: str, place: str) -> None:
        refused = chained.client.post(f"/async/{place}", {"amount": 5, "then": "400"}, key=key)
        assert (refused.status_code, chained.database.state(key)) == (400, None)
        assert chained.client.post(f"/async/{place}", key=key).status_code == 201
        # Only what is written in commit() can be undone.
        assert chained.database.effects(key) == (1 if "commit" in place else 2)


class TestCancellation:
    def cancel(self, live: Live, barriers: Barriers, path: str, key: str) -> None:
        gate = barriers.gate("view")
        hang_up(live, path, key, gate)

    @pytest.mark.parametrize("place", ["pay", "commit"])
    def test_a_client_that_hangs_up_leaves_the_outcome_unknown(
        self, chained: Live, barriers: Barriers, key: str, place: str
    ) -> None:
        self.cancel(chained, barriers, f"/async/{place}", key)
        assert chained.client.insist(f"/async/{place}", key=key, within=8).status_code == 409
        unknown(chained, f"/async/{place}", key)

    def test_a_view_that_vouches_is_run_again_at_once(self, chained: Live, barriers: Barriers, key: str) -> None:
        """Long before its lease has run out."""
        self.cancel(chained, barriers, "/async/rerun", key)
        assert chained.client.insist("/async/rerun", key=key, within=8).status_code == 201
        assert chained.runs(key) == 2

    @pytest.mark.parametrize("place", ["pay", "rerun"])
    @pytest.mark.parametrize("point", ["before-complete", "after-complete"])
    def test_hanging_up_while_the_answer_is_stored_does_not_keep_it_from_being_stored(
        self, chained: Live, barriers: Barriers, key: str, place: str, point: str
    ) -> None:
        gate = barriers.gate(point)
        held = hang_up(chained, f"/async/{place}", key, gate)
        held.release()
        paid_once(chained, f"/async/{place}", key)
        assert chained.runs(key) == 1

    @pytest.mark.parametrize(
        "point", ["before-extend", "in-commit", "before-complete", "before-commit", "after-commit"]
    )
    def test_hanging_up_in_commit_does_not_keep_it_from_being_made(
        self, chained: Live, barriers: Barriers, key: str, point: str
    ) -> None:
        gate = barriers.gate(point)
        held = hang_up(chained, "/async/commit", key, gate)
        held.release()
        paid_once(chained, "/async/commit", key)
        assert chained.runs(key) == 1
