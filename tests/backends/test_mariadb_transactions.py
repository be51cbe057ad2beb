"""Views that break their transaction on MariaDB, and transactions that MariaDB undoes itself."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from django.conf import settings
from django.db import OperationalError, connection, connections, transaction

from django_idempotency.backends.db.errors import Held, Unclear, translated
from django_idempotency.exceptions import TransactionBroken
from django_idempotency.models import IdempotencyRecord
from tests.backends.test_transactions import cut_off, effects, fail, nothing_is_kept, pay
from tests.bank.models import Payment
from tests.support import points
from tests.support.contenders import COMMITTED, JOINED, JOINED_MARIADB, Contender, Work, code, operation
from tests.support.sessions import Somebody, session, sql, wait_until_blocked
from tests.support.threads import PATIENCE, before, closing, elsewhere

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


class TestBrokenBoundaries:
    @pytest.mark.parametrize("end", ["nothing", "returned", "raised"])
    def test_a_view_that_changes_a_table_leaves_the_outcome_unknown(self, store, end):
        """DDL commits."""
        asked = operation()

        def alter():
            sql("CREATE TABLE IF NOT EXISTS djidempotency_ddl (a int)")
            if end == "raised":
                fail()

        with pytest.raises(TransactionBroken):
            store.run(asked, Work(pay(asked, alter), answer=None if end == "nothing" else Work().answer))
        sql("DROP TABLE djidempotency_ddl")
        assert effects(asked) == 1
        assert code(store.run(asked, Work(fail))) == "outcome-unknown"

    @pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
    def test_a_view_that_ends_the_callers_transaction_leaves_the_outcome_unknown(self, statement):
        asked, other = operation(), operation()

        @transaction.atomic
        def request():
            pay(other)()
            JOINED.run(asked, Work(pay(asked, lambda: sql(statement))))

        with pytest.raises(TransactionBroken):
            request()
        assert effects(asked) == effects(other) == (statement == "COMMIT")
        assert JOINED.state(asked) == "unknown"
        assert code(JOINED.run(asked, Work(fail))) == "outcome-unknown"

    @pytest.mark.parametrize("then", ["returned", "raised"])
    def test_a_deadlock_that_the_view_swallows_leaves_the_outcome_unknown(self, store, then):
        """The database has undone all that came before; what comes after is none of our transaction."""
        asked = operation()

        def misdeed():
            with suppress(OperationalError):
                deadlock()
            Payment.objects.create(key=asked.key, nonce="after")
            if then == "raised":
                fail()

        with pytest.raises(TransactionBroken):
            store.run(asked, Work(pay(asked, misdeed)))
        assert effects(asked) == 0
        assert code(store.run(asked, Work(fail))) == "outcome-unknown"


@contextmanager
def rows() -> Iterator[list[int]]:
    yield [elsewhere(lambda: Payment.objects.create(key="row", nonce="").pk) for _ in range(2)]


def lock(row: int) -> None:
    sql(f"SELECT 1 FROM bank_payment WHERE id = {row} FOR UPDATE")


def deadlock() -> None:
    """Be the victim of a deadlock: the other transaction has written more."""
    with rows() as (mine, theirs), ThreadPoolExecutor(1) as pool:
        ready, backend = threading.Event(), points.backend_of(connection)

        def other() -> None:
            with transaction.atomic():
                for _ in range(200):
                    Payment.objects.create(key="weight", nonce="")
                lock(theirs)
                ready.set()
                wait_until_blocked(backend)
                lock(mine)

        lock(mine)
        future = pool.submit(closing, other)
        assert ready.wait(PATIENCE)
        try:
            lock(theirs)
        finally:
            future.result(PATIENCE)


class TestConflicts:
    def test_a_deadlock_out_of_the_view_is_worth_another_try(self, store):
        asked = operation()
        assert code(store.run(asked, Work(pay(asked, deadlock)))) == "in-flight"
        nothing_is_kept(store, asked)

    def test_a_lock_wait_that_undoes_everything_is_the_views_failure(self, store, somebody):
        """As under innodb_rollback_on_timeout, which only a server can be started with."""
        asked, other = operation(), operation()

        def wait():
            connection.connection.rollback()
            raise OperationalError(1205, "Lock wait timeout exceeded") from driver(1205)

        with pytest.raises(OperationalError, match="1205"):
            store.run(asked, Work(pay(asked, wait)))
        nothing_is_kept(store, asked)
        assert effects(other) == 0

    @pytest.mark.parametrize("error", [1213, 1020, 1205])
    def test_one_that_undoes_the_callers_transaction_is_raised(self, error):
        asked, other = operation(), operation()

        def undo():
            # What the database does by itself then.
            connection.connection.rollback()
            raise OperationalError(error, "undone") from driver(error)

        @transaction.atomic
        def request():
            pay(other)()
            JOINED.run(asked, Work(pay(asked, undo)))

        with pytest.raises(OperationalError, match=str(error)):
            request()
        assert (effects(other), effects(asked), JOINED.state(asked)) == (0, 0, None)

    def test_a_row_that_has_changed_since_the_callers_snapshot_is_raised(self, monkeypatch):
        asked, other, work = operation(), operation(), Work()

        @transaction.atomic
        def request():
            pay(other)()
            assert effects(asked) == 0
            elsewhere(lambda: JOINED.run(asked, work))
            return code(JOINED.run(asked, Work(fail)))

        sql("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with session(innodb_snapshot_isolation="ON"):
            with pytest.raises(OperationalError, match="1020"):
                request()
            # Its own transaction, Django undoes and answers, as DRF does.
            with monkeypatch.context() as patched:
                patched.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
                IdempotencyRecord.objects.all().delete()
                assert request() == "in-flight"
            work.claims.pop()
            assert (effects(other), work.runs) == (0, 1)
            assert code(JOINED.run(asked, Work(fail))) == "Replay"

    @pytest.mark.parametrize(("number", "meaning"), [(1205, Held), (3572, Held), (1213, Unclear), (1020, Unclear)])
    def test_the_numbers_are_understood(self, number, meaning):
        error = OperationalError(number, "")
        error.__cause__ = driver(number)
        assert isinstance(translated(error), meaning)


def driver(number: int) -> Exception:
    """As the driver raises it."""
    return type("OperationalError", (Exception,), {})(number, "")


class TestLostConnections:
    @pytest.mark.parametrize("statement", ["read", "claim", "complete"])
    def test_one_that_is_cut_at_our_own_statement_is_told(self, store, statement):
        asked = operation()
        with before(statement, cut_off):
            assert code(store.run(asked, Work(pay(operation())))) == "store-unavailable"
        connection.close()
        assert store.state(asked) is None

    def test_one_that_is_cut_in_the_view_keeps_nothing(self, store):
        asked = operation()
        with pytest.raises(OperationalError):
            store.run(asked, Work(pay(asked, lambda: (cut_off(), sql("SELECT 1")))))
        assert (effects(asked), store.state(asked)) == (0, None)
