"""The claims of RedisBackend: fenced, put back where Redis has lost them, gone when they have served their time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from django_idempotency.backends import RedisBackend
from django_idempotency.backends.redis import leases, scripts
from django_idempotency.backends.redis.connections import client, record_key
from django_idempotency.core.engine import Claim, Completed, Refused, Released, Replay, Snapshot
from django_idempotency.core.leases import claim, settle
from django_idempotency.exceptions import OutcomeUnknown
from tests.support.contenders import ANSWER, RETENTION, TOMBSTONE, Work, code, operation
from tests.support.redis_contender import ALIAS, REDIS, now, server
from tests.support.threads import Stage, running

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LEASE = timedelta(seconds=60)
END = RETENTION + TOMBSTONE + HOUR


@pytest.fixture
def store(settings: Any) -> Any:
    REDIS.ready(settings)
    for answer in (ANSWER, None):
        REDIS.run(operation(), Work(answer=answer))  # so that it knows the scripts
    return RedisBackend(REDIS.policy).leases()


@pytest.fixture
def asked() -> Any:
    return replace(operation(), lease=LEASE)


def claimed(store: Any, asked: Any) -> Claim:
    found = claim(store, asked)
    assert isinstance(found, Claim)
    return found


def life(asked: Any, part: str = "") -> timedelta | None:
    """Return for how long a key of a record will be there; None for one that never expires."""
    found = client(ALIAS).pttl(record_key(ALIAS, asked.id, part))
    assert found != -2
    return None if found == -1 else timedelta(milliseconds=found)


def lose(asked: Any) -> None:
    """Let Redis forget a record, as in a restart or a fail-over."""
    assert client(ALIAS).delete(record_key(ALIAS, asked.id), record_key(ALIAS, asked.id, ":answer"))


def rough(duration: timedelta | None) -> timedelta:
    """Round to the minute, which no test takes."""
    assert duration is not None
    return timedelta(minutes=round(duration / timedelta(minutes=1)))


@contextmanager
def commands() -> Iterator[list[str]]:
    """The commands that are sent to a Redis that knows the scripts, in order."""
    redis, sent = client(ALIAS), []
    send = redis.execute_command

    def note(*command: Any, **options: Any) -> Any:
        sent.append(command[0])
        return send(*command, **options)

    redis.execute_command = note
    try:
        yield sent
    finally:
        del redis.execute_command


class TestBudget:
    def test_a_new_request_is_two_commands_and_asks_no_database(self, store, django_assert_num_queries):
        with commands() as sent, django_assert_num_queries(0):
            assert code(REDIS.run(operation(), Work())) == "Completed"
        assert sent == ["EVALSHA", "EVALSHA"]

    def test_a_replay_is_one_command_and_asks_no_database(self, store, asked, django_assert_num_queries):
        REDIS.run(asked, Work())
        with commands() as sent, django_assert_num_queries(0):
            assert REDIS.run(asked, Work()) == Replay(ANSWER)
        assert sent == ["EVALSHA"]

    def test_a_mismatch_is_one_command(self, store, asked):
        REDIS.run(asked, Work())
        with commands() as sent:
            assert code(REDIS.run(operation(asked.key, body=b"amount=6"), Work())) == "key-reused"
        assert sent == ["EVALSHA"]

    def test_a_request_in_flight_is_one_command(self, store, asked):
        stage = Stage()
        with running(lambda: REDIS.run(asked, Work(stage.enter)), stage), commands() as sent:
            assert code(REDIS.run(asked, Work())) == "in-flight"
        assert sent[0] == "EVALSHA"

    def test_a_released_request_is_two_commands(self, store):
        with commands() as sent:
            assert code(REDIS.run(operation(), Work(answer=None))) == "Released"
        assert sent == ["EVALSHA", "EVALSHA"]

    def test_a_script_that_redis_does_not_know_is_sent_in_full(self, store, asked):
        server().ask("SCRIPT FLUSH")
        with commands() as sent:
            assert code(REDIS.run(asked, Work())) == "Completed"
        assert sent == ["EVALSHA", "EVAL"] * 2


class TestToken:
    def test_it_grows_with_each_claim_of_a_key(self, store, asked):
        work = Work(answer=None)
        assert [code(REDIS.run(asked, work)) for _ in range(3)] == ["Released"] * 3
        assert [claim.attempt for claim in work.claims] == [1, 2, 3]

    def test_it_survives_the_end_of_the_record(self, store, asked):
        work = Work()
        REDIS.run(asked, work)
        REDIS.age(asked, END)
        assert code(REDIS.run(asked, work)) == "Completed"
        assert [claim.attempt for claim in work.claims] == [1, 2]

    def test_a_write_compares_it(self, store, asked):
        older = replace(claimed(store, asked), attempt=0)
        writes = (store.extend(older), store.complete(older, ANSWER), store.doubt(older), store.release(older))
        assert writes == (False, False, False, False)

    def test_a_write_compares_the_number_of_the_claim(self, store, asked):
        other = replace(claimed(store, asked), number=1)
        writes = (store.extend(other), store.complete(other, ANSWER), store.doubt(other), store.release(other))
        assert writes == (False, False, False, False)


class TestTwice:
    """Each script may arrive again, after a reply that was lost."""

    def ran(self, script: Any, asked: Any, *arguments: Any) -> Any:
        keys = [record_key(ALIAS, asked.id), record_key(ALIAS, asked.id, ":answer")]
        return script.run(ALIAS, keys, arguments)

    def test_a_claim_recognises_its_own_number(self, store, asked):
        arguments = (77, asked.fingerprints[0], 60_000)
        assert [self.ran(scripts.CLAIM, asked, *arguments) for _ in range(2)] == [[1], [1]]
        assert code(claim(store, asked)) == "in-flight"

    def test_a_takeover_recognises_its_own_number(self, store, asked):
        REDIS.plant(asked, token=1)
        assert [self.ran(scripts.TAKE_OVER, asked, 77, 60_000, 1, 1) for _ in range(2)] == [2, 2]
        assert self.ran(scripts.TAKE_OVER, asked, 78, 60_000, 1, 1) is None

    def test_a_completion_recognises_its_own_answer(self, store, asked):
        mine = claimed(store, asked)
        assert [settle(store, mine, ANSWER) for _ in range(2)] == [Completed(mine)] * 2
        assert settle(store, mine, Snapshot(200, (), b"another")) == Replay(ANSWER)

    def test_a_release_is_a_release(self, store, asked):
        mine = claimed(store, asked)
        assert [settle(store, mine, None) for _ in range(2)] == [Released(mine)] * 2

    def test_a_release_says_so_again(self, store, asked):
        mine = claimed(store, asked)
        assert [store.release(mine) for _ in range(2)] == [True, True]
        assert store.extend(mine) is False

    def test_a_lapse_says_so_again(self, store, asked):
        REDIS.plant(asked, token=1)
        assert [self.ran(scripts.LAPSE, asked, 1, 1) for _ in range(2)] == [1, 1]
        assert self.ran(scripts.LAPSE, asked, 1, 2) == 0

    def test_a_doubt_is_a_doubt(self, store, asked):
        mine = claimed(store, asked)
        assert [store.doubt(mine) for _ in range(2)] == [True, True]


class TestLapsed:
    def test_a_lease_that_has_run_out_is_written_down_before_anybody_is_told(self, store, asked):
        mine = claimed(store, asked)
        REDIS.age(asked, HOUR)
        assert code(claim(store, asked)) == "outcome-unknown"
        assert REDIS.state(asked) == "unknown"
        assert (store.extend(mine), store.complete(mine, ANSWER), store.release(mine)) == (False, False, False)

    def test_an_extended_lease_has_not_run_out(self, store, asked):
        mine = claimed(store, asked)
        REDIS.age(asked, HOUR)
        assert store.extend(mine)
        assert code(claim(store, asked)) == "in-flight"

    def test_a_lease_that_is_extended_meanwhile_does_not_lapse(self, store, asked):
        """read: it has run out -> its owner extends it -> the lapse is written"""
        mine = claimed(store, asked)
        REDIS.age(asked, HOUR)
        seen = store.read(asked)
        store.extend(mine)
        assert store._lapse(asked, seen) is False
        assert REDIS.state(asked) == "processing"

    def test_what_may_be_run_twice_is_taken_over_with_a_higher_token(self, store, asked):
        vouched = replace(asked, rerun=True)
        first = claimed(store, vouched)
        REDIS.age(asked, HOUR)
        second = claimed(store, vouched)
        assert (second.attempt, second.number != first.number) == (2, True)
        assert settle(store, first, ANSWER).error.code == "in-flight"
        assert settle(store, second, ANSWER) == Completed(second)

    def test_of_two_takeovers_one_runs(self, store, asked):
        vouched = replace(asked, rerun=True)
        REDIS.plant(asked, token=1)
        seen = store.read(vouched)
        found = [store._take_over(vouched, seen) for _ in range(2)]
        assert [isinstance(verdict, Claim) for verdict in found] == [True, False]

    def test_a_failed_one_that_may_be_run_twice_is_run_again(self, store, asked):
        REDIS.plant(asked, "unknown")
        assert claimed(store, replace(asked, rerun=True)).attempt == 2


class TestLost:
    """Redis has forgotten the record while its view was running."""

    @pytest.mark.parametrize("act", ["complete", "extend", "doubt"])
    def test_its_owner_puts_it_back(self, store, asked, act):
        mine = claimed(store, asked)
        lose(asked)
        assert getattr(store, act)(mine, *([ANSWER] if act == "complete" else []))
        expected = {"complete": "Replay", "extend": "in-flight", "doubt": "outcome-unknown"}
        assert code(claim(store, asked)) == expected[act]
        assert code(claim(store, operation(asked.key, body=b"amount=6"))) == "key-reused"

    def test_it_is_not_put_back_over_a_claim_made_since(self, store, asked):
        first = claimed(store, asked)
        lose(asked)
        second = claimed(store, asked)
        assert isinstance(settle(store, first, ANSWER), Refused)
        assert settle(store, second, ANSWER) == Completed(second)

    def test_it_is_not_put_back_over_a_claim_made_and_released_since(self, store, asked):
        first = claimed(store, asked)
        lose(asked)
        store.release(claimed(store, asked))
        assert isinstance(settle(store, first, ANSWER).error, OutcomeUnknown)
        assert REDIS.state(asked) is None

    def test_its_release_is_none_the_worse(self, store, asked):
        mine = claimed(store, asked)
        lose(asked)
        assert settle(store, mine, None) == Released(mine)

    def test_an_extension_on_its_way_does_not_bring_back_what_was_released(self, store, asked):
        mine = claimed(store, asked)
        store.release(mine)
        assert store.extend(mine) is False
        assert REDIS.state(asked) is None

    def test_an_answer_alone_leaves_a_tombstone(self, store, asked):
        """Redis was told to drop keys when its memory is full, perhaps."""
        REDIS.run(asked, Work())
        assert client(ALIAS).delete(record_key(ALIAS, asked.id, ":answer"))
        work = Work()
        assert code(REDIS.run(asked, work)) == "key-expired"
        assert work.runs == 0


class TestLife:
    def test_a_claim_never_expires(self, store, asked):
        claimed(store, asked)
        assert life(asked) is None

    def test_nor_does_a_claim_on_a_key_that_was_released(self, store, asked):
        REDIS.run(asked, Work(answer=None))
        claimed(store, asked)
        assert life(asked) is None

    def test_nor_does_what_is_unknown(self, store, asked):
        store.doubt(claimed(store, asked))
        assert life(asked) is None

    def test_nor_does_what_has_lapsed(self, store, asked):
        claimed(store, asked)
        REDIS.age(asked, HOUR)
        claim(store, asked)
        assert life(asked) is None

    def test_an_answer_goes_with_its_retention_and_its_key_with_the_tombstone(self, store, asked):
        REDIS.run(asked, Work())
        assert rough(life(asked, ":answer")) == RETENTION
        assert rough(life(asked)) == RETENTION + TOMBSTONE + DAY

    def test_a_released_key_leaves_its_token_for_a_day(self, store, asked):
        REDIS.run(asked, Work(answer=None))
        assert rough(life(asked)) == DAY
        assert client(ALIAS).hkeys(record_key(ALIAS, asked.id)) == [b"token", b"claim"]

    def test_a_key_without_a_tombstone_is_free_when_its_answer_goes(self, store, asked):
        asked, work = replace(asked, tombstone=timedelta(0)), Work()
        REDIS.run(asked, work)
        REDIS.age(asked, RETENTION + HOUR)
        assert code(REDIS.run(asked, work)) == "Completed"
        assert REDIS.run(asked, work) == Replay(ANSWER)

    def test_time_is_that_of_redis(self, store, asked):
        claimed(store, asked)
        record = store.read(asked)
        assert abs(record.now.timestamp() * 1000 - now()) < 60_000
        assert record.lease_until - record.claimed_at == LEASE


class TestStored:
    @pytest.mark.parametrize("body", [b"paid", b"", b"\x00\xff\n{}", None])
    def test_an_answer_comes_back_as_it_was(self, store, asked, body):
        answer = Snapshot(402, (("Content-Type", "text/plain"), ("Link", "</é>")), body, "key-1")
        REDIS.run(asked, Work(answer=answer))
        assert REDIS.run(asked, Work()) == Replay(answer)

    def test_both_keys_of_a_record_have_one_hash_tag(self, store, asked):
        keys = [record_key(ALIAS, asked.id), record_key(ALIAS, asked.id, ":answer")]
        assert {key.partition("{")[2].partition("}")[0] for key in keys} == {str(asked.id)}

    def test_a_record_takes_about_300_bytes(self, store, asked):
        """As the documentation says, with a key that has no prefix."""
        REDIS.run(asked, Work())
        assert 200 < client(ALIAS).memory_usage(record_key(ALIAS, asked.id)) < 400

    def test_redis_holds_neither_the_key_nor_whose_it_is(self, store):
        asked = operation("a-key-of-a-client", scope="user:4711")
        REDIS.run(asked, Work())
        found = str([*client(ALIAS).keys("*"), *map(client(ALIAS).dump, client(ALIAS).keys("*"))])
        assert "a-key-of-a-client" not in found
        assert "user:4711" not in found


class TestPlace:
    def test_a_claim_is_extended_in_its_own_place_from_whatever_thread(self, store, asked, monkeypatch):
        """KEY_FUNCTION may ask for the tenant of the thread."""
        mine = claimed(store, asked)
        other = replace(mine)
        monkeypatch.setattr(leases, "record_key", lambda alias, record_id: f"of another tenant: {record_id}")
        assert store.extend(other)
        assert client(ALIAS).keys("of another*") == []


class TestTransactions:
    def test_inside_a_transaction_nothing_is_claimed(self, store, asked):
        work = Work()
        with transaction.atomic(), pytest.raises(Exception, match="inside a database transaction"):
            REDIS.run(asked, work)
        assert (work.runs, REDIS.state(asked)) == (0, None)

    @pytest.mark.django_db(transaction=False)
    def test_that_of_a_test_case_does_not_count(self, store, asked):
        assert connection.in_atomic_block
        assert code(REDIS.run(asked, Work())) == "Completed"
