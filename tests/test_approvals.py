"""What needs a second person is not done without one, is done as it was asked for, and is done once."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.test import override_settings
from django.utils import timezone

from django_idempotency import approvals, resolution
from django_idempotency.conf import setting_fault
from django_idempotency.models import IdempotencyApproval, IdempotencyIncident, IdempotencyRecord
from django_idempotency.resolution import Act, Actor, Moved, NeedsApproval, NotFound, NotGranted, Unreadable, grants
from django_idempotency.rotation import Rekeyed, rekey
from django_idempotency.verification import verify
from tests.resolution.people import ADA, BOB, events
from tests.resolution.test_incidents import incident
from tests.resolution.test_races import at_once
from tests.support.records import stored

pytestmark = pytest.mark.django_db

EVE = Actor(name="eve", id="9")
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
ANSWER = {"status": 201, "body": '{"card": "4111"}', "reference": "payment 7", "evidence": "ledger, line 7"}
RULES: dict[str, Any] = {"APPROVALS": {"release": None, "happened": None, "client-error": None}}


@pytest.fixture(autouse=True)
def _always() -> Iterator[None]:
    with override_settings(IDEMPOTENCY={"default": RULES}):
        yield


def rules(**acts: Any) -> Any:
    return override_settings(
        IDEMPOTENCY={"default": {"APPROVALS": {name.replace("_", "-"): acts[name] for name in acts}}}
    )


def asked_for(actor: Actor = ADA, **columns: Any) -> IdempotencyApproval:
    """A release that somebody has asked for."""
    dead = stored("processing", **columns)
    with pytest.raises(NeedsApproval) as needs:
        resolution.release(dead.pk, claim=dead.claim, reason="dead", actor=actor)
    return approvals.request(needs.value)


def afresh(found: IdempotencyApproval) -> IdempotencyApproval:
    return IdempotencyApproval.objects.get(pk=found.pk)


def approving(found: IdempotencyApproval, actor: Actor) -> Callable[[], None]:
    return lambda: approvals.approve(found.pk, actor=actor)


def rejecting(found: IdempotencyApproval, actor: Actor) -> Callable[[], None]:
    return lambda: approvals.reject(found.pk, reason="no", actor=actor)


class TestRules:
    @pytest.mark.parametrize(
        ("limits", "amount", "currency", "expected"),
        [
            (None, "1", "EUR", True),
            ({"EUR": Decimal(1000)}, "1000", "EUR", False),
            ({"EUR": Decimal(1000)}, "1000.0001", "EUR", True),
            ({"EUR": 1000}, "999", "eur", False),
            ({"eur": 1000}, "1001", "EUR", True),
            ({"EUR": 1000}, "-1001", "EUR", True),
            ({"EUR": 1000}, "1", "USD", True),
            ({"EUR": 1000}, None, "EUR", True),
            ({"EUR": 1000}, "1", "", True),
            ({}, "1", "EUR", True),
        ],
    )
    def test_above_the_amount_or_where_it_is_unknown_a_second_person_is_needed(
        self, limits: Any, amount: str | None, currency: str, expected: bool
    ) -> None:
        row = {"namespace": "default", "amount": amount and Decimal(amount), "currency": currency}
        with rules(release=limits):
            assert grants.needed(Act.RELEASE, row) is expected
            assert grants.needed(Act.CLOSE, row) is False

    @pytest.mark.parametrize(("amount", "expected"), [(None, False), (1, True), (99_999_999, True)])
    def test_money_that_whoever_acts_has_named_is_not_what_the_client_has_asked_for(
        self, amount: int | None, expected: bool
    ) -> None:
        row = {"namespace": "default", "amount": Decimal(480), "currency": "EUR"}
        with rules(approved={"EUR": 1000}):
            assert grants.needed(Act.APPROVED, row, {"amount": amount, "currency": None}) is expected

    def test_the_rules_are_those_of_the_namespace_and_of_none_the_default_ones(self) -> None:
        always = {"APPROVALS": {"release": None}}
        found = {"amount": None, "currency": ""}
        with override_settings(IDEMPOTENCY={"payments": {"NAMESPACE": "shop", **always}}):
            assert grants.needed(Act.RELEASE, {"namespace": "shop", **found})
            assert not grants.needed(Act.RELEASE, {"namespace": "payments", **found})
        with override_settings(IDEMPOTENCY={"default": always, "payments": {}}):
            assert not grants.needed(Act.RELEASE, {"namespace": "payments", **found})
            assert grants.needed(Act.RELEASE, {"namespace": "task:shop.pay", **found})

    @pytest.mark.parametrize(
        ("value", "fault"),
        [
            ({"release": None, "approved": {"EUR": Decimal("1000.50")}}, None),
            ({}, None),
            (["release"], "must be a dict of acts"),
            ({"relase": None}, "dict of acts such as 'release'"),
            ({"release": {"EUR": 1.5}}, "each with None or a dict of amounts"),
            ({"release": {"EUR": Decimal("NaN")}}, "each with None or a dict of amounts"),
            ({"release": {"EUR": True}}, "each with None or a dict of amounts"),
            ({"release": 5}, "each with None or a dict of amounts"),
        ],
    )
    def test_a_fault_in_the_setting_is_told(self, value: Any, fault: str | None) -> None:
        told = setting_fault("APPROVALS", value)
        assert told is None if fault is None else fault in str(told)


class TestAsking:
    def test_without_a_second_person_nothing_is_done(self) -> None:
        dead = stored("processing")
        with pytest.raises(NeedsApproval, match="second person"):
            resolution.release(dead.pk, claim=dead.claim, reason="dead", actor=ADA)
        assert IdempotencyRecord.objects.get().state == "processing"
        assert (events(), IdempotencyIncident.objects.count()) == ([], 0)

    def test_what_would_be_refused_is_not_asked_for(self) -> None:
        with pytest.raises(Moved):
            resolution.release(stored("processing").pk, claim=0, reason="dead", actor=ADA)

    def test_what_was_asked_for_is_frozen(self) -> None:
        found = asked_for(amount=Decimal("12.5"), currency="EUR")
        record = IdempotencyRecord.objects.get()
        assert (found.act, found.record_id, found.incident_id, found.state) == ("release", record.pk, None, "requested")
        assert (found.requester, found.requester_id, found.amount, found.currency) == ("ada", "-7", 12.5, "EUR")
        assert json.loads(bytes(found.arguments)) == {"claim": record.claim, "reason": "dead"}
        stays = afresh(found).expires_at - afresh(found).requested_at
        assert abs(stays - approvals.VALID) < timedelta(seconds=1)
        assert events("act", "actor", "approval_id", "reason") == [("request", "ada", found.pk, "dead")]

    def test_an_outcome_is_asked_for_as_it_was_seen(self) -> None:
        found = stored("unknown", token=3)
        with pytest.raises(NeedsApproval) as needs:
            resolution.happened(found.pk, **ANSWER, actor=ADA)
        frozen = approvals.request(needs.value)
        assert json.loads(bytes(frozen.arguments))["token"] == 3


class TestApproving:
    def test_the_act_is_done_in_the_name_of_who_asked_for_it(self) -> None:
        found = asked_for()
        approvals.approve(found.pk, actor=BOB)
        assert not IdempotencyRecord.objects.exists()
        done = afresh(found)
        assert (done.state, done.approver, done.approver_id) == ("done", "bob", "-8")
        assert done.decided_at is not None
        assert events("act", "actor", "approval_id") == [
            ("request", "ada", found.pk),
            ("release", "ada", found.pk),
            ("approve", "bob", found.pk),
        ]
        assert list(verify()) == []

    def test_a_decision_on_an_incident_is_done_too(self) -> None:
        told = incident()
        with pytest.raises(NeedsApproval) as needs:
            resolution.client_error(told.pk, counter=3, reason="a fault", actor=ADA)
        approvals.approve(approvals.request(needs.value).pk, actor=BOB)
        assert IdempotencyIncident.objects.get().decision == "client-error"

    @pytest.mark.parametrize("actor", [ADA, Actor(name="ada", id="-8"), Actor(name="bob", id="-7")])
    def test_nobody_approves_what_they_have_asked_for(self, actor: Actor) -> None:
        found = asked_for()
        with pytest.raises(NotGranted, match="Another person"):
            approvals.approve(found.pk, actor=actor)
        assert (afresh(found).state, IdempotencyRecord.objects.count()) == ("requested", 1)

    def test_somebody_at_a_command_line_approves_nothing(self) -> None:
        found = asked_for(Actor(name="ada"))
        with pytest.raises(NotGranted, match="logged in"):
            approvals.approve(found.pk, actor=Actor(name="bob"))
        approvals.approve(found.pk, actor=BOB)

    @pytest.mark.parametrize("name", ["ada", "Ada", " ada "])
    def test_another_user_of_the_same_name_does_not_approve(self, name: str) -> None:
        with pytest.raises(NotGranted):
            approvals.approve(asked_for().pk, actor=Actor(name=name, id="-8"))

    @pytest.mark.parametrize(
        "who",
        [
            {"approver": "ada", "approver_id": "-7"},
            {"approver": "ada", "approver_id": "-8"},
            {"approver": "bob", "approver_id": "-7"},
            {"approver": "", "approver_id": "-8"},
            {"approver": "bob", "approver_id": ""},
        ],
    )
    @pytest.mark.parametrize("state", ["approved", "done"])
    def test_the_database_itself_refuses_the_same_person(self, who: dict[str, str], state: str) -> None:
        found = asked_for()
        table = IdempotencyApproval._meta.db_table
        statement = f"UPDATE {table} SET state = %s, approver = %s, approver_id = %s WHERE id = %s"
        # On MariaDB it is an OperationalError.
        refused = pytest.raises(DatabaseError, match="djidempotency_approval_second_person")
        with refused, transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, [state, *who.values(), found.pk])
        with connection.cursor() as cursor:
            cursor.execute(statement, [state, "bob", "-8", found.pk])
            assert cursor.rowcount == 1

    def test_what_has_moved_since_is_refused_and_still_waits(self) -> None:
        found = asked_for()
        IdempotencyRecord.objects.update(claim=F("claim") + 1)
        with pytest.raises(Moved):
            approvals.approve(found.pk, actor=BOB)
        assert (afresh(found).state, afresh(found).approver, events()) == ("requested", "", ["request"])

    @pytest.mark.parametrize(
        "changes",
        [
            {"arguments": b'{"claim": %d, "reason": "other"}'},
            {"requester": "eve", "requester_id": "9"},
            {"act": "client-error"},
            {"digest": "0" * 64},
        ],
    )
    def test_what_was_changed_in_the_database_is_not_done(self, changes: dict[str, Any]) -> None:
        found = asked_for()
        if "arguments" in changes:
            changes = {"arguments": changes["arguments"] % IdempotencyRecord.objects.get().claim}
        IdempotencyApproval.objects.update(**changes)
        with pytest.raises((NotGranted, TypeError)):
            approvals.approve(found.pk, actor=BOB)
        assert (afresh(found).state, IdempotencyRecord.objects.count()) == ("requested", 1)

    def test_another_record_than_was_asked_for_is_not_freed(self) -> None:
        found = asked_for()
        other = stored("processing", claim=IdempotencyRecord.objects.get().claim)
        IdempotencyApproval.objects.update(record_id=other.pk)
        with pytest.raises(NotGranted):
            approvals.approve(found.pk, actor=BOB)
        assert IdempotencyRecord.objects.count() == 2

    def test_an_approval_is_used_once(self) -> None:
        found = asked_for()
        approvals.approve(found.pk, actor=BOB)
        with pytest.raises(NotGranted, match="decided already"):
            approvals.approve(found.pk, actor=EVE)
        claim = json.loads(bytes(found.arguments))["claim"]
        again = stored("processing", id=found.record_id, claim=claim)
        for actor in (replace(ADA, approval=found.pk), replace(BOB, approval=found.pk)):
            with pytest.raises(NotGranted, match="used already"):
                resolution.release(again.pk, claim=claim, reason="dead", actor=actor)
        assert IdempotencyRecord.objects.exists()

    def test_what_is_late_is_not_done(self) -> None:
        found = asked_for()
        IdempotencyApproval.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        with pytest.raises(NotGranted, match="in time"):
            approvals.approve(found.pk, actor=BOB)
        assert (afresh(found).state, events()) == ("expired", ["request", "expire"])
        with pytest.raises(NotGranted, match="nobody has granted it"):
            approvals.approve(found.pk, actor=BOB)

    def test_what_is_not_there_cannot_be_approved(self) -> None:
        with pytest.raises(NotFound, match="no approval"):
            approvals.approve(77, actor=BOB)

    @pytest.mark.django_db(transaction=True)
    def test_of_two_who_approve_at_once_one_is_told_and_it_is_done_once(self) -> None:
        for _ in range(5):
            found = asked_for()
            outcomes = at_once(approving(found, BOB), approving(found, EVE))
            assert outcomes[-1] == "done"
            assert outcomes[0] in {"Moved", "NotGranted"}
            assert afresh(found).state == "done"
        assert (events().count("release"), events().count("approve")) == (5, 5)

    @pytest.mark.django_db(transaction=True)
    def test_it_is_approved_or_rejected(self) -> None:
        for _ in range(5):
            found = asked_for()
            outcomes = at_once(approving(found, BOB), rejecting(found, EVE))
            assert outcomes.count("done") == 1
            left = IdempotencyRecord.objects.filter(pk=found.record_id).exists()
            assert afresh(found).state == ("rejected" if left else "done")


class TestRejecting:
    @pytest.mark.parametrize("actor", [BOB, ADA])
    def test_it_is_not_done_any_more(self, actor: Actor) -> None:
        """By another person, or by whoever has asked for it: to take it back does no harm."""
        found = asked_for()
        approvals.reject(found.pk, reason="look again", actor=actor)
        assert (afresh(found).state, afresh(found).approver) == ("rejected", actor.name)
        with pytest.raises(NotGranted, match="decided already"):
            approvals.approve(found.pk, actor=EVE)
        assert events("act", "actor", "reason")[1:] == [("reject", actor.name, "look again")]
        assert IdempotencyRecord.objects.exists()

    def test_it_needs_a_reason(self) -> None:
        found = asked_for()
        with pytest.raises(ValueError, match="reason must not be empty"):
            approvals.reject(found.pk, reason="", actor=BOB)


class TestEncryption:
    @pytest.fixture(autouse=True)
    def _keys(self, _always: None) -> Iterator[None]:
        pytest.importorskip("cryptography")
        with override_settings(IDEMPOTENCY={"default": {**RULES, "ENCRYPTION_KEYS": [KEY]}}):
            yield

    def asked(self) -> IdempotencyApproval:
        with pytest.raises(NeedsApproval) as needs:
            resolution.happened(stored("unknown").pk, **ANSWER, actor=ADA)
        return approvals.request(needs.value)

    def test_what_it_is_done_with_is_encrypted(self) -> None:
        found = self.asked()
        assert b"4111" not in bytes(found.arguments)
        approvals.approve(found.pk, actor=BOB)
        assert IdempotencyRecord.objects.get().status == 201

    def test_without_the_key_it_cannot_be_done(self) -> None:
        found = self.asked()
        with override_settings(IDEMPOTENCY={"default": RULES}), pytest.raises(Unreadable):
            approvals.approve(found.pk, actor=BOB)
        assert afresh(found).state == "requested"

    def test_it_changes_its_key(self) -> None:
        from cryptography.fernet import Fernet

        found, newer = self.asked(), Fernet.generate_key().decode()
        with override_settings(IDEMPOTENCY={"default": {**RULES, "ENCRYPTION_KEYS": [newer, KEY]}}):
            assert rekey() == Rekeyed(rekeyed=1)
        with override_settings(IDEMPOTENCY={"default": {**RULES, "ENCRYPTION_KEYS": [newer]}}):
            approvals.approve(found.pk, actor=BOB)
