"""The audit: what is appended, that nothing is changed, and that every way to tamper with it is found."""

import threading
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import RequestFactory, override_settings
from django.utils import timezone

from django_idempotency import audit, verification
from django_idempotency.audit import Actor, actor_of, at_command_line, record_event
from django_idempotency.models import IdempotencyEvent, IdempotencyHead
from django_idempotency.verification import Fault, verify
from tests.support.records import stored
from tests.support.threads import PATIENCE, closing

pytestmark = pytest.mark.django_db

ADA = Actor(name="ada", id="7", address="192.0.2.7")
EVENTS, HEAD = IdempotencyEvent._meta.db_table, IdempotencyHead._meta.db_table


def sql(statement: str, *parameters: Any) -> None:
    """Change the tables as somebody does who can write to the database."""
    with connection.cursor() as cursor:
        cursor.execute(statement.format(events=EVENTS, head=HEAD), parameters)
        assert cursor.rowcount, statement


def faults(**given: Any) -> list[tuple[int, str]]:
    return [(fault.sequence, fault.what) for fault in verify(**given)]


@pytest.fixture
def five() -> list[IdempotencyEvent]:
    record = stored("unknown")
    return [
        record_event(ADA, f"act {number}", record_id=record.pk, reason=f"reason {number}", after={"state": "completed"})
        for number in range(1, 6)
    ]


class TestEvents:
    def test_an_event_says_who_did_what_when_and_why(self) -> None:
        record = stored("unknown")
        record_event(
            *(ADA, "release"), record_id=record.pk, reason="dead", evidence="line 7", before={"b": 1, "a": 2}, after={}
        )
        event = IdempotencyEvent.objects.get()
        assert (event.sequence, event.actor, event.actor_id, event.address) == (1, "ada", "7", "192.0.2.7")
        assert (event.act, event.record_id, event.reason, event.evidence) == ("release", record.pk, "dead", "line 7")
        assert (event.before, event.after, event.previous) == ('{"a":2,"b":1}', "{}", "")
        assert abs((timezone.now() - event.at).total_seconds()) < 60

    def test_each_is_bound_to_the_one_before(self, five: list[IdempotencyEvent]) -> None:
        assert [event.sequence for event in five] == [1, 2, 3, 4, 5]
        assert [event.previous for event in five[1:]] == [event.digest for event in five[:-1]]
        assert len({event.digest for event in five}) == 5
        head = IdempotencyHead.objects.get()
        assert (head.sequence, head.digest) == (5, five[-1].digest)

    def test_ids_out_of_a_url_are_recorded_as_the_database_gives_them_back(self) -> None:
        record_event(ADA, "reveal", record_id=stored("unknown").pk.hex, incident_id="7")
        assert (faults(), IdempotencyEvent.objects.get().incident_id) == ([], 7)

    def test_what_is_rolled_back_leaves_neither_event_nor_gap(self) -> None:
        record_event(ADA, "first")
        with suppress(RuntimeError), transaction.atomic():
            record_event(ADA, "undone")
            raise RuntimeError
        record_event(ADA, "second")
        assert list(IdempotencyEvent.objects.order_by("sequence").values_list("sequence", "act")) == [
            (1, "first"),
            (2, "second"),
        ]
        assert faults() == []

    def test_an_event_is_never_changed_and_never_deleted(self, five: list[IdempotencyEvent]) -> None:
        event, rows = five[2], IdempotencyEvent.objects.filter(sequence=3)
        for change in (
            event.save,
            event.delete,
            rows.delete,
            rows.get().save,
            lambda: rows.update(actor="bob"),
            lambda: rows.bulk_update([event], ["actor"]),
            lambda: IdempotencyEvent._base_manager.filter(sequence=3).update(actor="bob"),
            lambda: IdempotencyEvent._base_manager.all().delete(),
        ):
            with pytest.raises(TypeError, match="never changed"):
                change()
        assert faults() == []

    def test_it_survives_the_user(self) -> None:
        user = User.objects.create_user("grace")
        request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.9")
        request.user = user
        record_event(actor_of(request), "release")
        pk = user.pk
        user.delete()
        event = IdempotencyEvent.objects.get()
        assert (event.actor, event.actor_id, event.address) == ("grace", str(pk), "192.0.2.9")
        assert faults() == []

    @pytest.mark.parametrize(("name", "kept"), [("x" * 254, "x" * 200), ("", "7")])
    def test_a_user_without_a_name_or_with_a_longer_one_acts_all_the_same(self, name: str, kept: str) -> None:
        request = RequestFactory().get("/")
        request.user = User(pk=7, username=name)
        assert actor_of(request).name == kept

    def test_at_a_command_line_the_account_of_the_system_is_recorded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audit.getpass, "getuser", lambda: "deploy")
        assert at_command_line("ada") == Actor(name="ada", address="command line, deploy")

    def test_an_account_without_a_name_is_recorded_by_its_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def nameless() -> str:
            raise KeyError("uid not found")

        monkeypatch.setattr(audit.getpass, "getuser", nameless)
        assert at_command_line("ada").address.removeprefix("command line, ").isdigit()

    @pytest.mark.parametrize(
        "given", [{"name": ""}, {"name": "x" * 201}, {"name": "a\0"}, {"name": "a", "id": "7" * 65}]
    )
    def test_nobody_in_particular_cannot_act(self, given: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="by "):
            Actor(**given)

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("number", [2, 6])
    def test_who_append_at_once_make_one_chain(self, number: int) -> None:
        start = threading.Barrier(number)

        def append() -> None:
            start.wait(PATIENCE)
            for _ in range(24 // number):
                record_event(ADA, "at once")

        if number > 2:
            # On MariaDB, of three who begin the chain at the same moment, one is told to look again.
            record_event(ADA, "first")
        threads = [threading.Thread(target=lambda: closing(append)) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE * 3)
        found = list(IdempotencyEvent.objects.order_by("sequence").values_list("sequence", flat=True))
        assert found == [*range(1, 25 + (number > 2))]
        assert faults() == []


TAMPERED = {
    "actor": "'bob'",
    "actor_id": "'8'",
    "address": "'elsewhere'",
    "act": "'reveal'",
    "record_id": "NULL",
    "incident_id": "7",
    "approval_id": "7",
    "reason": "'none'",
    "evidence": "'some'",
    "before": "'{{}}1'",
    "after": "'{{}}'",
    "digest": "'0000'",
}


class TestTampering:
    def test_a_whole_chain_has_no_fault(self, five: list[IdempotencyEvent]) -> None:
        assert faults() == []
        assert faults(exported=[(event.sequence, event.digest) for event in five]) == []

    def test_without_events_there_is_no_fault(self) -> None:
        assert faults() == []

    @pytest.mark.parametrize(("column", "value"), TAMPERED.items())
    def test_an_edited_event_is_found(self, five: list[IdempotencyEvent], column: str, value: str) -> None:
        quoted = connection.ops.quote_name(column)
        sql(f"UPDATE {{events}} SET {quoted} = {value} WHERE sequence = 3")
        assert (3, verification.CHANGED) in faults()

    def test_an_edited_time_is_found(self, five: list[IdempotencyEvent]) -> None:
        earlier = connection.ops.adapt_datetimefield_value(timezone.now() - timedelta(seconds=1))
        sql("UPDATE {events} SET at = %s WHERE sequence = 3", earlier)
        assert faults() == [(3, verification.CHANGED)]

    @pytest.mark.parametrize("sequence", [1, 3])
    def test_a_removed_event_is_found(self, five: list[IdempotencyEvent], sequence: int) -> None:
        sql("DELETE FROM {events} WHERE sequence = %s", sequence)
        assert faults() == [(sequence, verification.MISSING)]

    def test_a_removed_event_is_found_where_the_others_are_numbered_anew(self, five: list[IdempotencyEvent]) -> None:
        sql("DELETE FROM {events} WHERE sequence = 3")
        sql("UPDATE {events} SET sequence = 3, previous = %s WHERE sequence = 4", five[1].digest)
        sql("UPDATE {events} SET sequence = 4 WHERE sequence = 5")
        sql("UPDATE {head} SET sequence = 4")
        assert faults() == [(3, verification.CHANGED), (4, verification.CHANGED)]

    def test_reordered_events_are_found(self, five: list[IdempotencyEvent]) -> None:
        for old, new in ((2, 99), (3, 2), (99, 3)):
            sql("UPDATE {events} SET sequence = %s WHERE sequence = %s", new, old)
        assert {sequence for sequence, _ in faults()} == {2, 3, 4}

    @pytest.mark.parametrize(("sequence", "fault"), [(0, verification.FOREIGN), (6, verification.CHANGED)])
    def test_an_inserted_event_is_found(self, five: list[IdempotencyEvent], sequence: int, fault: str) -> None:
        forged = IdempotencyEvent.objects.get(sequence=5)
        forged.sequence, forged.previous, forged._state.adding = sequence, five[4].digest, True
        forged.save()
        assert (sequence, fault) in faults()

    def test_a_forged_digest_that_fits_the_chain_is_found(self, five: list[IdempotencyEvent]) -> None:
        with override_settings(SECRET_KEY="a guess"):
            record_event(ADA, "forged")
        assert faults() == [(6, verification.CHANGED)]

    def test_a_link_to_another_event_is_found(self, five: list[IdempotencyEvent]) -> None:
        sql("UPDATE {events} SET digest = %s WHERE sequence = 2", "0" * 64)
        assert faults() == [(2, verification.CHANGED), (3, verification.UNLINKED)]

    def test_what_was_cut_off_is_found_by_the_head(self, five: list[IdempotencyEvent]) -> None:
        sql("DELETE FROM {events} WHERE sequence > 3")
        assert faults() == [(4, verification.MISSING)]

    def test_a_head_that_was_removed_is_found(self, five: list[IdempotencyEvent]) -> None:
        sql("DELETE FROM {head}")
        assert faults() == [(5, verification.BEYOND)]

    def test_what_was_cut_off_together_with_the_head_is_found_by_what_was_exported(
        self, five: list[IdempotencyEvent]
    ) -> None:
        sql("DELETE FROM {events} WHERE sequence > 3")
        sql("UPDATE {head} SET sequence = 3, digest = %s", five[2].digest)
        assert faults() == []
        assert faults(exported=[(5, five[4].digest)]) == [(5, verification.MISSING)]

    def test_what_was_cut_off_and_written_anew_is_found_by_what_was_exported(
        self, five: list[IdempotencyEvent]
    ) -> None:
        sql("DELETE FROM {events} WHERE sequence > 3")
        sql("UPDATE {head} SET sequence = 3, digest = %s", five[2].digest)
        record_event(ADA, "another")
        record_event(ADA, "and another")
        assert faults() == []
        assert faults(exported=[(event.sequence, event.digest) for event in five]) == [
            (4, verification.EXPORTED),
            (5, verification.EXPORTED),
        ]

    def test_a_few_events_at_a_time_are_in_memory(
        self, five: list[IdempotencyEvent], monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
    ) -> None:
        monkeypatch.setattr(verification, "BATCH", 2)
        with django_assert_num_queries(4 + 1 + 3):
            assert faults(exported=[(event.sequence, event.digest) for event in five]) == []
        sql("DELETE FROM {events} WHERE sequence = 3")
        assert faults() == [(3, verification.MISSING)]

    def test_what_is_appended_meanwhile_is_read_too(
        self, five: list[IdempotencyEvent], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        head, late = verification._head, iter([1])

        def append(alias: str) -> verification.Head:
            for _ in late:
                record_event(ADA, "late")
            return head(alias)

        monkeypatch.setattr(verification, "_head", append)
        assert faults() == []


class TestSecrets:
    def test_a_secret_that_was_changed_is_honoured_while_it_is_a_fallback(self, five: list[IdempotencyEvent]) -> None:
        with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["only for the tests"]):
            record_event(ADA, "after the change")
            assert faults() == []
        with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[]):
            assert faults() == [(number, verification.CHANGED) for number in range(1, 6)]

    def test_no_other_digest_of_ours_can_stand_for_one(self) -> None:
        assert audit.keyed("audit", "a") != audit.keyed("approval", "a")


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("idempotency_audit", *arguments, stdout=out)
    return out.getvalue()


class TestCommand:
    def test_it_lists_what_was_done(self, five: list[IdempotencyEvent]) -> None:
        record_event(Actor(name="bob\x1b"), "assign", incident_id=7, reason="a\nb")
        lines = run().splitlines()
        assert len(lines) == 6
        assert lines[0].startswith("1 20")
        assert lines[0].endswith(f"ada act 1 {five[0].record_id} reason 1")
        assert lines[5].endswith("bob\\x1b assign incident 7 a b")

    def test_it_lists_those_of_a_record_or_a_person(self, five: list[IdempotencyEvent]) -> None:
        record_event(Actor(name="bob"), "assign")
        assert run("--actor=bob").count("\n") == 1
        assert run("--record", str(five[0].record_id)).count("\n") == 5
        assert [line[0] for line in run("--last=2").splitlines()] == ["5", "6"]

    def test_a_fault_is_an_error_and_says_where(self, five: list[IdempotencyEvent]) -> None:
        sql("UPDATE {events} SET actor = 'bob' WHERE sequence = 3")
        with pytest.raises(CommandError, match=r"^event 3 is not as it was written"):
            run("--verify")

    def test_one_head_can_be_given(self, five: list[IdempotencyEvent]) -> None:
        assert run("--verify", f"--head=5:{five[4].digest}") == "verified: 5 events\n"
        with pytest.raises(CommandError, match="event 6 is missing"):
            run("--verify", f"--head=6:{five[4].digest}")
        with pytest.raises(CommandError, match="event 4 is another event"):
            run("--verify", f"--head=4:{five[4].digest}")

    def test_a_flood_of_faults_is_cut(self) -> None:
        for _ in range(25):
            record_event(ADA, "one")
        with override_settings(SECRET_KEY="lost"), pytest.raises(CommandError) as raised:
            run("--verify")
        assert str(raised.value).splitlines()[-1] == "and more"
        assert len(str(raised.value).splitlines()) == 21


def test_a_fault_is_told_in_words() -> None:
    assert str(Fault(7, verification.MISSING)) == "event 7 is missing"
