"""The audit across releases: what was written by an older rule is verified by it, and no version hides what was changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from django_idempotency import audit, verification
from django_idempotency.audit import RULES, Actor, Rule, canonical, digests, record_event, version_of
from django_idempotency.models import IdempotencyEvent, IdempotencyHead
from django_idempotency.verification import verify

pytestmark = pytest.mark.django_db

ADA = Actor(name="ada", id="7", address="192.0.2.7")
EVENTS, HEAD = IdempotencyEvent._meta.db_table, IdempotencyHead._meta.db_table

# The next release digests another form of what an event says.
NEXT = {**RULES, 2: Rule(columns=RULES[1].columns, text=lambda said: f"another form of {canonical(said)}")}
# As if `evidence` were a column that the next release has added.
BEFORE = {1: Rule(columns=tuple(name for name in RULES[1].columns if name != "evidence"), text=canonical)}
GROWN = {**BEFORE, 2: RULES[1]}


@contextmanager
def release(rules: dict[int, Rule]) -> Iterator[None]:
    """Run what a release does that has these rules."""
    with mock.patch.dict(audit.RULES, rules, clear=True):
        yield


def sql(statement: str, *parameters: Any) -> None:
    """Change the tables as somebody does who can write to the database."""
    with connection.cursor() as cursor:
        cursor.execute(statement.format(events=EVENTS, head=HEAD), parameters)
        assert cursor.rowcount, statement


def faults(**given: Any) -> list[tuple[int, str]]:
    return [(fault.sequence, fault.what) for fault in verify(**given)]


def written(*rules: dict[int, Rule], each: int = 2) -> list[IdempotencyEvent]:
    """So many events by each of these releases, one after the other."""
    found = []
    for number, rule in enumerate(rules):
        with release(rule):
            found += [record_event(ADA, f"release {number}", reason="dead") for _ in range(each)]
    return found


def versions() -> list[int | None]:
    return [version_of(digest) for digest in IdempotencyEvent.objects.order_by("pk").values_list("digest", flat=True)]


def test_the_first_rule_makes_what_it_has_always_made() -> None:
    event = IdempotencyEvent(
        sequence=3,
        at=datetime(2026, 5, 3, 9, 12, 44, 120, tzinfo=UTC),
        actor="ada",
        actor_id="7",
        address="192.0.2.7",
        act="release",
        record_id=UUID("5b2e4c0a-1f63-5d0e-9a57-0c7f6c2b8d11"),
        incident_id=12,
        approval_id=None,
        reason="ge\u00e4ndert",
        evidence="line 7",
        before='{"state":"processing"}',
        after="{}",
        previous="v1-" + "0" * 64,
    )
    with override_settings(SECRET_KEY="pinned", SECRET_KEY_FALLBACKS=[]):
        assert digests(event, 1) == ["v1-228532a360e08fad7c12eaa36ca9c975a809ed3f38ab8e7adde184ed75097776"]


def test_every_column_is_under_the_newest_rule() -> None:
    columns = {field.attname for field in IdempotencyEvent._meta.concrete_fields} - {"digest"}
    assert set(RULES[max(RULES)].columns) == columns


class TestDeploys:
    def test_what_was_written_by_each_rule_is_verified_by_it(self) -> None:
        written(RULES, NEXT)
        assert versions() == [1, 1, 2, 2]
        with release(NEXT):
            assert faults() == []

    def test_the_release_before_says_that_it_cannot_tell(self) -> None:
        written(RULES, NEXT)
        assert faults() == [(3, verification.NEWER), (4, verification.NEWER)]

    def test_both_releases_may_append_for_a_while(self) -> None:
        written(NEXT, RULES, NEXT, RULES, each=1)
        assert versions() == [2, 1, 2, 1]
        with release(NEXT):
            assert faults() == []
        assert faults() == [(1, verification.NEWER), (3, verification.NEWER)]

    def test_a_column_is_added(self) -> None:
        written(BEFORE)
        with release(GROWN):
            record_event(ADA, "release", evidence="line 7")
            assert faults() == []


class TestTampering:
    def test_an_event_by_an_older_rule_is_found_where_it_was_edited(self) -> None:
        written(RULES, NEXT)
        sql("UPDATE {events} SET reason = 'none' WHERE sequence IN (2, 4)")
        with release(NEXT):
            assert faults() == [(2, verification.CHANGED), (4, verification.CHANGED)]

    def test_what_an_older_rule_did_not_digest_cannot_be_filled_in_later(self) -> None:
        written(BEFORE)
        sql("UPDATE {events} SET evidence = 'invented' WHERE sequence = 1")
        with release(GROWN):
            assert faults() == [(1, verification.CHANGED)]

    def test_a_lower_version_is_no_way_round_what_the_newer_digests(self) -> None:
        (last, *_) = written(GROWN, each=1)
        lowered = last.digest.replace("v2-", "v1-")
        sql("UPDATE {events} SET evidence = '', digest = %s", lowered)
        sql("UPDATE {head} SET digest = %s", lowered)
        with release(GROWN):
            assert faults() == [(1, verification.CHANGED)]

    def test_a_rule_that_digests_the_same_text_has_another_key(self) -> None:
        same = {**RULES, 2: RULES[1]}
        (last, *_) = written(same, each=1)
        lowered = last.digest.replace("v2-", "v1-")
        sql("UPDATE {events} SET digest = %s", lowered)
        sql("UPDATE {head} SET digest = %s", lowered)
        with release(same):
            assert faults() == [(1, verification.CHANGED)]

    @pytest.mark.parametrize("version", [2, 9999])
    def test_a_version_that_nobody_has_written_cuts_the_link_of_the_next(self, version: int) -> None:
        middle = written(RULES, each=3)[1]
        raised = middle.digest.replace("v1-", f"v{version}-")
        sql("UPDATE {events} SET reason = 'none', digest = %s WHERE sequence = 2", raised)
        assert faults() == [(2, verification.NEWER), (3, verification.UNLINKED)]

    def test_one_at_the_end_is_found_by_what_was_exported(self) -> None:
        last = written(RULES)[-1]
        raised = last.digest.replace("v1-", "v2-")
        sql("UPDATE {events} SET reason = 'none', digest = %s WHERE sequence = 2", raised)
        sql("UPDATE {head} SET digest = %s", raised)
        assert faults() == [(2, verification.NEWER)]
        assert (2, verification.EXPORTED) in faults(exported=[(2, last.digest)])

    @pytest.mark.parametrize("version", ["", "v-", "v0-", "v01-", "v-1-", "V1-", "v10000-", "1-"])
    def test_what_is_no_version_is_no_newer_one(self, version: str) -> None:
        last = written(RULES)[-1]
        forged = last.digest.replace("v1-", version)
        sql("UPDATE {events} SET digest = %s WHERE sequence = 2", forged)
        sql("UPDATE {head} SET digest = %s", forged)
        assert faults() == [(2, verification.CHANGED)]


class TestCommand:
    def verified(self) -> CommandError:
        with pytest.raises(CommandError) as raised:
            call_command("idempotency_audit", "--verify", stdout=StringIO())
        return raised.value

    def test_it_tells_a_newer_release_from_tampering(self) -> None:
        written(RULES, NEXT, each=30)
        refusal = self.verified()
        assert str(refusal) == f"event 31 {verification.NEWER}"
        assert refusal.returncode == 2

    def test_newer_ones_hide_nothing_behind_them(self) -> None:
        written(RULES, NEXT, RULES, each=30)
        sql("UPDATE {events} SET reason = 'none' WHERE sequence = 89")
        refusal = self.verified()
        assert str(refusal).splitlines() == [f"event 89 {verification.CHANGED}", f"event 31 {verification.NEWER}"]
        assert refusal.returncode == 1
