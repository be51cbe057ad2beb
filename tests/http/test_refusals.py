"""What is refused before the view runs, and what that leaves behind: nothing."""

import pytest

from tests.support.barriers import Barriers
from tests.support.kinds import BOTH, EVERY_KIND, both
from tests.support.live import Live, Servers
from tests.support.problems import problem
from tests.support.services import skip_unless_chosen

MALFORMED = {
    "empty": [b"Idempotency-Key:"],
    "blank": [b"Idempotency-Key:    "],
    "empty string": [b'Idempotency-Key: ""'],
    "too long": [b"Idempotency-Key: " + b"k" * 256],
    "too long between quotes": [b'Idempotency-Key: "' + b"k" * 256 + b'"'],
    "not ASCII": [b"Idempotency-Key: cl\xc3\xa9"],
    "not printable": [b"Idempotency-Key: a\tb"],
    "inner space": [b"Idempotency-Key: a b"],
    "inner quote": [b'Idempotency-Key: a"b'],
    "opened and not closed": [b'Idempotency-Key: "abc'],
    "closed and not opened": [b'Idempotency-Key: abc"'],
    "bad escape": [rb'Idempotency-Key: "a\n"'],
    "a list": [b'Idempotency-Key: "abc", "def"'],
    "a bare list": [b"Idempotency-Key: abc,def"],
    "repeated": [b"Idempotency-Key: abc", b"Idempotency-Key: def"],
    "repeated the same": [b"Idempotency-Key: abc", b"Idempotency-Key: abc"],
}


@pytest.mark.parametrize("path", EVERY_KIND)
def test_a_missing_key_is_400(live: Live, path: str) -> None:
    runs = live.runs("none")
    problem(live.client.post(path), 400, "key-missing", retryable=False)
    assert live.runs("none") == runs


@pytest.mark.parametrize("lines", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_key_is_400(live: Live, lines: list[bytes]) -> None:
    answer = live.client.raw(*lines, b"Content-Type: application/json", body=b'{"amount": 5}')
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "key-invalid"' in answer


@pytest.mark.parametrize("path", EVERY_KIND)
def test_another_payload_under_the_key_is_422_and_the_original_still_replays(live: Live, path: str, key: str) -> None:
    body = {"amount": 5, "key": key, "nonce": "given"}
    first = live.client.post(path, body, key=key)
    problem(live.client.post(path, {**body, "amount": 6}, key=key), 422, "key-reused", retryable=False)
    assert live.client.post(path, body, key=key).content == first.content
    assert live.database.effects(key) == 1


@pytest.mark.parametrize("path", both("pay"))
@pytest.mark.parametrize("suffix", ["/other", "?x=1"])
def test_another_path_or_query_under_the_key_is_422(live: Live, path: str, suffix: str, key: str) -> None:
    assert live.client.post(path, key=key).status_code == 201
    problem(live.client.post(path + suffix, key=key), 422, "key-reused", retryable=False)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_another_method_under_the_key_is_422(live: Live, method: str, key: str) -> None:
    assert live.client.post("/plain/pay", key=key).status_code == 201
    answer = live.client.request(method, "/plain/pay", key=key, json={"amount": 5})
    problem(answer, 422, "key-reused", retryable=False)


@pytest.mark.parametrize("path", BOTH)
def test_the_quoted_and_the_bare_form_are_one_key(live: Live, path: str, key: str) -> None:
    first = live.client.post(path, key=key)
    assert live.client.post(path, key=f'"{key}"').content == first.content


@pytest.mark.parametrize("path", EVERY_KIND)
def test_an_expired_answer_is_412_and_the_key_is_free_after_the_tombstone(live: Live, path: str, key: str) -> None:
    body = {"amount": 5, "key": key, "nonce": "given"}
    live.client.post(path, body, key=key)
    live.database.expire(key)
    problem(live.client.post(path, body, key=key), 412, "key-expired", retryable=False)
    assert live.database.effects(key) == 1
    live.database.forget(key)
    assert live.client.post(path, body, key=key).status_code == 201
    assert live.database.effects(key) == 2


def test_without_a_tombstone_an_expired_key_is_free_at_once(live: Live, key: str) -> None:
    first = live.client.post("/plain/forgetful", key=key)
    live.database.expire(key)
    second = live.client.post("/plain/forgetful", key=key)
    assert second.status_code == 201
    assert second.content != first.content


@pytest.mark.parametrize("path", BOTH)
def test_expired_wins_over_another_payload(live: Live, path: str, key: str) -> None:
    live.client.post(path, key=key)
    live.database.expire(key)
    problem(live.client.post(path, {"amount": 6}, key=key), 412, "key-expired", retryable=False)


@pytest.mark.parametrize("path", BOTH)
def test_a_duplicate_of_a_running_request_is_409_with_a_whole_number_of_seconds(
    live: Live, barriers: Barriers, path: str, key: str
) -> None:
    gate = barriers.gate("view")
    first = live.client.start(path, key=key, at=gate)
    held = gate.reached()
    duplicate = live.client.post(path, key=key)
    held.release()
    problem(duplicate, 409, "in-flight", retryable=True)
    assert int(duplicate.headers["Retry-After"]) >= 1
    assert first.result().status_code == 201
    assert live.database.effects(key) == 1


@pytest.mark.parametrize("path", BOTH)
def test_another_payload_wins_over_a_running_request(served: Live, barriers: Barriers, path: str, key: str) -> None:
    gate = barriers.gate("view")
    first = served.client.start(path, key=key, at=gate)
    held = gate.reached()
    mismatch = served.client.post(path, {"amount": 6}, key=key)
    held.release()
    problem(mismatch, 422, "key-reused", retryable=False)
    assert first.result().status_code == 201


@pytest.mark.parametrize("path", both("waiting"))
def test_a_duplicate_that_prefers_to_wait_gets_the_answer(
    served: Live, barriers: Barriers, path: str, key: str
) -> None:
    gate, duplicate_gate = barriers.gate("view"), barriers.gate("after-claim", "after-read")
    first = served.client.start(path, key=key, at=gate)
    held = gate.reached()
    duplicate = served.client.start(path, key=key, at=duplicate_gate, headers={"Prefer": "wait=10"})
    duplicate_gate.reached().release()
    held.release()
    assert duplicate.result().content == first.result().content
    assert duplicate.result().headers["Idempotent-Replayed"] == "true"


def test_waiting_is_off_unless_the_view_allows_it(served: Live, barriers: Barriers, key: str) -> None:
    gate = barriers.gate("view")
    first = served.client.start("/plain/pay", key=key, at=gate)
    held = gate.reached()
    duplicate = served.client.post("/plain/pay", key=key, headers={"Prefer": "wait=10"})
    held.release()
    problem(duplicate, 409, "in-flight", retryable=True)
    assert first.result().status_code == 201


@pytest.mark.parametrize("path", BOTH)
def test_an_unknown_outcome_is_409_without_retry_after(served: Live, path: str, key: str) -> None:
    body = {"amount": 5, "then": "raw commit"}
    served.client.post(path, body, key=key)
    again = served.client.post(path, body, key=key)
    document = problem(again, 409, "outcome-unknown", retryable=False)
    assert "Retry-After" not in again.headers
    records = served.database.query("SELECT id FROM django_idempotency_idempotencyrecord WHERE key = ?", key)
    assert document["operation"] == str(records[0][0])
    assert (served.runs(key), served.database.effects(key)) == (1, 1)


@pytest.mark.parametrize("path", BOTH)
def test_an_unreachable_sqlite_is_503_and_the_view_has_not_run(servers: Servers, path: str, key: str) -> None:
    skip_unless_chosen("sqlite")
    lost = servers.get("sqlite", workers=1, threads=2, place={"NAME": "/nowhere/at/all.sqlite3"})
    answer = lost.client.post(path, key=key)
    problem(answer, 503, "store-unavailable", retryable=True)
    assert int(answer.headers["Retry-After"]) >= 1
    assert lost.runs(key) == 0
