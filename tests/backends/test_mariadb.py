"""What happens between two statements of the protocol on MariaDB."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.utils import timezone

from django_idempotency.backends.db import _mysql, mysql
from django_idempotency.maintenance import purge, recover
from django_idempotency.models import IdempotencyRecord
from tests.backends.test_transactions import effects, fail
from tests.support import points
from tests.support.contenders import COMMITTED, JOINED, JOINED_MARIADB, Contender, Work, code, operation
from tests.support.sessions import Somebody, asked_of, session, sql, wait_until_blocked
from tests.support.threads import PATIENCE, Stage, before, closing, elsewhere, running

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(settings.TEST_DATABASE != "mariadb", reason="about MariaDB"),
]


@pytest.fixture(params=[COMMITTED, JOINED_MARIADB], ids=["committed", "joined"])
def store(request: pytest.FixtureRequest) -> Contender:
    return request.param


@pytest.fixture
def somebody() -> Iterator[Somebody]:
    somebody = Somebody()
    yield somebody
    somebody.let_go()
    somebody.connection.close()


@contextmanager
def at_once() -> Iterator[None]:
    """In less time than a wait for a lock would take that nobody lets go."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 10


class TestTheOwnersLock:
    def test_the_owner_waits_while_somebody_probes_its_lock(self, somebody):
        """claim committed | somebody locks the row | lock waits | somebody lets go | lock"""
        asked, work = operation(), Work()
        with ThreadPoolExecutor(1) as pool:

            def probe() -> None:
                somebody.hold(asked)
                backend = points.backend_of(connection)
                freed.append(pool.submit(closing, lambda: (wait_until_blocked(backend), somebody.let_go())))

            freed: list[Any] = []
            with before("lock", probe):
                assert code(COMMITTED.run(asked, work)) == "Completed"
            freed[0].result()
        assert work.runs == 1

    def test_the_owner_does_not_wait_for_ever(self, somebody):
        asked = operation()
        with before("lock", lambda: somebody.hold(asked)):
            assert code(COMMITTED.run(asked, Work(fail))) == "in-flight"
        assert COMMITTED.state(asked) == "processing"

    @pytest.mark.parametrize("change", [{"claim": 77}, {"state": "unknown"}, {"token": 1}])
    def test_a_record_that_is_not_its_claim_any_more_is_not_run(self, change):
        asked = operation()
        with before("lock", lambda: elsewhere(lambda: COMMITTED.change(asked, **change))):
            assert code(COMMITTED.run(asked, Work(fail))) in {"in-flight", "outcome-unknown"}

    def test_a_claim_taken_over_before_its_owner_came_is_not_run_by_the_owner(self):
        asked, taker = operation(), Work()

        def take_over():
            COMMITTED.age(asked, timedelta(minutes=1))
            assert code(COMMITTED.run(asked, taker)) == "Completed"

        with before("lock", lambda: elsewhere(take_over)):
            assert code(COMMITTED.run(asked, Work(fail))) == "Replay"
        assert taker.runs == 1

    def test_the_row_of_a_running_view_is_locked_and_marked_as_started(self, somebody):
        asked, tokens = operation(), []

        def look():
            tokens.append(IdempotencyRecord.objects.get(pk=asked.id).token)
            with somebody.connection.cursor() as cursor:
                cursor.execute("SET SESSION innodb_lock_wait_timeout = 0")
            with pytest.raises(OperationalError, match="1205"):
                somebody.hold(asked)

        assert code(COMMITTED.run(asked, Work(look))) == "Completed"
        assert tokens == [1]

    def test_a_duplicate_that_finds_an_old_claim_does_not_wait_for_its_lock(self, somebody):
        asked = operation()
        COMMITTED.plant(asked)
        somebody.hold(asked)
        with session(innodb_lock_wait_timeout=30), at_once():
            for store in (COMMITTED, JOINED):
                assert code(store.run(asked, Work(fail))) == "in-flight"

    def test_the_views_own_bound_is_what_it_was(self, store):
        seen = []
        with session(innodb_lock_wait_timeout=7):
            store.run(operation(), Work(lambda: seen.append(asked_of("SELECT @@innodb_lock_wait_timeout"))))
        assert seen == [7]


class TestTheInsert:
    def test_it_never_waits_for_a_view(self):
        """read: nothing | the first claims and is at its view | INSERT: refused at once"""
        asked, stage, first = operation(), Stage(), []
        with ThreadPoolExecutor(1) as pool:

            def claim() -> None:
                first.append(pool.submit(closing, lambda: COMMITTED.run(asked, Work(stage.enter))))
                assert stage.entered.wait(PATIENCE)

            with session(innodb_lock_wait_timeout=30), before("claim", claim):
                assert code(COMMITTED.run(asked, Work(fail))) == "in-flight"
            assert not first[0].done()
            stage.gone_on.set()
            assert code(first[0].result()) == "Completed"

    def test_one_that_comes_second_reads_what_was_first(self, store):
        asked, work = operation(), Work()
        with before("claim", lambda: elsewhere(lambda: store.run(asked, work))):
            assert code(store.run(asked, Work(fail))) == "Replay"
        assert work.runs == 1

    @pytest.mark.parametrize("isolation", ["REPEATABLE READ", "READ COMMITTED"])
    def test_in_a_callers_older_transaction_too(self, isolation):
        """The transaction sees no record, and cannot insert one."""
        asked, work = operation(), Work()
        sql(f"SET SESSION TRANSACTION ISOLATION LEVEL {isolation}")
        with session(), transaction.atomic():
            assert effects(asked) == 0
            with before("claim", lambda: elsewhere(lambda: JOINED.run(asked, work))):
                assert code(JOINED.run(asked, Work(fail))) == "Replay"
        assert work.runs == 1

    def test_no_fault_of_the_data_is_swallowed(self, store):
        too_long = operation()
        object.__setattr__(too_long, "namespace", "n" * 101)
        with pytest.raises(Exception, match="Data too long"):
            store.run(too_long, Work(fail))
        assert store.state(too_long) is None

    def test_a_joined_claim_waits_for_the_first_and_gets_its_answer(self):
        asked, stage = operation(), Stage()
        with ThreadPoolExecutor(1) as pool:
            backends: list[int] = []

            def duplicate() -> str:
                connection.ensure_connection()
                backends.append(points.backend_of(connection))
                told.set()
                return code(JOINED.run(asked, Work(fail)))

            told = threading.Event()
            with running(lambda: JOINED.run(asked, Work(stage.enter)), stage):
                second = pool.submit(closing, duplicate)
                assert told.wait(PATIENCE)
                wait_until_blocked(backends[0])
            assert second.result() == "Replay"


class TestRelease:
    @pytest.mark.parametrize(
        ("change", "state"),
        [
            ({"claim": 77}, "processing"),
            ({"state": "unknown"}, "unknown"),
            ({"state": "completed", "status": 201, "headers": "[]"}, "completed"),
            ({"token": 1}, "unknown"),
        ],
    )
    def test_what_is_not_ours_or_may_have_taken_effect_is_not_released(self, change, state):
        """the view is rolled back | somebody changes the record | our release"""
        asked = operation()
        with before("release", lambda: elsewhere(lambda: COMMITTED.change(asked, **change))):
            assert code(COMMITTED.run(asked, Work(answer=None))) == "Released"
        assert COMMITTED.state(asked) == state

    def test_its_wait_is_bounded_and_the_answer_stands(self, somebody, caplog):
        asked = operation()
        with session(innodb_lock_wait_timeout=30), at_once(), before("release", lambda: somebody.hold(asked)):
            assert code(COMMITTED.run(asked, Work(answer=None))) == "Released"
        assert "could not be released" in caplog.text
        assert COMMITTED.state(asked) == "processing"


class TestTakers:
    @pytest.mark.parametrize("change", [{"fingerprint": b"\x01" * 33}, {"claim": 77, "token": 1}, {"state": "unknown"}])
    def test_a_record_that_changed_meanwhile_is_not_run(self, store, change):
        asked = operation()
        store.plant(asked)
        with before("lock", lambda: elsewhere(lambda: store.change(asked, **change))):
            assert code(store.run(asked, Work(fail))) == "in-flight"

    def test_the_age_is_asked_again_under_the_lock(self, store, monkeypatch):
        monkeypatch.setattr(mysql, "GUARD", timedelta(hours=3))
        asked = operation()
        store.plant(asked)
        assert code(store.run(asked, Work(fail))) == "in-flight"
        assert store.state(asked) == "processing"


class TestMySQL:
    """MySQL has no settings for one statement. Its way is tried on MariaDB, the database itself is not."""

    @pytest.fixture(autouse=True)
    def as_mysql(self, monkeypatch):
        _mysql.cache_clear()
        monkeypatch.setattr(type(connections["default"]), "mysql_is_mariadb", False)
        # What this thread's connection knows already.
        monkeypatch.setitem(connections["default"].__dict__, "mysql_is_mariadb", False)
        yield
        _mysql.cache_clear()

    def test_the_views_own_bound_is_what_it_was(self, store):
        seen = []
        with session(innodb_lock_wait_timeout=7):
            store.run(operation(), Work(lambda: seen.append(asked_of("SELECT @@innodb_lock_wait_timeout"))))
        assert seen == [7]

    def test_the_protocol_is_the_same(self, store, somebody):
        asked, again, held = operation(), Work(), operation()
        assert code(store.run(asked, Work(answer=None))) == "Released"
        assert [code(store.run(asked, again)) for _ in range(2)] == ["Completed", "Replay"]
        store.plant(held)
        somebody.hold(held)
        assert code(store.run(held, Work(fail))) == "in-flight"


class TestUpkeepBesideNewRequests:
    """Under REPEATABLE READ a range that is locked is locked with its gaps, and an INSERT into one would be refused."""

    @pytest.fixture(autouse=True)
    def repeatable(self) -> Iterator[None]:
        sql("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with session():
            yield

    def new_request(self) -> None:
        assert elsewhere(lambda: code(COMMITTED.run(operation(), Work()))) == "Completed"

    @pytest.mark.parametrize("state", ["processing", "tombstone", "completed"])
    @pytest.mark.parametrize("statement", ["release", "commit"])
    def test_what_is_locked_to_be_settled_hinders_no_new_claim(self, state, statement, monkeypatch):
        for _ in range(3):
            COMMITTED.plant(operation(), state, expires_at=timedelta(hours=2), forget_at=timedelta(hours=1))
        if statement == "commit":
            commit = connection._commit
            monkeypatch.setattr(connection, "_commit", lambda: (self.new_request(), commit()))
        with before("release", self.new_request) if statement == "release" else nullcontext():
            done = recover() if state == "processing" else purge()
        assert (done.released if state == "processing" else done.deleted) == 3

    def test_nor_does_a_dry_run(self, monkeypatch):
        for _ in range(3):
            COMMITTED.plant(operation())
        commit = connection._commit
        monkeypatch.setattr(connection, "_commit", lambda: (self.new_request(), commit()))
        assert recover(dry_run=True).released == 3


class TestTheClock:
    @pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns"])
    def test_times_are_kept_in_the_zone_in_which_django_reads_them(self, store, zone, monkeypatch):
        asked, held = operation(), connections["default"]
        monkeypatch.setitem(held.settings_dict, "TIME_ZONE", zone)
        for name in ("timezone", "timezone_name"):
            held.__dict__.pop(name, None)
        _mysql.cache_clear()
        try:
            start = timezone.now()
            store.run(asked, Work())
            record = IdempotencyRecord.objects.get(pk=asked.id)
            for when in (record.claimed_at, record.completed_at, record.expires_at - timedelta(hours=72)):
                assert abs(when - start) < timedelta(minutes=1)
            assert code(store.run(asked, Work(fail))) == "Replay"
        finally:
            for name in ("timezone", "timezone_name"):
                held.__dict__.pop(name, None)
            _mysql.cache_clear()


def test_an_error_that_is_no_duplicate_comes_out(monkeypatch):
    def execute(execute: Callable[..., Any], statement: str, *others: Any) -> Any:
        if points.name_of(statement) == "claim":
            raise IntegrityError(1048, "Column 'path' cannot be null")
        return execute(statement, *others)

    with connection.execute_wrapper(execute), pytest.raises(IntegrityError):
        COMMITTED.run(operation(), Work(fail))
