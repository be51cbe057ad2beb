"""What staff decide about the records of views: a dead claim is released, an unknown outcome is recorded; nothing else."""

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from django_idempotency import resolution
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from django_idempotency.resolution import Moved, NotFound, StillRunning, TooEarly, WrongState
from tests.resolution.people import ADA, events
from tests.support.contenders import COMMITTED, Work, code, operation
from tests.support.records import HOUR, completed, stored
from tests.support.threads import Stage, running

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
BECAUSE: dict[str, Any] = {"reason": "ticket 812: its worker was killed", "actor": ADA}
SAID: dict[str, Any] = {"evidence": "ledger of 3 May, line 7", "actor": ADA}
ANSWER: dict[str, Any] = {"status": 201, "body": '{"payment": 7}', "reference": "payment 7"}

committed_claims = pytest.mark.skipif(connection.vendor == "sqlite", reason="on SQLite a claim is not seen")


def record() -> IdempotencyRecord:
    return IdempotencyRecord.objects.get()


def lapsed(state: str = "unknown", **columns: Any) -> IdempotencyRecord:
    """A coroutine's record whose lease ended two days ago."""
    ended = timezone.now() - 2 * DAY
    return stored(state, token=1, claimed_at=3 * DAY, **{"lease_until": ended, **columns})


class TestRelease:
    def test_it_frees_the_key_and_leaves_an_incident_with_the_request(self) -> None:
        dead = stored("processing", request_headers="[]", request_body=b'{"amount": 5}')
        resolution.release(dead.pk, claim=dead.claim, **BECAUSE)
        assert not IdempotencyRecord.objects.exists()
        (incident,) = IdempotencyIncident.objects.all()
        assert (incident.kind, incident.record_id, bytes(incident.request_body)) == (
            *("abandoned", dead.pk),
            b'{"amount": 5}',
        )

    def test_it_is_in_the_audit(self) -> None:
        dead = stored("processing")
        resolution.release(dead.pk, claim=dead.claim, **BECAUSE)
        assert events("act", "actor", "actor_id", "address", "record_id", "reason") == [
            ("release", "ada", "-7", "192.0.2.7", dead.pk, BECAUSE["reason"])
        ]
        (told,) = events("before", "after")
        assert [json.loads(text) for text in told] == [
            {"state": "processing", "claim": dead.claim, "token": 0},
            {"state": None},
        ]

    @committed_claims
    @pytest.mark.django_db(transaction=True)
    def test_the_next_retry_runs(self) -> None:
        asked, work = operation(), Work()
        COMMITTED.plant(asked)
        resolution.release(asked.id, claim=record().claim, **BECAUSE)
        assert (code(COMMITTED.run(asked, work)), work.runs) == ("Completed", 1)

    @committed_claims
    @pytest.mark.django_db(transaction=True)
    def test_a_living_owner_is_left_alone(self) -> None:
        asked, stage = operation(), Stage()
        # Taken over by a retry: the claim is old, and its new owner holds the lock.
        COMMITTED.plant(asked)
        with running(lambda: COMMITTED.run(asked, Work(act=stage.enter)), stage) as owner, pytest.raises(StillRunning):
            resolution.release(asked.id, claim=record().claim, **BECAUSE)
        assert code(owner.result()) == "Completed"
        assert (record().state, events()) == ("completed", [])

    def test_what_was_claimed_a_moment_ago_is_left_alone(self) -> None:
        young = stored("processing", claimed_at=timedelta(0))
        with pytest.raises(StillRunning):
            resolution.release(young.pk, claim=young.claim, **BECAUSE)
        assert record().state == "processing"

    def test_a_lease_that_still_runs_is_left_alone(self) -> None:
        leased = lapsed("processing", lease_until=timezone.now() + HOUR)
        with pytest.raises(StillRunning):
            resolution.release(leased.pk, claim=leased.claim, **BECAUSE)

    @pytest.mark.parametrize("columns", [{"token": 1}, {"token": 1, "lease_until": timezone.now() - DAY}])
    def test_what_may_have_taken_effect_is_not_freed(self, columns: dict[str, Any]) -> None:
        doubtful = stored("processing", **columns)
        with pytest.raises(WrongState, match="Nobody knows what it has done"):
            resolution.release(doubtful.pk, claim=doubtful.claim, **BECAUSE)
        assert record().state == "processing"

    @pytest.mark.parametrize("state", ["completed", "tombstone", "unknown"])
    def test_only_what_is_in_flight_is_released(self, state: str) -> None:
        found = stored(state)
        with pytest.raises(WrongState, match=f"is {state}"):
            resolution.release(found.pk, claim=found.claim, **BECAUSE)
        assert (record().state, events()) == (state, [])

    def test_a_durable_operation_is_gone_on_with_instead(self) -> None:
        found = stored("processing", operation="shop.pay", lease_until=timezone.now() - DAY)
        with pytest.raises(WrongState, match="idempotency_recover goes on"):
            resolution.release(found.pk, claim=found.claim, **BECAUSE)

    def test_another_claim_than_was_shown_is_refused(self) -> None:
        dead = stored("processing")
        with pytest.raises(Moved, match="Look at it again"):
            resolution.release(dead.pk, claim=dead.claim + 1, **BECAUSE)
        assert record().state == "processing"

    def test_what_is_not_there_is_refused(self) -> None:
        with pytest.raises(NotFound, match="no record"):
            resolution.release(uuid.uuid4(), claim=1, **BECAUSE)

    def test_without_a_reason_nothing_is_released(self) -> None:
        dead = stored("processing")
        with pytest.raises(ValueError, match="reason must not be empty"):
            resolution.release(dead.pk, claim=dead.claim, reason=" ", actor=ADA)
        assert record().state == "processing"

    @pytest.mark.django_db(databases=["default", "other"])
    def test_change_and_event_are_in_the_database_that_is_named(self) -> None:
        dead = stored("processing", using="other")
        resolution.release(dead.pk, claim=dead.claim, using="other", **BECAUSE)
        assert not IdempotencyRecord.objects.using("other").exists()
        assert events() == []


class TestHappened:
    def test_every_retry_gets_the_answer(self) -> None:
        asked = operation()
        COMMITTED.plant(asked, "unknown", token=1)
        resolution.happened(asked.id, **ANSWER, **SAID)
        outcome = COMMITTED.run(asked, Work())
        assert (code(outcome), outcome.snapshot.status, bytes(outcome.snapshot.body)) == (
            *("Replay", 201),
            b'{"payment": 7}',
        )
        assert outcome.snapshot.headers == (("Content-Type", "application/json"),)

    @pytest.mark.parametrize("status", [204, 304])
    def test_an_answer_that_by_its_status_has_no_body_has_none(self, status: int) -> None:
        """A client that waits for none would take it for the beginning of the next answer."""
        resolution.happened(stored("unknown").pk, **{**ANSWER, "status": status}, **SAID)
        body = record().body
        assert (record().status, body is not None and bytes(body)) == (status, b"")

    def test_it_is_kept_as_long_as_any_answer(self) -> None:
        resolution.happened(stored("unknown").pk, **ANSWER, **SAID)
        found = record()
        assert ((found.expires_at - found.completed_at).days, (found.forget_at - found.expires_at).days) == (3, 30)
        assert timezone.now() - found.completed_at < HOUR

    @override_settings(IDEMPOTENCY={"payments": {"NAMESPACE": "shop", "RETENTION": 9 * DAY}})
    def test_the_rules_are_those_of_its_namespace(self) -> None:
        resolution.happened(stored("unknown", namespace="shop").pk, **ANSWER, **SAID)
        assert (record().expires_at - record().completed_at).days == 9

    @pytest.mark.urls("tests.resolution.shop")
    @override_settings(IDEMPOTENCY={"default": {"RETENTION": HOUR, "TOMBSTONE": timedelta(0)}})
    def test_it_is_kept_as_long_as_its_view_promises(self) -> None:
        resolution.happened(stored("unknown", path="/patient").pk, **ANSWER, **SAID)
        found = record()
        assert (found.expires_at - found.completed_at).days == 20
        assert round((found.forget_at - found.expires_at) / HOUR, 3) == 1

    @override_settings(
        IDEMPOTENCY={"default": {"RETENTION": HOUR}, "longer": {"NAMESPACE": "default", "RETENTION": 9 * DAY}}
    )
    def test_of_several_profiles_the_longest_rules_hold(self) -> None:
        resolution.happened(stored("unknown").pk, **ANSWER, **SAID)
        assert (record().expires_at - record().completed_at).days == 9

    @override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="]}})
    def test_under_encryption_the_answer_is_encrypted(self) -> None:
        pytest.importorskip("cryptography")
        resolution.happened(stored("unknown").pk, **ANSWER, **SAID)
        assert b"payment" not in bytes(record().body)

    def test_the_audit_has_evidence_and_reference_and_nothing_of_the_answer(self) -> None:
        resolution.happened(stored("unknown").pk, **ANSWER, **SAID)
        ((act, evidence, after),) = events("act", "evidence", "after")
        assert (act, evidence) == ("happened", SAID["evidence"])
        assert json.loads(after) == {"state": "completed", "status": 201, "reference": "payment 7"}

    def test_the_incident_is_closed(self) -> None:
        found = stored("unknown")
        incident = opened("unknown", found)
        resolution.happened(found.pk, **ANSWER, **SAID)
        incident.refresh_from_db()
        assert incident.healed_at is not None

    @pytest.mark.parametrize("status", [100, 199, 400, 409, 500, 503])
    def test_what_is_no_kept_answer_is_refused(self, status: int) -> None:
        found = stored("unknown")
        with pytest.raises(ValueError, match="not one that is kept"):
            resolution.happened(found.pk, **{**ANSWER, "status": status}, **SAID)
        assert (record().state, events()) == ("unknown", [])

    @override_settings(IDEMPOTENCY={"default": {"MAX_RESPONSE": 10}})
    def test_an_answer_that_is_too_large_is_refused(self) -> None:
        with pytest.raises(ValueError, match="MAX_RESPONSE"):
            resolution.happened(stored("unknown").pk, **ANSWER, **SAID)

    @pytest.mark.parametrize("given", [{"body": "{"}, {"reference": ""}, {"evidence": ""}])
    def test_an_answer_needs_json_a_reference_and_evidence(self, given: dict[str, Any]) -> None:
        found = stored("unknown")
        with pytest.raises(ValueError, match=r"must not be empty|Expecting"):
            resolution.happened(found.pk, **{**ANSWER, **SAID, **given})
        assert record().state == "unknown"

    def test_of_an_operation_the_outcome_of_its_call_is_recorded_instead(self) -> None:
        found = stored("unknown", operation="shop.pay")
        with pytest.raises(WrongState, match="what its call has come to"):
            resolution.happened(found.pk, **ANSWER, **SAID)
        assert record().state == "unknown"

    @pytest.mark.parametrize("state", ["processing", "completed", "tombstone"])
    def test_only_what_is_unknown_is_settled(self, state: str) -> None:
        found = stored(state)
        for settle in (resolution.never_happened, lambda pk, **said: resolution.happened(pk, **ANSWER, **said)):
            with pytest.raises(WrongState, match=f"is {state}, not unknown"):
                settle(found.pk, **SAID)
        assert record().state == state

    def test_another_token_than_was_shown_is_refused(self) -> None:
        found = stored("unknown", token=2)
        with pytest.raises(Moved):
            resolution.happened(found.pk, **ANSWER, **SAID, token=1)
        resolution.happened(found.pk, **ANSWER, **SAID, token=2)


class TestNeverHappened:
    def test_it_closes_the_key_for_good(self) -> None:
        asked, work = operation(), Work()
        COMMITTED.plant(asked, "unknown", token=1, claimed_at=2 * DAY)
        resolution.never_happened(asked.id, **SAID)
        outcome = COMMITTED.run(asked, work)
        assert (code(outcome), outcome.snapshot.status, work.runs) == ("Replay", 410, 0)
        assert json.loads(bytes(outcome.snapshot.body))["code"] == "never-happened"
        assert events() == ["never-happened"]

    @pytest.mark.parametrize("lease", [None, timedelta(hours=23)])
    def test_it_is_refused_for_a_day(self, lease: timedelta | None) -> None:
        claimed = timedelta(hours=23) if lease is None else 3 * DAY
        young = stored("unknown", claimed_at=claimed, lease_until=lease and timezone.now() - lease)
        with pytest.raises(TooEarly, match="wait until a day has passed"):
            resolution.never_happened(young.pk, **SAID)
        assert (record().state, events()) == ("unknown", [])

    def test_a_coroutine_whose_lease_ended_long_ago_is_closed(self) -> None:
        resolution.never_happened(lapsed().pk, **SAID)
        assert record().status == 410


def opened(kind: str, found: IdempotencyRecord) -> IdempotencyIncident:
    now = timezone.now()
    same = {name: getattr(found, name) for name in ("namespace", "scope", "key", "method", "path")}
    return IdempotencyIncident.objects.create(
        kind=kind, record_id=found.pk, fingerprint="01" * 32, first_seen=now, last_seen=now, **same
    )


def test_an_answer_that_was_completed_stays() -> None:
    """`completed` is terminal: no act of staff frees it, or gives it another answer."""
    found = completed(expired=-HOUR, forgotten=-DAY)
    for call in (
        lambda: resolution.release(found.pk, claim=found.claim, **BECAUSE),
        lambda: resolution.happened(found.pk, **ANSWER, **SAID),
        lambda: resolution.never_happened(found.pk, **SAID),
        lambda: resolution.go_on(found.pk, **SAID),
    ):
        with pytest.raises(WrongState):
            call()
    assert (record().state, bytes(record().body)) == ("completed", b'{"paid": true}')
