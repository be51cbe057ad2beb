"""What staff record of an operation of unknown outcome: what fits it is done once, and everything else is refused."""

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import close_old_connections, connection, transaction
from django.db.models import F
from django.test import override_settings

from django_idempotency import Respond, operation, resolution
from django_idempotency.backends.db import DatabaseBackend
from django_idempotency.exceptions import OutcomeUnknown
from django_idempotency.gateways import Approved, Declined
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord, IdempotencyStep
from django_idempotency.operations.definitions import REGISTRY
from django_idempotency.operations.recovery import RESUMES, Resumed, resume
from django_idempotency.resolution import Actor, NeedsApproval, NotResolved, unknowns
from django_idempotency.resolution.refusals import MOVED
from django_idempotency.signals import resolved
from tests.bank.models import Payment
from tests.operations.tills import Died, age, die
from tests.support.records import HOUR, stored

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
ADA = Actor(name="ada", id="-7", address="192.0.2.7")
SAID = {"evidence": "statement of 3 May, line 7", "actor": ADA}


class Bank:
    """A gateway that dies with the process that calls it, and knows of nothing afterwards."""

    timeout = 5.0
    key_ttl: timedelta | None = DAY

    def __init__(self) -> None:
        self.calls: list[str] = []

    def charge(self, *, idempotency_key: str, **asked: Any) -> dict[str, Any]:
        self.calls.append("charge")
        raise Died

    def find(self, *, idempotency_key: str, **asked: Any) -> None:
        self.calls.append("find")


BANK = Bank()


def book(charge: dict[str, Any], times: int = 1) -> Respond:
    if charge["status"] != "approved":
        return Respond(402, {"reason": charge["reason"]})
    payment = Payment.objects.create(key=charge["reference"], amount=charge["amount"] * times, nonce="")
    return Respond(201, {"payment": payment.pk, "charge": charge})


def paying(op: Any, **asked: Any) -> Any:
    return op.phase(book, charge=op.remote(BANK.charge, lookup=BANK.find, **asked))


def paying_twice(op: Any, **asked: Any) -> Any:
    return op.phase(book, charge=op.remote(BANK.charge, lookup=BANK.find, times=2, **asked), times=2)


pay = operation(name="tests.resolved")(paying)


@pytest.fixture(autouse=True)
def _first_release() -> Iterator[None]:
    BANK.__init__()  # type: ignore[misc]
    vars(BANK).pop("key_ttl", None)
    yield
    REGISTRY["tests.resolved"] = pay


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []

    def receive(sender: Any, **said: Any) -> None:
        found.append(said)

    resolved.connect(receive)
    yield found
    resolved.disconnect(receive)


def run(**asked: Any) -> Respond:
    return pay.run(key="k", **(asked or {"amount": 1250, "currency": "EUR"}))


def record() -> IdempotencyRecord:
    return IdempotencyRecord.objects.get()


def step() -> IdempotencyStep:
    return IdempotencyStep.objects.order_by("position").first()


def later(by: timedelta) -> None:
    IdempotencyRecord.objects.update(lease_until=F("lease_until") - by, resume_at=F("resume_at") - by)
    age(by)


def unknown(**asked: Any) -> uuid.UUID:
    """The id of an operation whose one call nobody knows about, and that may not be sent again."""
    die(lambda: run(**asked))
    age(DAY)
    assert resume() == Resumed(parked=1)
    assert record().state == "unknown"
    with pytest.raises(OutcomeUnknown):
        run(**asked)
    return record().pk


class TestOutcomes:
    def test_an_approval_is_what_the_call_returns(self) -> None:
        resolution.approved(unknown(), reference="ch_7", **SAID)
        assert resume() == Resumed(completed=1)
        approved = Approved(reference="ch_7", amount=1250, currency="EUR").as_json()
        assert run() == Respond(201, {"payment": Payment.objects.get().pk, "charge": approved})
        assert BANK.calls == ["charge", "find"]

    def test_a_decline_is_what_the_call_returns(self) -> None:
        resolution.declined(unknown(), refusal="insufficient_funds", **SAID)
        assert resume() == Resumed(completed=1)
        assert run() == Respond(402, {"reason": "insufficient_funds"})
        assert json.loads(bytes(step().result)) == Declined(reason="insufficient_funds").as_json()

    def test_anything_else_is_returned_as_it_is_said(self) -> None:
        resolution.returned(unknown(), result={"status": "pending", "reason": "review"}, **SAID)
        assert resume() == Resumed(completed=1)
        assert run() == Respond(402, {"reason": "review"})

    def test_the_clients_retry_may_be_first_to_go_on(self) -> None:
        resolution.approved(unknown(), reference="ch_7", **SAID)
        assert run().status == 201
        assert resume() == Resumed()
        assert Payment.objects.count() == 1

    def test_evidence_and_who_says_so_are_kept_with_the_step(self) -> None:
        resolution.approved(unknown(), reference="ch_7", **SAID)
        assert (step().evidence, step().resolved_by) == ("statement of 3 May, line 7", "ada")
        assert step().finished_at is not None

    def test_the_incident_is_closed(self) -> None:
        resolution.declined(unknown(), refusal="no", **SAID)
        (incident,) = IdempotencyIncident.objects.all()
        assert (incident.kind, incident.healed_at is not None) == ("unknown", True)

    def test_it_has_all_its_attempts_again(self) -> None:
        record_id = unknown()
        IdempotencyRecord.objects.update(resumes=RESUMES)
        resolution.approved(record_id, reference="ch_7", **SAID)
        assert resume() == Resumed(completed=1)

    def test_it_is_told_after_the_commit(self, heard: list[dict[str, Any]]) -> None:
        record_id = unknown()
        with transaction.atomic():
            resolution.approved(record_id, reference="ch_7", **SAID)
            assert heard == []
        (told,) = heard
        assert (told["how"], told["actor"], told["evidence"]) == ("approved", ADA, SAID["evidence"])
        assert (told["incident"], told["reason"]) == (None, "")
        assert (told["record"]["id"], told["record"]["state"]) == (record_id, "unknown")

    def test_a_receiver_that_raises_changes_nothing(self) -> None:
        def receive(**said: Any) -> None:
            raise RuntimeError("a bug of the receiver")

        resolved.connect(receive)
        try:
            resolution.approved(unknown(), reference="ch_7", **SAID)
        finally:
            resolved.disconnect(receive)
        assert record().state == "processing"

    @override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="]}})
    def test_under_encryption_the_result_is_encrypted(self) -> None:
        pytest.importorskip("cryptography")
        resolution.approved(unknown(), reference="ch_7", **SAID)
        assert b"ch_7" not in bytes(step().result)
        assert step().result_key_id
        assert resume() == Resumed(completed=1)


class TestMoney:
    def test_an_approval_is_of_what_was_asked(self) -> None:
        with pytest.raises(NotResolved, match="another amount"):
            resolution.approved(unknown(), reference="ch_7", amount=1249, **SAID)
        with pytest.raises(NotResolved, match="another currency"):
            resolution.approved(record().pk, reference="ch_7", currency="USD", **SAID)
        resolution.approved(record().pk, reference="ch_7", amount=1250, currency="eur", **SAID)

    def test_what_the_call_was_not_given_has_to_be_said(self) -> None:
        record_id = unknown(amount="12.50")
        with pytest.raises(NotResolved, match="say what it was"):
            resolution.approved(record_id, reference="ch_7", **SAID)
        resolution.approved(record_id, reference="ch_7", amount=1250, currency="EUR", **SAID)
        assert json.loads(bytes(step().result))["amount"] == 1250

    def test_what_has_to_be_said_needs_a_second_person_under_any_limit(self) -> None:
        record_id = unknown(amount="12.50")
        IdempotencyRecord.objects.update(amount="12.50", currency="EUR")
        with override_settings(IDEMPOTENCY={"default": {"APPROVALS": {"approved": {"EUR": 1000}}}}):
            with pytest.raises(NeedsApproval):
                resolution.approved(record_id, reference="ch_7", amount=99_999_999, currency="EUR", **SAID)
            resolution.declined(record_id, refusal="insufficient funds", **SAID)


class TestRefusals:
    @pytest.mark.parametrize(
        ("given", "said"),
        [({"evidence": " "}, "evidence"), ({"evidence": "a\0"}, "must be text"), ({"refusal": ""}, "refusal")],
    )
    def test_without_evidence_nothing_is_recorded(self, given: dict[str, str], said: str) -> None:
        record_id = unknown()
        with pytest.raises(ValueError, match=said):
            resolution.declined(record_id, **{"refusal": "no", **SAID, **given})
        assert record().state == "unknown"

    def test_a_result_that_is_no_json_is_refused(self) -> None:
        with pytest.raises(TypeError, match="must be JSON"):
            resolution.returned(unknown(), result={1, 2}, **SAID)

    @pytest.mark.parametrize("state", ["processing", "completed", "tombstone"])
    def test_only_what_is_unknown_is_resolved(self, state: str) -> None:
        found = stored(state, operation="tests.resolved")
        for act in (resolution.go_on, resolution.never_happened):
            with pytest.raises(NotResolved, match=f"is {state}, not unknown"):
                act(found.pk, **SAID)

    def test_a_view_of_unknown_outcome_is_not_an_operation(self) -> None:
        with pytest.raises(NotResolved, match="of a view"):
            resolution.go_on(stored("unknown").pk, **SAID)

    def test_what_is_not_there_is_refused(self) -> None:
        with pytest.raises(NotResolved, match="no record"):
            resolution.go_on(uuid.uuid4(), **SAID)

    def test_without_a_call_that_waits_there_is_no_outcome_to_record(self) -> None:
        resolution.approved(unknown(), reference="ch_7", **SAID)
        operation(name="tests.resolved")(paying_twice)
        assert resume() == Resumed(parked=1)
        for act, given in ((resolution.declined, {"refusal": "no"}), (resolution.never_happened, {})):
            with pytest.raises(NotResolved, match="without a result"):
                act(record().pk, **given, **SAID)
        assert step().evidence == SAID["evidence"]
        assert record().state == "unknown"

    def test_a_second_word_is_refused(self) -> None:
        record_id = unknown()
        resolution.approved(record_id, reference="ch_7", **SAID)
        with pytest.raises(NotResolved, match="is processing"):
            resolution.declined(record_id, refusal="no", **SAID)
        assert resume() == Resumed(completed=1)
        assert run().status == 201

    def test_a_word_on_what_has_been_at_work_since_is_refused(self) -> None:
        record_id = unknown()
        seen = record().token
        resolution.go_on(record_id, **SAID)
        assert resume() == Resumed(parked=1)
        with pytest.raises(NotResolved, match="Look at it again"):
            resolution.declined(record_id, refusal="no", token=seen, **SAID)
        resolution.declined(record_id, refusal="no", token=record().token, **SAID)

    def test_of_two_at_once_one_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has one writer")
        record_id, both, lock, outcomes = unknown(), threading.Barrier(2), unknowns._lock, []

        def meet(*given: Any) -> None:
            both.wait(10)
            lock(*given)

        def decide(reference: str) -> None:
            try:
                resolution.approved(record_id, reference=reference, **SAID)
                outcomes.append(reference)
            except NotResolved as exc:
                outcomes.append(str(exc))
            finally:
                close_old_connections()
                connection.close()

        monkeypatch.setattr(unknowns, "_lock", meet)
        threads = [threading.Thread(target=decide, args=(reference,)) for reference in ("ch_1", "ch_2")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert str(MOVED) in outcomes
        (reference,) = [outcome for outcome in outcomes if outcome != str(MOVED)]
        assert json.loads(bytes(step().result))["reference"] == reference

    def test_a_zombie_can_write_no_more(self) -> None:
        from django_idempotency.operations.calls import store_of
        from django_idempotency.operations.recovery import next_claim, policy_of

        record_id = unknown()
        row = IdempotencyRecord.objects.values().get()
        policy = policy_of(row, "default")
        resolution.go_on(record_id, **SAID)
        before = next_claim({**row, "token": row["token"] - 1}, policy)
        assert store_of(DatabaseBackend(policy), policy).extend(before) is False


class TestNeverHappened:
    def test_it_closes_the_operation_for_good(self) -> None:
        record_id = unknown()
        later(2 * DAY)
        resolution.never_happened(record_id, **SAID)
        closed = run()
        assert (closed.status, closed.data["code"], closed.data["retryable"]) == (410, "never-happened", False)
        assert resume() == Resumed()
        assert (BANK.calls, Payment.objects.count()) == (["charge", "find"], 0)
        found = record()
        assert (found.state, (found.expires_at - found.completed_at).days) == ("completed", 3)
        assert ((found.forget_at - found.expires_at).days, step().resolved_by) == (30, "ada")

    def test_it_is_refused_while_the_gateway_may_know_the_key(self) -> None:
        BANK.key_ttl = 9 * DAY
        die(run)
        age(9 * DAY)
        assert resume() == Resumed(parked=1)
        age(-HOUR)
        IdempotencyRecord.objects.update(lease_until=F("lease_until") - 2 * DAY)
        with pytest.raises(NotResolved, match="9 days"):
            resolution.never_happened(record().pk, **SAID)
        age(HOUR)
        resolution.never_happened(record().pk, **SAID)

    def test_it_is_refused_for_a_day_after_anything_was_sent(self) -> None:
        record_id = unknown()
        age(9 * DAY)
        IdempotencyRecord.objects.update(lease_until=F("lease_until") - DAY + HOUR)
        with pytest.raises(NotResolved, match="too early"):
            resolution.never_happened(record_id, **SAID)
        assert (record().state, step().evidence) == ("unknown", "")
        later(HOUR + timedelta(minutes=2))
        resolution.never_happened(record_id, **SAID)


class TestGoOn:
    def test_steps_that_were_mended_go_on(self) -> None:
        resolution.approved(unknown(), reference="ch_7", **SAID)
        operation(name="tests.resolved")(paying_twice)
        assert resume() == Resumed(parked=1)
        # The incident says why it waits now.
        (incident,) = IdempotencyIncident.objects.all()
        assert (incident.counter, incident.healed_at, "another input" in incident.error) == (2, None, True)
        REGISTRY["tests.resolved"] = pay
        resolution.go_on(record().pk, **SAID)
        assert resume() == Resumed(completed=1)
        assert Payment.objects.get().amount == 1250

    def test_a_call_is_not_sent_again_for_it(self) -> None:
        resolution.go_on(unknown(), **SAID)
        assert resume() == Resumed(parked=1)
        assert BANK.calls == ["charge", "find", "find"]
        assert IdempotencyIncident.objects.get().healed_at is None

    def test_one_taken_up_too_often_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        die(run)
        IdempotencyRecord.objects.update(resumes=RESUMES)
        assert resume() == Resumed(parked=1)
        monkeypatch.setattr(
            Bank, "find", lambda bank, **asked: Approved(reference="c", amount=1250, currency="EUR").as_json()
        )
        resolution.go_on(record().pk, **SAID)
        assert resume() == Resumed(completed=1)
