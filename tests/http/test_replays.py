"""A completed request: what its duplicates get, and what they do not."""

import pytest

from tests.support.kinds import BOTH, EVERY_KIND, both
from tests.support.live import Live

TWICE = ["Location", "ETag", "Content-Language", "Content-Type"]


def body(key: str, **more: object) -> dict[str, object]:
    """Return a payment that every kind of view understands."""
    return {"amount": 5, "key": key, "nonce": "given", **more}


@pytest.mark.parametrize("path", EVERY_KIND)
def test_a_duplicate_gets_the_same_bytes_and_runs_nothing(live: Live, path: str, key: str) -> None:
    first = live.client.post(path, body(key), key=key)
    again = live.client.post(path, body(key), key=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert live.database.effects(key) == 1


@pytest.mark.parametrize("path", EVERY_KIND)
def test_only_the_replay_is_marked(live: Live, path: str, key: str) -> None:
    first = live.client.post(path, body(key), key=key)
    again = live.client.post(path, body(key), key=key)
    assert "Idempotent-Replayed" not in first.headers
    assert "no-store" not in first.headers.get("Cache-Control", "")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", BOTH)
def test_the_first_answer_is_the_views_own(live: Live, path: str, key: str) -> None:
    first = live.client.post(path, {"amount": 5, "then": "headers"}, key=key)
    assert first.headers["X-Private"] == "1"
    assert first.cookies["session"] == "secret"


@pytest.mark.parametrize("path", BOTH)
def test_a_replay_has_the_listed_headers_and_no_others(live: Live, path: str, key: str) -> None:
    first = live.client.post(path, {"amount": 5, "then": "headers"}, key=key)
    again = live.client.post(path, {"amount": 5, "then": "headers"}, key=key)
    assert [again.headers[name] for name in TWICE] == [first.headers[name] for name in TWICE]
    assert "X-Private" not in again.headers
    assert "Set-Cookie" not in again.headers


@pytest.mark.parametrize("then", ["declined", "404", "410", "422", "200", "202", "empty", "elsewhere"])
@pytest.mark.parametrize("path", BOTH)
def test_a_returned_outcome_is_kept(live: Live, path: str, key: str, then: str) -> None:
    first = live.client.post(path, {"amount": 5, "then": then}, key=key)
    again = live.client.post(path, {"amount": 5, "then": then}, key=key)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (live.runs(key), live.database.effects(key)) == (1, 1)


REFUSALS = [400, 401, 403, 405, 406, 408, 409, 413, 415, 425, 429, 500, 502, 503]


@pytest.mark.parametrize(("then", "status"), [*((str(status), status) for status in REFUSALS), ("log in", 302)])
@pytest.mark.parametrize("path", BOTH)
def test_a_refusal_rolls_back_and_frees_the_key(live: Live, path: str, key: str, then: str, status: int) -> None:
    first = live.client.post(path, {"amount": 5, "then": then}, key=key)
    assert first.status_code == status
    assert (live.database.effects(key), live.database.state(key)) == (0, None)
    corrected = live.client.post(path, {"amount": 6}, key=key)
    assert corrected.status_code == 201
    assert live.database.effects(key) == 1


@pytest.mark.parametrize(
    ("then", "status"), [("raise", 500), ("raise 404", 404), ("raise 403", 403), ("raise 400", 400)]
)
@pytest.mark.parametrize("path", BOTH)
def test_a_raised_error_rolls_back_and_frees_the_key(live: Live, path: str, key: str, then: str, status: int) -> None:
    first = live.client.post(path, {"amount": 5, "then": then}, key=key)
    assert first.status_code == status
    assert (live.database.effects(key), live.database.state(key)) == (0, None)
    assert live.client.post(path, {"amount": 6}, key=key).status_code == 201


@pytest.mark.parametrize("path", BOTH)
def test_kept_keeps_an_answer_whatever_its_status(live: Live, path: str, key: str) -> None:
    first = live.client.post(path, {"amount": 5, "then": "keep"}, key=key)
    again = live.client.post(path, {"amount": 5, "then": "keep"}, key=key)
    assert (first.status_code, again.status_code) == (503, 503)
    assert again.content == first.content
    assert live.database.effects(key) == 1


@pytest.mark.parametrize("then", ["streamed", "large"])
@pytest.mark.parametrize("path", BOTH)
def test_an_answer_that_cannot_be_stored_runs_once_and_is_replayed_without_its_body(
    live: Live, path: str, key: str, then: str
) -> None:
    first = live.client.post(path, {"amount": 5, "then": then}, key=key)
    again = live.client.post(path, {"amount": 5, "then": then}, key=key)
    assert first.content
    assert "Idempotent-Replay-Body" not in first.headers
    assert (again.status_code, again.content) == (201, b"")
    assert again.headers["Idempotent-Replay-Body"] == "omitted"
    assert again.headers["Idempotent-Replayed"] == "true"
    assert live.database.effects(key) == 1


@pytest.mark.parametrize("path", both("optional"))
def test_where_no_key_is_required_each_request_without_one_runs(live: Live, path: str, key: str) -> None:
    answers = [live.client.post(path, {"amount": 5}, headers={"X-Test": key}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content != answers[1].content


@pytest.mark.parametrize("path", both("optional"))
def test_where_no_key_is_required_a_given_one_protects(live: Live, path: str, key: str) -> None:
    answers = [live.client.post(path, key=key) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert live.database.effects(key) == 1


@pytest.mark.parametrize("path", BOTH)
def test_two_users_with_the_same_key_are_strangers(live: Live, path: str, key: str) -> None:
    first = live.client.post(path, key=key, user=1)
    other = live.client.post(path, key=key, user=2)
    nobody = live.client.post(path, key=key, user=None)
    assert len({first.content, other.content, nobody.content}) == 3
    assert "Idempotent-Replayed" not in other.headers
    assert "Idempotent-Replayed" not in nobody.headers
    assert live.client.post(path, key=key, user=1).content == first.content


@pytest.mark.parametrize("path", ["/plain/wrapped"])
def test_safe_methods_ignore_the_header(live: Live, path: str, key: str) -> None:
    answers = [live.client.request("GET", path, key=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert live.runs(key) == 2
    assert live.database.state(key) is None


@pytest.mark.parametrize("path", both("guarded"))
def test_authorize_is_asked_again_before_a_replay(live: Live, path: str, key: str) -> None:
    assert live.client.post(path, key=key).status_code == 201
    banned = live.client.post(path, key=key, headers={"X-Test-Banned": "1"})
    assert banned.status_code == 403
    assert "Idempotent-Replayed" not in banned.headers
    assert live.client.post(path, key=key).headers["Idempotent-Replayed"] == "true"
