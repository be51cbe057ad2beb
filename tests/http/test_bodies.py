"""Bodies of every sort: what counts as the same request, and what cannot be read."""

from typing import Any

import pytest

from tests.support.kinds import BOTH
from tests.support.live import Live
from tests.support.problems import problem

JSON = {"Content-Type": "application/json"}


def send(live: Live, path: str, key: str, *, headers: dict[str, str] | None = None, **body: Any) -> Any:
    """POST one body under a key."""
    return live.client.request("POST", path, key=key, headers=headers, **body)


@pytest.mark.parametrize("path", BOTH)
def test_key_order_and_white_space_of_json_do_not_matter(live: Live, path: str, key: str) -> None:
    first = send(live, path, key, headers=JSON, content=b'{"amount": 5, "note": "caf\\u00e9"}')
    again = send(live, path, key, headers=JSON, content='{\n"note":"café","amount":5}'.encode())
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    "other", [b'{"amount": 5.0}', b'{"amount": "5"}', b'{"amount": 5, "x": null}', b'{"amount": 5e0}']
)
@pytest.mark.parametrize("path", BOTH)
def test_what_the_view_would_see_differently_is_another_request(live: Live, path: str, key: str, other: bytes) -> None:
    assert send(live, path, key, headers=JSON, content=b'{"amount": 5}').status_code == 201
    problem(send(live, path, key, headers=JSON, content=other), 422, "key-reused", retryable=False)


@pytest.mark.parametrize("path", BOTH)
def test_large_integers_keep_every_digit(live: Live, path: str, key: str) -> None:
    send(live, path, key, headers=JSON, content=b'{"amount": 5, "n": 12345678901234567890123}')
    other = send(live, path, key, headers=JSON, content=b'{"amount": 5, "n": 12345678901234567890124}')
    problem(other, 422, "key-reused", retryable=False)


@pytest.mark.parametrize("path", BOTH)
def test_a_form_is_replayed(live: Live, path: str, key: str) -> None:
    first = send(live, path, key, data={"amount": "5"})
    again = send(live, path, key, data={"amount": "5"})
    assert first.status_code == 201
    assert again.content == first.content
    problem(send(live, path, key, data={"amount": "6"}), 422, "key-reused", retryable=False)


@pytest.mark.parametrize("path", BOTH)
def test_the_boundary_of_multipart_does_not_matter(live: Live, path: str, key: str) -> None:
    answers = []
    for boundary in ("first-boundary", "second-boundary"):
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        files = {"receipt": ("r.txt", b"paid", "text/plain")}
        answers.append(send(live, path, key, headers=headers, data={"amount": "5"}, files=files))
    assert answers[0].status_code == 201
    assert answers[1].content == answers[0].content
    assert live.database.effects(key) == 1


@pytest.mark.parametrize("path", BOTH)
def test_another_file_in_multipart_is_another_request(live: Live, path: str, key: str) -> None:
    sent = [send(live, path, key, data={"amount": "5"}, files={"receipt": ("r.txt", text)}) for text in (b"a", b"b")]
    assert sent[0].status_code == 201
    problem(sent[1], 422, "key-reused", retryable=False)


@pytest.mark.parametrize("path", BOTH)
def test_a_large_upload_runs_once_and_its_last_byte_counts(live: Live, path: str, key: str) -> None:
    upload = b"x" * 5_000_000
    first = send(live, path, key, data={"amount": "5"}, files={"receipt": ("r.bin", upload)})
    again = send(live, path, key, data={"amount": "5"}, files={"receipt": ("r.bin", upload)})
    other = send(live, path, key, data={"amount": "5"}, files={"receipt": ("r.bin", upload[:-1] + b"y")})
    assert first.status_code == 201
    assert again.content == first.content
    problem(other, 422, "key-reused", retryable=False)


@pytest.mark.parametrize("path", BOTH)
def test_an_empty_body_is_a_body(live: Live, path: str, key: str) -> None:
    first = send(live, path, key)
    again = send(live, path, key)
    assert first.status_code == 201
    assert again.content == first.content
    assert live.database.effects(key) == 1


def test_other_content_is_compared_as_bytes(live: Live, key: str) -> None:
    text = {"Content-Type": "text/plain"}
    first = send(live, "/plain/pay", key, headers=text, content=b"\xff\x00pay")
    again = send(live, "/plain/pay", key, headers=text, content=b"\xff\x00pay")
    other = send(live, "/plain/pay", key, headers=text, content=b"\xff\x00pay ")
    assert first.status_code == 201
    assert again.content == first.content
    problem(other, 422, "key-reused", retryable=False)


@pytest.mark.parametrize("body", [b'{"amount": ', b"\xff\xfe", b'{"amount": "\xff"}', b"amount=5"])
def test_a_plain_body_that_does_not_parse_is_400_and_leaves_nothing(live: Live, key: str, body: bytes) -> None:
    problem(send(live, "/plain/pay", key, headers=JSON, content=body), 400, "body-invalid", retryable=False)
    assert (live.runs(key), live.database.state(key)) == (0, None)


@pytest.mark.parametrize("path", BOTH)
def test_a_body_beyond_the_limit_is_413_and_leaves_nothing(live: Live, path: str, key: str) -> None:
    body = b'{"amount": 5, "padding": "' + b"x" * 2_700_000 + b'"}'
    answer = send(live, path, key, headers=JSON, content=body)
    problem(answer, 413, "body-too-large", retryable=False)
    assert (live.runs(key), live.database.state(key)) == (0, None)


@pytest.mark.parametrize("path", BOTH)
def test_a_nul_in_a_body_is_no_reason_to_fail(live: Live, path: str, key: str) -> None:
    first = send(live, path, key, headers=JSON, content=b'{"amount": 5, "note": "\\u0000"}')
    again = send(live, path, key, headers=JSON, content=b'{"amount": 5, "note": "\\u0000"}')
    assert first.status_code == 201
    assert again.content == first.content
