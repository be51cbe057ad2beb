"""What is special to DRF: its refusals, its renderers, its versions, its envelopes."""

import pytest

pytest.importorskip("rest_framework")


from tests.support.live import Live, Servers
from tests.support.problems import problem
from tests.support.services import chosen_databases

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
REFUSALS = {
    "wrong credentials": (401, {"user": None, "headers": {"Authorization": "Wrong"}}),
    "no credentials": (401, {"user": None}),
    "throttled": (429, {"headers": {"X-Test-Throttled": "1"}}),
}


@pytest.mark.parametrize(("status", "options"), REFUSALS.values(), ids=REFUSALS)
def test_what_initial_refuses_is_refused_before_the_claim(
    live: Live, key: str, status: int, options: dict[str, object]
) -> None:
    assert live.client.post("/api/guarded", key=key, **options).status_code == status
    assert (live.runs(key), live.database.state(key)) == (0, None)
    assert live.client.post("/api/guarded", key=key).status_code == 201


@pytest.mark.parametrize(("status", "options"), REFUSALS.values(), ids=REFUSALS)
def test_what_initial_refuses_is_refused_again_instead_of_a_replay(
    live: Live, key: str, status: int, options: dict[str, object]
) -> None:
    assert live.client.post("/api/guarded", key=key).status_code == 201
    refused = live.client.post("/api/guarded", key=key, **options)
    assert refused.status_code == status
    assert "Idempotent-Replayed" not in refused.headers
    assert live.client.post("/api/guarded", key=key).headers["Idempotent-Replayed"] == "true"


def test_a_refusal_without_a_key_is_a_401_and_not_a_400(live: Live) -> None:
    assert live.client.post("/api/guarded", user=None).status_code == 401


def test_a_raised_api_exception_rolls_back_and_frees_the_key(live: Live, key: str) -> None:
    raised = live.client.post("/api/pay", key=key, headers={"X-Test-Raise": "403"})
    assert raised.status_code == 403
    assert raised.json() == {"detail": "You do not have permission to perform this action."}
    assert (live.runs(key), live.database.effects(key), live.database.state(key)) == (1, 0, None)
    assert live.client.post("/api/pay", key=key).status_code == 201


def test_a_validation_error_is_corrected_under_the_same_key(live: Live, key: str) -> None:
    invalid = live.client.post("/api/payments/", {"key": key, "amount": "many", "nonce": "given"}, key=key)
    assert invalid.status_code == 400
    assert list(invalid.json()) == ["amount"]
    corrected = live.client.post("/api/payments/", {"key": key, "amount": 5, "nonce": "given"}, key=key)
    assert corrected.status_code == 201
    assert live.database.effects(key) == 1


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "application/json"}, b'{"amount": ', 400),
        ({"Content-Type": "application/json"}, b"\xff\xfe", 400),
        ({"Content-Type": "text/plain"}, b"amount=5", 415),
    ],
)
def test_a_body_that_drf_cannot_parse_stays_drfs_own_error(
    live: Live, key: str, headers: dict[str, str], content: bytes, status: int
) -> None:
    answer = live.client.request("POST", "/api/pay", key=key, headers=headers, content=content)
    assert answer.status_code == status
    assert list(answer.json()) == ["detail"]
    assert answer.headers["Content-Type"] == "application/json"
    assert (live.runs(key), live.database.state(key)) == (0, None)


def test_the_frozen_answer_is_never_the_browsable_page(live: Live, key: str) -> None:
    first = live.client.post("/api/pay", key=key, headers=HTML)
    assert first.headers["Content-Type"] == "application/json"
    assert first.json()["amount"] == 5


@pytest.mark.parametrize("accept", ["application/json", "text/html", "*/*", "application/json; indent=4"])
def test_a_replay_has_the_same_bytes_whatever_is_accepted(live: Live, key: str, accept: str) -> None:
    first = live.client.post("/api/pay", key=key)
    again = live.client.post("/api/pay", key=key, headers={"Accept": accept})
    assert again.content == first.content
    assert again.headers["Content-Type"] == first.headers["Content-Type"]


def test_a_get_still_has_its_browsable_page(live: Live) -> None:
    assert live.client.request("GET", "/api/pay", headers=HTML).headers["Content-Type"].startswith("text/html")


def version(number: str) -> dict[str, str]:
    """Return the header that asks for a version."""
    return {"Accept": f"application/json; version={number}"}


def test_each_version_is_a_request_of_its_own(live: Live, key: str) -> None:
    first = live.client.post("/api/versioned", key=key, headers=version("1.0"))
    again = live.client.post("/api/versioned", key=key, headers=version("1.0"))
    assert first.json()["version"] == "1.0"
    assert again.content == first.content
    other = live.client.post("/api/versioned", key=key, headers=version("2.0"))
    problem(other, 422, "key-reused", retryable=False)


def test_an_envelope_is_put_round_the_answer_once(live: Live, key: str) -> None:
    first, again = (live.client.post("/api/envelope", key=key) for _ in range(2))
    assert list(first.json()) == ["envelope"]
    assert first.json()["envelope"]["amount"] == 5
    assert again.content == first.content


def test_an_action_is_protected_like_any_method(live: Live, key: str) -> None:
    first, again = (live.client.post("/api/payments/7/refund/", key=key) for _ in range(2))
    assert again.content == first.content
    assert (live.runs(key), live.database.effects(key)) == (1, 1)


@pytest.mark.parametrize("vendor", chosen_databases())
def test_errors_can_go_through_drfs_exception_handler(servers: Servers, vendor: str) -> None:
    profile = {"ERROR_RESPONSE": "django_idempotency.drf.raise_api_exception"}
    live = servers.get(vendor, workers=1, threads=2, IDEMPOTENCY={"default": profile})
    answer = live.client.post("/api/pay")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"detail": answer.json()["detail"]}
