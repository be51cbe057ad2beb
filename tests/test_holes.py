"""The holes found in other libraries, by number: each would charge twice, or lock a client out. Closed here for good."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client

from django_idempotency.maintenance import Recovered, recover
from django_idempotency.models import IdempotencyRecord
from tests.bank import scripts
from tests.bank.models import Payment
from tests.settings import HAVE_DRF
from tests.support.kinds import BOTH
from tests.support.live import Live
from tests.support.threads import PATIENCE, Stage, before, closing, elsewhere, running

pytestmark = pytest.mark.django_db(transaction=True)

GUARDED = ["/plain/guarded", *(["/api/guarded"] if HAVE_DRF else [])]
on_drf = pytest.mark.skipif(not HAVE_DRF, reason="about DRF")


def post(path: str, data: Any = None, *, key: str | None, user: int | None = 1, **headers: str) -> Any:
    """POST a JSON body in this process, through all of Django."""
    named = {"Idempotency-Key": key, "Authorization": user and f"Test {user}", **headers}
    given = {name.replace("_", "-"): value for name, value in named.items() if value}
    body = json.dumps({"amount": 5} if data is None else data)
    return Client(raise_request_exception=False).post(path, body, content_type="application/json", headers=given)


def effects(key: str) -> int:
    return Payment.objects.filter(key=key).count()


def age(by: timedelta) -> None:
    IdempotencyRecord.objects.update(
        **{name: F(name) - by for name in ("claimed_at", "expires_at", "forget_at")},
    )


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Holds the first view that runs, after it has written its effect."""
    stage = Stage()

    def reach(*args: Any) -> None:
        if not stage.entered.is_set():
            stage.enter()

    monkeypatch.setattr(scripts, "points", SimpleNamespace(reach=reach))
    return stage


@pytest.mark.parametrize("path", BOTH)
def test_hole_1_a_lock_round_the_look_up_eight_parallel_duplicates_charge_once(path, key):
    start = Barrier(8)

    def duplicate(_: int) -> int:
        start.wait(PATIENCE)
        return post(path, key=key).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda number: closing(lambda: duplicate(number)), range(8)))
    assert effects(key) == 1
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert post(path, key=key).headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("path", BOTH)
def test_hole_2_an_unexpected_exception_frees_the_key_at_once(path, key):
    assert post(path, {"amount": 5, "then": "raise"}, key=key).status_code == 500
    assert effects(key) == 0
    assert post(path, key=key).status_code == 201
    assert effects(key) == 1


def test_hole_2_a_killed_worker_leaves_a_key_that_runs_again_within_two_seconds(live: Live, barriers, key):
    gate = barriers.gate("view")
    dying = live.client.start("/plain/pay", key=key, at=gate)
    gate.reached().kill()
    assert dying.exception(PATIENCE * 2) is not None
    assert live.client.insist("/plain/pay", key=key, within=2).status_code == 201
    assert live.database.effects(key) == 1


@pytest.mark.parametrize("path", BOTH)
def test_hole_3_the_claim_of_a_slow_first_run_never_expires(path, key, stage, settings):
    """However old it is by the clock, its owner holds it."""
    settings.IDEMPOTENCY = {"default": {"JOIN_TIMEOUT": timedelta(0)}}

    def slow() -> Any:
        if connection.vendor == "sqlite":  # where a claim is never seen before it is completed
            return post(path, key=key)
        with before("lock", lambda: elsewhere(lambda: age(timedelta(hours=1)))):
            return post(path, key=key)

    with running(slow, stage) as first:
        assert post(path, key=key).status_code == 409
        assert recover(older_than=timedelta(0)) == Recovered()
    assert first.result().status_code == 201
    assert effects(key) == 1


@pytest.mark.parametrize("path", BOTH)
def test_hole_4_another_users_equal_key_is_another_key(path, key):
    mine, yours = post(path, key=key, user=1), post(path, {"amount": 6}, key=key, user=2)
    assert (mine.status_code, yours.status_code) == (201, 201)
    assert "Idempotent-Replayed" not in yours.headers
    assert (mine.json()["amount"], yours.json()["amount"]) == (5, 6)


@pytest.mark.parametrize("path", GUARDED)
def test_hole_5_who_may_no_longer_ask_gets_no_replay(path, key):
    assert post(path, key=key).status_code == 201
    assert post(path, key=key, X_Test_Banned="1").status_code == 403
    assert post(path, key=key).headers["Idempotent-Replayed"] == "true"


@on_drf
@pytest.mark.parametrize(
    ("status", "options"), [(401, {"user": None}), (429, {"X_Test_Throttled": "1"})], ids=["nobody", "throttled"]
)
def test_hole_5_no_replay_before_authentication_and_throttle(status, options, key):
    assert post("/api/guarded", key=key).status_code == 201
    refused = post("/api/guarded", key=key, **options)
    assert refused.status_code == status
    assert "Idempotent-Replayed" not in refused.headers


@pytest.mark.parametrize("path", BOTH)
def test_hole_6_where_the_answer_cannot_be_saved_the_effect_is_undone_and_the_client_is_told(path, key):
    def full():
        raise OSError("no space left on device")

    with before("complete", full):
        assert post(path, key=key).status_code == 500
    assert effects(key) == 0
    assert post(path, key=key).status_code == 201


@pytest.mark.parametrize("path", BOTH)
def test_hole_7_the_answer_is_rendered_before_the_charge_commits(path, key):
    first = post(path, key=key)
    assert (first.status_code, first.headers["Content-Type"]) == (201, "application/json")
    assert post(path, key=key).content == first.content


@on_drf
def test_hole_7_an_answer_that_cannot_be_rendered_charges_nothing(key, monkeypatch):
    from rest_framework.renderers import JSONRenderer

    def render(*args, **kwargs):
        raise RuntimeError("not serializable")

    with monkeypatch.context() as broken:
        broken.setattr(JSONRenderer, "render", render)
        assert post("/api/pay", key=key).status_code == 500
    assert (effects(key), IdempotencyRecord.objects.count()) == (0, 0)
    assert post("/api/pay", key=key).status_code == 201


@pytest.mark.parametrize("path", BOTH)
def test_hole_8_claim_and_fingerprint_are_one_record_and_expire_together(path, key):
    assert post(path, key=key).status_code == 201
    age(timedelta(hours=73))
    assert post(path, key=key).status_code == 412
    age(timedelta(days=30))
    assert post(path, {"amount": 6}, key=key).status_code == 201
    assert (effects(key), IdempotencyRecord.objects.count()) == (2, 1)


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("key", ["x" * 256, "a,b", '"open', '("list")', "\N{POUND SIGN}", "not a uuid"])
def test_hole_9_a_malformed_key_never_reaches_the_database(path, key, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert post(path, key=key).status_code == 400


def test_hole_9_a_stored_answer_is_text_and_bytes(key):
    post("/plain/pay", {"amount": 5, "then": "headers"}, key=key)
    record = IdempotencyRecord.objects.get()
    assert "Location" in dict(json.loads(record.headers))
    assert json.loads(bytes(record.body))["amount"] == 5


@pytest.mark.parametrize("path", BOTH)
def test_hole_9_a_cookie_is_never_replayed(path, key, settings):
    settings.IDEMPOTENCY = {"default": {"REPLAY_HEADERS": ["Set-Cookie", "X-Private"]}}
    first, again = (post(path, {"amount": 5, "then": "headers"}, key=key) for _ in range(2))
    assert first.cookies["session"].value == "secret"
    assert (again.headers["Idempotent-Replayed"], again.headers["X-Private"]) == ("true", "1")
    assert not again.cookies
    assert "Set-Cookie" not in again.headers
    assert "secret" not in IdempotencyRecord.objects.get().headers


@pytest.mark.parametrize("path", BOTH)
def test_hole_9_anonymous_requests_are_protected_too(path, key):
    first, again = (post(path, key=key, user=None) for _ in range(2))
    assert (first.status_code, again.content) == (201, first.content)
    assert effects(key) == 1


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("status", [400, 402, 409, 422])
def test_hole_10_under_atomic_requests_a_4xx_stays_what_it_is(path, key, status, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert post(path, {"amount": 5, "then": str(status)}, key=key).status_code == status
    kept = status in {402, 422}
    assert effects(key) == kept
    assert IdempotencyRecord.objects.count() == kept


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("status", [500, 502, 503])
def test_hole_11_a_gateway_that_is_down_is_not_the_final_answer(path, key, status):
    assert post(path, {"amount": 5, "then": str(status)}, key=key).status_code == status
    assert effects(key) == 0
    again = post(path, key=key)
    assert again.status_code == 201
    assert "Idempotent-Replayed" not in again.headers


@pytest.mark.parametrize("path", BOTH)
def test_hole_12_a_waiter_that_times_out_leaves_the_live_claim_alone(path, key, stage, settings):
    settings.IDEMPOTENCY = {"default": {"WAIT": timedelta(seconds=1), "JOIN_TIMEOUT": timedelta(0)}}
    with running(lambda: post(path, key=key), stage) as first:
        assert post(path, key=key, Prefer="wait=1").status_code == 409
        if connection.vendor == "postgresql":
            assert elsewhere(lambda: IdempotencyRecord.objects.get().state) == "processing"
        assert post(path, key=key).status_code == 409
    assert first.result().status_code == 201
    assert post(path, key=key).content == first.result().content
    assert effects(key) == 1
