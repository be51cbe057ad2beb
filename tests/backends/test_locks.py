"""What happens between two statements of the protocol on PostgreSQL, and what its own statements' failures mean."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    connections,
    transaction,
)

from django_idempotency.backends import DatabaseBackend
from django_idempotency.backends.db import postgresql
from django_idempotency.backends.db.errors import Held, Unclear, is_lost, translated
from django_idempotency.backends.db.postgresql import advisory_key
from django_idempotency.core.policies import Policy
from django_idempotency.exceptions import StoreUnavailable
from django_idempotency.models import IdempotencyRecord
from tests.backends.test_transactions import caused, cut_off, effects, fail, pay, sql
from tests.support.contenders import ANSWER, COMMITTED, JOINED, Contender, Work, code, operation
from tests.support.threads import before, elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(settings.TEST_DATABASE != "postgresql", reason="about PostgreSQL's locks")
TABLE = IdempotencyRecord._meta.db_table


@pytest.fixture(params=[COMMITTED, JOINED], ids=["committed", "joined"])
def store(request: pytest.FixtureRequest) -> Contender:
    return request.param


class Somebody:
    """Another session, in a transaction of its own."""

    def __init__(self) -> None:
        self.connection = connections["default"].copy()
        self.connection.set_autocommit(False)

    def ask(self, statement: str, *parameters: Any) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchone()[0]

    def hold_row(self, asked: Any) -> None:
        self.ask(f"SELECT 1 FROM {TABLE} WHERE id = %s FOR UPDATE", asked.id)

    def hold_gate(self, asked: Any) -> None:
        assert self.ask("SELECT pg_try_advisory_xact_lock(%s)", advisory_key(asked))

    def let_go(self) -> None:
        self.connection.rollback()


@pytest.fixture
def somebody():
    somebody = Somebody()
    yield somebody
    somebody.let_go()
    somebody.connection.close()


@on_postgresql
class TestTheOwnersLock:
    def test_the_owner_waits_while_somebody_probes_its_lock(self, somebody):
        """claim committed | somebody takes the gate | lock refused | somebody lets go | lock"""
        asked, work = operation(), Work()
        with before("lock", lambda: somebody.hold_gate(asked), somebody.let_go):
            assert code(COMMITTED.run(asked, work)) == "Completed"
        assert work.runs == 1

    def test_the_owner_does_not_wait_for_ever(self, somebody, monkeypatch):
        monkeypatch.setattr("django_idempotency.backends.db.committed.PATIENCE", 0)
        asked = operation()
        with before("lock", lambda: somebody.hold_gate(asked)):
            assert code(COMMITTED.run(asked, Work(fail))) == "in-flight"

    def test_the_wait_for_a_held_row_is_bounded(self, somebody):
        asked = operation()
        with before("lock", lambda: somebody.hold_row(asked)):
            assert code(COMMITTED.run(asked, Work(fail))) == "in-flight"
        assert COMMITTED.state(asked) == "processing"

    def test_the_views_own_bound_is_what_it_was(self, store):
        seen = []

        def look():
            with connection.cursor() as cursor:
                cursor.execute("SHOW lock_timeout")
                seen.append(cursor.fetchone()[0])

        sql("SET lock_timeout = '7s'")
        try:
            store.run(operation(), Work(look))
        finally:
            connection.close()
        assert seen == ["7s"]

    def test_a_claim_taken_over_before_its_owner_came_is_not_run_by_the_owner(self):
        asked, taker = operation(), Work()

        def take_over():
            COMMITTED.age(asked, timedelta(minutes=1))
            assert code(COMMITTED.run(asked, taker)) == "Completed"

        with before("lock", lambda: elsewhere(take_over)):
            assert code(COMMITTED.run(asked, Work(fail))) == "Replay"
        assert taker.runs == 1

    @pytest.mark.parametrize("change", [{"claim": 77}, {"state": "unknown"}, {"token": 1}])
    def test_a_record_that_is_not_its_claim_any_more_is_not_run(self, change):
        asked = operation()
        with before("lock", lambda: elsewhere(lambda: COMMITTED.change(asked, **change))):
            assert code(COMMITTED.run(asked, Work(fail))) in {"in-flight", "outcome-unknown"}

    def test_the_row_of_a_running_view_is_locked_and_marked_as_started(self, somebody):
        asked, tokens = operation(), []

        def look():
            tokens.append(IdempotencyRecord.objects.get(pk=asked.id).token)
            with pytest.raises(Exception, match="could not obtain lock"):
                somebody.ask(f"SELECT 1 FROM {TABLE} WHERE id = %s FOR UPDATE NOWAIT", asked.id)

        assert code(COMMITTED.run(asked, Work(look))) == "Completed"
        assert tokens == [1]

    def test_an_old_snapshot_never_waits_for_a_row_that_is_being_inserted(self, somebody):
        """The gate says at once what the INSERT would wait for."""
        asked = operation()
        somebody.hold_gate(asked)
        for store in (COMMITTED, JOINED):
            assert code(store.run(asked, Work(fail))) == "in-flight"
            assert store.state(asked) is None


@on_postgresql
class TestTheTakersLock:
    """What was read before the lock may have changed: all of it is asked again under the lock."""

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"fingerprint": b"\x01" * 33}, "key-reused"),
            ({"claim": 77, "token": 1}, "outcome-unknown"),
            ({"state": "unknown"}, "outcome-unknown"),
        ],
    )
    def test_a_record_that_changed_meanwhile_is_not_run(self, store, change, told):
        asked = operation()
        store.plant(asked)
        with before("lock", lambda: elsewhere(lambda: store.change(asked, **change))):
            assert code(store.run(asked, Work(fail))) == "in-flight"
        assert code(store.run(asked, Work(fail))) == told

    def test_the_age_is_asked_again_under_the_lock(self, store, monkeypatch):
        # A guard of its own, so that a slow machine does not let the claim come of age.
        monkeypatch.setattr(postgresql, "GUARD", timedelta(hours=3))
        asked = operation()
        store.plant(asked)
        assert code(store.run(asked, Work(fail))) == "in-flight"
        assert store.state(asked) == "processing"

    def test_a_duplicate_does_not_wait_for_the_lock(self, store, somebody):
        asked = operation()
        store.plant(asked)
        somebody.hold_gate(asked)
        assert code(store.run(asked, Work(fail))) == "in-flight"


@on_postgresql
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

    def test_somebody_elses_new_claim_is_not_put_in_doubt(self):
        asked = operation()
        with before("release", lambda: elsewhere(lambda: COMMITTED.change(asked, claim=77, token=1))):
            COMMITTED.run(asked, Work(answer=None))
        assert COMMITTED.state(asked) == "processing"

    def test_its_wait_is_bounded_and_the_answer_stands(self, somebody, caplog):
        asked = operation()
        with before("release", lambda: somebody.hold_row(asked)):
            assert code(COMMITTED.run(asked, Work(answer=None))) == "Released"
        assert "could not be released" in caplog.text
        assert COMMITTED.state(asked) == "processing"

    def test_where_it_fails_the_views_exception_comes_out_and_the_claim_is_taken_over(self, caplog):
        asked, again = operation(), Work()
        with before("release", cut_off), pytest.raises(RuntimeError, match="a bug in the view"):
            COMMITTED.run(asked, Work(fail))
        connection.close()
        COMMITTED.age(asked, timedelta(minutes=1))
        assert code(COMMITTED.run(asked, again)) == "Completed"
        assert again.runs == 1

    def test_a_taker_inside_the_callers_transaction_leaves_the_claim_where_it_was(self):
        asked = operation()
        JOINED.plant(asked)
        with transaction.atomic():
            assert code(JOINED.run(asked, Work(pay(asked), answer=None))) == "Released"
        assert (effects(asked), JOINED.state(asked)) == (0, "processing")


@on_postgresql
class TestLostConnections:
    def test_one_that_is_cut_in_the_view_keeps_nothing(self, store):
        asked = operation()
        with pytest.raises(OperationalError):
            store.run(asked, Work(pay(asked, lambda: (cut_off(), sql("SELECT 1")))))
        assert (effects(asked), store.state(asked)) == (0, None)

    @pytest.mark.parametrize("statement", ["claim", "complete"])
    def test_one_that_is_cut_at_our_own_statement_is_told(self, store, statement):
        asked, work = operation(), Work(pay(operation()))
        with before(statement, cut_off):
            assert code(store.run(asked, work)) == "store-unavailable"
        connection.close()
        assert store.state(asked) is None

    def test_one_that_is_cut_before_the_lock_leaves_a_claim_to_take_over(self):
        asked = operation()
        with before("lock", cut_off):
            assert code(COMMITTED.run(asked, Work(fail))) == "store-unavailable"
        COMMITTED.age(asked, timedelta(minutes=1))
        assert code(COMMITTED.run(asked, Work())) == "Completed"


class TestMeanings:
    @pytest.mark.parametrize(
        ("error", "meaning"),
        [
            (caused(OperationalError(), "55P03"), Held),
            (caused(OperationalError(), "40001"), Unclear),
            (caused(OperationalError(), "40P01"), Unclear),
            (caused(OperationalError(), "57P01"), StoreUnavailable),
            (OperationalError(), StoreUnavailable),
            (InterfaceError(), StoreUnavailable),
            (caused(InternalError(), "25006"), StoreUnavailable),
            (caused(IntegrityError(), "23503"), IntegrityError),
            (DatabaseError(), DatabaseError),
            (RuntimeError(), RuntimeError),
        ],
    )
    def test_an_exception_out_of_a_statement_is_translated(self, error, meaning):
        assert isinstance(translated(error), meaning)

    def test_sqlites_busy_database_is_a_held_lock(self):
        busy = OperationalError("database is locked")
        busy.__cause__ = type("Fault", (Exception,), {"sqlite_errorname": "SQLITE_BUSY_SNAPSHOT"})()
        assert isinstance(translated(busy), Held)

    @pytest.mark.parametrize(
        ("error", "lost"),
        [
            (OperationalError(), True),
            (InterfaceError(), True),
            (caused(OperationalError(), "40001"), False),
            (caused(OperationalError(), "55P03"), False),
            (IntegrityError(), False),
            (RuntimeError(), False),
        ],
    )
    def test_only_some_leave_a_connection_that_cannot_be_used(self, error, lost):
        assert is_lost(error) is lost


class TestWhere:
    def test_another_database_is_refused(self, monkeypatch):
        monkeypatch.setattr(type(connection._connections["default"]), "vendor", "oracle")
        backend = DatabaseBackend(Policy())
        with pytest.raises(ImproperlyConfigured, match="needs PostgreSQL, MariaDB, MySQL or SQLite"):
            backend.attempt(operation(), Work())
        assert [message.id for message in DatabaseBackend.check(Policy())] == ["django_idempotency.E008"]

    def test_an_unknown_database_is_named(self):
        (message,) = DatabaseBackend.check(Policy(database="nowhere"))
        assert message.id == "django_idempotency.E006"

    def test_a_replica_is_warned_of(self, monkeypatch):
        monkeypatch.setitem(connections["other"].settings_dict, "TEST", {"MIRROR": "default"})
        (message,) = DatabaseBackend.check(Policy(database="other"))
        assert message.id == "django_idempotency.W004"

    def test_a_supported_database_passes(self):
        assert DatabaseBackend.check(Policy()) == []


@on_postgresql
def test_what_a_request_wrote_is_certain_when_on_commit_calls(store):
    called = []
    with transaction.atomic():
        store.backend(store.policy).on_commit(lambda: called.append(ANSWER.status))
        assert called == []
    assert called == [201]
