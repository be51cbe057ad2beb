"""What is taken away in the database is not replayed from the cache: in every order of events, whoever dies."""

import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from django_idempotency import resolution
from django_idempotency.audit import Actor
from django_idempotency.core.engine import Replay, StoredRecord
from django_idempotency.core.policies import Policy
from django_idempotency.core.states import State
from django_idempotency.erasure import erase
from django_idempotency.maintenance import purge
from django_idempotency.models import IdempotencyRecord
from django_idempotency.replays import fills, removals
from tests.redis.test_cache import completed, remembered, served
from tests.support.contenders import ANSWER, operation
from tests.support.records import stored
from tests.support.threads import elsewhere

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cache")]

POLICY = Policy(cache="replays", join_timeout=timedelta(0))


class World:
    """A database of one value, what is in the cache for it, and everybody's next step."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache
        self.id = operation().id
        self.at = fills.place("replays", "default", self.id)
        self.stored = b"old"
        self.removed = False
        self.puts = 0

    def reader(self) -> Iterator[None]:
        permission = fills.permit(self.at)
        yield
        seen = self.stored
        yield
        if permission:
            self.puts += fills.put(self.at, permission, seen, timedelta(minutes=1))
        yield

    def remover(self) -> Iterator[None]:
        take_out = partial(removals._everywhere, "default", [self.id], removals._block)
        take_out()
        yield
        self.stored = b"new"
        yield
        take_out()
        self.removed = True
        yield

    def flush(self) -> Iterator[None]:
        self.cache.flushall()
        yield

    def lapse(self) -> Iterator[None]:
        """The permission, or the barrier, has run out: somebody was stopped for long."""
        self.cache.delete(self.at.permission)
        yield

    def entry(self) -> bytes | None:
        found: bytes | None = self.cache.get(self.at.entry)
        return found


def orders(*names: str) -> Iterator[tuple[str, ...]]:
    """Every order in which the steps of these can come: three of a reader and of a remover, one of all else."""
    steps = {name: 3 if name.startswith(("reader", "remover")) else 1 for name in names}

    def onwards(left: dict[str, int]) -> Iterator[tuple[str, ...]]:
        if not any(left.values()):
            yield ()
        for name, number in left.items():
            if number:
                yield from ((name, *rest) for rest in onwards({**left, name: number - 1}))

    return onwards(steps)


def played(cache: Any, order: tuple[str, ...]) -> Iterator[World]:
    """The world after each step of an order. Whoever dies after a step has had all that came before it."""
    world = World(cache)
    actors = {name: getattr(world, name.rstrip("12"))() for name in order}
    for name in order:
        next(actors[name])
        yield world


class TestEveryOrder:
    def test_there_are_as_many_orders_as_there_should_be(self):
        assert len(set(orders("reader1", "remover"))) == 20
        assert len(set(orders("reader1", "reader2", "remover"))) == 1680

    def test_after_the_commit_the_old_answer_is_not_there_whoever_dies_when(self, cache):
        puts = 0
        for order in orders("reader1", "reader2", "remover"):
            for world in played(cache, order):
                assert world.stored == b"old" or world.entry() != b"old", order
            puts += world.puts
        assert puts > 100

    @pytest.mark.parametrize("fault", ["flush", "lapse"])
    def test_once_it_is_taken_out_again_the_old_answer_is_not_there_whatever_redis_has_forgotten(self, cache, fault):
        for order in orders("reader1", "remover", fault):
            for world in played(cache, order):
                assert not world.removed or world.entry() != b"old", order

    def test_a_removal_that_dies_between_a_flush_and_its_end_leaves_it_for_ten_minutes_at_most(self, cache):
        """What is left, as the documentation says: two faults at once."""
        stale = [
            order
            for order in orders("reader1", "remover", "flush")
            for world in played(cache, order)
            if world.stored == b"new" and world.entry() == b"old"
        ]
        assert stale
        assert timedelta(minutes=10) == fills.LONGEST


@pytest.fixture
def about_to_put(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], Any]]:
    """What happens between a fill's reading of the record and its putting it."""
    acts: list[Callable[[], Any]] = []
    plain = fills.put

    def put(*arguments: Any) -> bool:
        while acts:
            acts.pop()()
        return plain(*arguments)

    monkeypatch.setattr(fills, "put", put)
    return acts


class TestErasure:
    def test_an_erased_answer_is_not_replayed_from_the_cache(self):
        asked = remembered(POLICY)
        assert erase("user:1").records >= 1
        assert served(POLICY, asked).snapshot.body is None

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_whoever_erases_through_another_alias_of_the_database_takes_it_out_too(self):
        asked = remembered(POLICY)
        with transaction.atomic(using="other"):
            removals.forget("other", [asked.id])
        IdempotencyRecord.objects.update(body=None)
        assert served(POLICY, asked).snapshot.body is None

    def test_an_answer_that_was_read_before_its_erasure_is_not_put_after_it(self, about_to_put):
        asked = completed(POLICY)
        about_to_put.append(lambda: elsewhere(lambda: erase("user:1")))
        served(POLICY, asked)
        assert served(POLICY, asked).snapshot.body is None

    @pytest.mark.skipif(settings.TEST_DATABASE == "sqlite", reason="nobody reads beside its writer")
    def test_an_answer_that_is_being_erased_is_not_put(self, cache):
        asked = completed(POLICY)
        with transaction.atomic():
            record = IdempotencyRecord.objects.select_for_update().get(pk=asked.id)
            removals.forget("default", [asked.id])
            assert elsewhere(lambda: served(POLICY, asked)) == Replay(ANSWER)
            IdempotencyRecord.objects.filter(pk=record.pk).update(body=None)
        assert cache.exists(fills.place("replays", "default", asked.id).entry) == 0
        assert served(POLICY, asked).snapshot.body is None

    def test_an_erasure_inside_a_longer_transaction_takes_answers_out_after_its_commit(self, cache):
        """The barrier is gone by then, and somebody has put what he read before the commit."""
        asked = completed(POLICY)
        at = fills.place("replays", "default", asked.id)
        with transaction.atomic():
            erase("user:1")
            cache.delete(at.permission)
            cache.set(at.entry, b"read before the commit")
        assert cache.exists(at.entry) == 0

    def test_a_process_that_dies_right_after_its_commit_has_taken_them_out(self, cache):
        asked = remembered(POLICY)
        at = fills.place("replays", "default", asked.id)
        with transaction.atomic():
            erase("user:1")
            assert (cache.exists(at.entry), cache.get(at.permission)) == (0, b"barrier")
            assert 50_000 < cache.pttl(at.permission) <= 60_000

    def test_an_erasure_that_is_undone_leaves_the_answer(self):
        asked = remembered(POLICY)
        with transaction.atomic():
            erase("user:1")
            transaction.set_rollback(True)
        assert served(POLICY, asked) == Replay(ANSWER)

    def test_a_thousand_answers_are_two_round_trips(self, monkeypatch):
        trips = []
        monkeypatch.setattr(removals, "_block", lambda cache, places: trips.append(len(places)))
        removals.forget("default", [operation().id for _ in range(1001)])
        assert trips == [1000, 1, 1000, 1]


class TestPurge:
    def test_a_purged_answer_is_not_replayed_from_the_cache(self, cache):
        """Somebody has shortened its life by hand: by itself the entry would stand for as long as it was to live."""
        asked = remembered(POLICY)
        IdempotencyRecord.objects.filter(pk=asked.id).update(expires_at=timezone.now() - timedelta(seconds=1))
        assert purge().shrunk == 1
        assert cache.exists(fills.place("replays", "default", asked.id).entry) == 0
        assert served(POLICY, asked).error.code == "key-expired"

    def test_what_has_expired_is_not_put_by_whoever_read_it_before(self):
        at = fills.place("replays", "default", operation().id)
        now = datetime.now(UTC)
        record = StoredRecord(
            state=State.COMPLETED, claim=1, token=1, fingerprint=b"", now=now, claimed_at=now, expires_at=now
        )
        assert fills.fill(at, lambda: record, lambda _: b"entry") is False


class TestResolution:
    def test_whatever_a_person_decides_takes_the_entry_out(self, cache):
        dead = stored("processing")
        at = fills.place("replays", "default", dead.pk)
        cache.set(at.entry, b"whatever it is")
        resolution.release(dead.pk, claim=dead.claim, reason="its worker died", actor=Actor(name="ada", id="7"))
        assert (cache.exists(at.entry), cache.get(at.permission)) == (0, b"barrier")


class TestConcurrentFills:
    def test_of_many_replays_at_once_one_fills(self, cache, monkeypatch):
        asked, start = completed(POLICY), threading.Barrier(4)
        reads = []
        plain = fills.permit

        def permit(at: fills.Place) -> str | None:
            start.wait(8)
            reads.append(found := plain(at))
            start.wait(8)
            return found

        monkeypatch.setattr(fills, "permit", permit)
        threads = [threading.Thread(target=lambda: elsewhere(lambda: served(POLICY, asked))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sum(permission is not None for permission in reads) == 1
        assert len(reads) == len(list(itertools.islice(reads, 4))) == 4
