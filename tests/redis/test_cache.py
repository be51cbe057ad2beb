"""What is answered from the cache, what it costs, and what is never answered from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from redis import Redis

from django_idempotency.backends import DatabaseBackend
from django_idempotency.core.engine import Replay, Snapshot, run
from django_idempotency.core.policies import Policy
from django_idempotency.replays import cache as replays
from django_idempotency.replays import entries, fills
from tests.support.contenders import ANSWER, Work, code, operation
from tests.support.threads import Stage, elsewhere, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cache")]

fernet = pytest.importorskip("cryptography.fernet", reason="without cryptography").Fernet
KEYS = (fernet.generate_key().decode(), fernet.generate_key().decode())
CLAIMS = ["committed", "joined"]


@pytest.fixture(params=CLAIMS)
def policy(request: pytest.FixtureRequest) -> Policy:
    return Policy(cache="replays", claim=request.param, join_timeout=timedelta(0))


def served(policy: Policy, asked: Any, work: Any = None, **options: Any) -> Any:
    return run(DatabaseBackend(policy), asked, work or Work(), **options)


def completed(policy: Policy, **options: Any) -> Any:
    """An operation that has run."""
    asked = operation(**options)
    assert code(served(policy, asked)) == "Completed"
    return asked


def remembered(policy: Policy, **options: Any) -> Any:
    """An operation whose answer is in the cache."""
    asked = completed(policy, **options)
    assert served(policy, asked) == Replay(ANSWER)
    return asked


@contextmanager
def asked_for(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], Any]]:
    """The names of the commands that Redis is sent, and the statements that the database is."""
    names: list[str] = []
    plain = Redis.execute_command

    def execute_command(self: Any, *command: Any, **options: Any) -> Any:
        names.append(command[0])
        return plain(self, *command, **options)

    with monkeypatch.context() as patch, CaptureQueriesContext(connection) as queries:
        patch.setattr(Redis, "execute_command", execute_command)
        yield names, queries


class TestBudgets:
    def test_a_replay_is_one_command_and_no_statement(self, policy, monkeypatch):
        asked, work = remembered(policy), Work()
        with asked_for(monkeypatch) as (commands, queries):
            assert served(policy, asked, work) == Replay(ANSWER)
        assert (commands, len(queries), work.runs) == (["GET"], 0, 0)

    def test_a_thousand_replays_of_one_key_ask_the_database_nothing(self, policy, monkeypatch):
        asked = remembered(policy)
        with asked_for(monkeypatch) as (commands, queries):
            assert {served(policy, asked) for _ in range(1000)} == {Replay(ANSWER)}
        assert (len(commands), len(queries)) == (1000, 0)

    def test_a_mismatch_with_a_remembered_answer_is_one_command(self, policy, monkeypatch):
        remembered(policy, key="known")
        with asked_for(monkeypatch) as (commands, queries):
            assert code(served(policy, operation("known", body=b"amount=6"))) == "key-reused"
        assert (commands, len(queries)) == (["GET"], 0)

    def test_a_new_request_is_one_command_more(self, policy, monkeypatch):
        with asked_for(monkeypatch) as (commands, _):
            assert code(served(policy, operation())) == "Completed"
        assert commands == ["GET"]

    def test_the_first_replay_fills_the_cache_with_one_more_read(self, policy, monkeypatch):
        asked = completed(policy)
        with asked_for(monkeypatch) as (commands, queries):
            served(policy, asked)
        statements = [
            query["sql"] for query in queries if "idempotencyrecord" in query["sql"] or "EXECUTE" in query["sql"]
        ]
        assert (commands[:3], len(statements)) == (["GET", "SET", "EVALSHA"], 2)

    def test_a_storm_on_a_request_in_flight_asks_the_database_once(self, policy, monkeypatch):
        asked, stage = operation(), Stage()
        with running(lambda: served(policy, asked, Work(stage.enter)), stage):
            assert code(served(policy, asked)) == "in-flight"
            with asked_for(monkeypatch) as (commands, queries):
                assert {code(served(policy, asked)) for _ in range(20)} == {"in-flight"}
        assert (set(commands), len(commands), len(queries)) == ({"GET"}, 20, 0)


class TestHints:
    def in_flight(self, policy: Policy, asked: Any, stage: Stage) -> Any:
        return running(lambda: served(policy, asked, Work(stage.enter)), stage)

    def test_another_request_under_the_key_is_judged_by_the_database(self, policy, monkeypatch):
        """The first one may have been released, and the key be free for this one."""
        first, stage = operation("contended"), Stage()
        other = operation("contended", body=b"amount=6")
        with self.in_flight(policy, first, stage):
            assert code(served(policy, first)) == "in-flight"
            with asked_for(monkeypatch) as (_, queries):
                served(policy, other)
        assert len(queries) > 0

    def test_who_waits_for_the_first_request_hears_of_its_end_at_once(self, policy, cache):
        asked, stage = operation(), Stage()
        with self.in_flight(policy, asked, stage):
            assert code(served(policy, asked)) == "in-flight"
        assert cache.exists(fills.place("replays", "default", asked.id).entry) == 1
        assert served(policy, asked, wait=0.001) == Replay(ANSWER)

    def test_a_hint_stands_for_less_than_a_second_and_is_not_extended(self, policy, cache):
        asked, stage = operation(), Stage()
        name = fills.place("replays", "default", asked.id).entry
        with self.in_flight(policy, asked, stage):
            served(policy, asked)
            cache.pexpire(name, 200)
            # One that was told so by the database before the hint stood.
            served(policy, replace(asked, patient=True))
            served(policy, asked)
            assert 0 < cache.pttl(name) <= 200
        assert timedelta(0) < fills.HINTED < timedelta(seconds=1)

    def test_a_dead_owners_key_is_taken_over_once_the_hint_has_gone(self, policy, cache):
        asked = operation()
        with_hint = entries.hint(asked, ())
        name = fills.place("replays", "default", asked.id).entry
        cache.set(name, with_hint, px=fills.HINTED)
        assert code(served(policy, asked)) == "in-flight"
        cache.delete(name)
        assert code(served(policy, asked)) == "Completed"

    def test_a_hint_does_not_come_in_place_of_an_answer(self, policy, cache):
        """Whoever was told so by the database has been stopped until now."""
        asked = remembered(policy)
        at = fills.place("replays", "default", asked.id)
        before = cache.get(at.entry)
        replays.hint(at, entries.hint(asked, ()))
        assert cache.get(at.entry) == before

    def test_an_answer_takes_the_place_of_a_hint(self, policy, cache):
        asked, stage = operation(), Stage()
        with self.in_flight(policy, asked, stage):
            served(policy, asked)
        served(policy, asked, wait=0.001)
        assert served(policy, asked) == Replay(ANSWER)


class TestFilling:
    def entry(self, cache: Any, asked: Any) -> Any:
        return cache.get(fills.place("replays", "default", asked.id).entry)

    def test_what_a_request_has_computed_itself_is_not_put(self, policy, cache):
        assert self.entry(cache, completed(policy)) is None
        assert cache.keys() == []

    def test_what_is_read_inside_a_transaction_is_put_after_its_commit(self, policy, cache):
        asked = completed(policy)
        with transaction.atomic():
            assert served(policy, asked) == Replay(ANSWER)
            assert self.entry(cache, asked) is None
        assert self.entry(cache, asked) is not None

    def test_an_answer_that_is_rolled_back_is_never_put(self, policy, cache):
        asked = operation()
        with transaction.atomic():
            served(policy, asked)
            assert code(served(policy, asked)) in {"Replay", "in-flight"}
            transaction.set_rollback(True)
        assert self.entry(cache, asked) is None
        assert code(served(policy, asked)) == "Completed"

    def test_hooks_run_by_a_test_inside_its_transaction_put_nothing(
        self, policy, cache, django_capture_on_commit_callbacks
    ):
        with transaction.atomic():
            asked = operation()
            served(policy, asked)
            with django_capture_on_commit_callbacks(execute=True) as hooks:
                served(policy, asked)
            transaction.set_rollback(True)
        assert len(hooks) == 1
        assert self.entry(cache, asked) is None

    def test_a_caller_without_autocommit_is_answered_and_puts_nothing(self, policy, cache):
        asked = completed(policy)

        def manual() -> Any:
            transaction.set_autocommit(False)
            try:
                return served(policy, asked)
            finally:
                transaction.rollback()

        assert elsewhere(manual) == Replay(ANSWER)
        assert self.entry(cache, asked) is None

    def test_an_entry_ends_with_its_answer_and_after_ten_minutes_at_most(self, policy, cache):
        short = operation()
        served(policy, replace(short, retention=timedelta(seconds=90)))
        for asked, longest in ((short, 90_000), (completed(policy), 600_000)):
            served(policy, asked)
            left = cache.pttl(fills.place("replays", "default", asked.id).entry)
            assert longest - 30_000 < left <= longest

    def test_the_time_between_reading_and_putting_is_taken_off(self, cache):
        """Read with 1,000 ms of life; put when the permission has been held for about 4,000."""
        at = fills.place("replays", "default", operation().id)
        permission = fills.permit(at)
        cache.pexpire(at.permission, 1_000)
        assert fills.put(at, permission, b"entry", timedelta(seconds=1)) is False
        assert cache.exists(at.entry) == 0


class TestFillingInOrder:
    def test_nothing_is_read_before_the_permission_is_given_nor_without_it(self, monkeypatch):
        at = fills.place("replays", "default", operation().id)
        seen: list[str] = []

        def read() -> None:
            seen.append("permitted" if fills.permit(at) is None else "too early")

        fills.fill(at, read, lambda _: b"entry")
        fills.fill(at, read, lambda _: b"entry")
        assert seen == ["permitted"]


class TestEntries:
    LARGE = Snapshot(202, (("Content-Type", "text/plain"), ("Link", "<a>"), ("Link", "<b>")), b"\x00\n[]\xff" * 9)

    @pytest.mark.parametrize("answer", [ANSWER, LARGE, Snapshot(204, (), None), Snapshot(200, (), b"")])
    @pytest.mark.parametrize("keys", [(), KEYS], ids=["in clear", "encrypted"])
    def test_a_replay_is_what_it_was(self, policy, answer, keys):
        policy = replace(policy, encryption_keys=keys)
        asked = operation()
        served(policy, asked, Work(answer=answer))
        assert [served(policy, asked) for _ in range(3)] == [Replay(answer)] * 3

    def test_with_keys_nothing_of_an_answer_is_in_clear(self, policy, cache):
        policy = replace(policy, encryption_keys=KEYS)
        asked = operation()
        served(policy, asked, Work(answer=Snapshot(201, (("Location", "/secret"),), b"secret")))
        served(policy, asked)
        (entry,) = [cache.get(name) for name in cache.scan_iter()]
        assert b"secret" not in entry
        assert b"Location" not in entry

    @pytest.mark.parametrize(
        ("before", "after"), [((), KEYS), (KEYS, ()), (KEYS[:1], KEYS[1:])], ids=["added", "removed", "replaced"]
    )
    def test_what_cannot_be_read_or_is_in_clear_under_keys_is_a_miss(self, before, after):
        asked = operation()
        entry = entries.hint(asked, before)
        assert entries.read(entry, asked, before) is not None
        assert entries.read(entry, asked, after) is None

    @pytest.mark.parametrize("entry", [b"", b"x", b"--------", b"--------[]\n", b"--------{}\n", b"\xff" * 20])
    def test_what_is_no_entry_of_ours_is_a_miss(self, policy, cache, entry):
        asked = completed(policy)
        cache.set(fills.place("replays", "default", asked.id).entry, entry)
        assert served(policy, asked) == Replay(ANSWER)

    def test_one_records_entry_does_not_answer_for_another(self, policy, cache):
        """Two users who ask for the same: their fingerprints do not differ."""
        mine = remembered(policy, key="same", scope="user:1")
        theirs = completed(policy, key="same", scope="user:2")
        place = [fills.place("replays", "default", asked.id).entry for asked in (mine, theirs)]
        cache.set(place[1], cache.get(place[0]))
        assert entries.read(cache.get(place[1]), theirs, ()) is None

    def test_each_database_has_entries_of_its_own(self):
        record_id = operation().id
        assert fills.place("replays", "default", record_id) != fills.place("replays", "other", record_id)

    def test_an_earlier_secrets_fingerprint_is_honoured(self, policy, monkeypatch):
        asked = remembered(policy)
        rotated = replace(asked, fingerprints=(b"\x01new", *asked.fingerprints))
        with asked_for(monkeypatch) as (_, queries):
            assert served(policy, rotated) == Replay(ANSWER)
        assert len(queries) == 0
