"""Views that misbehave in their transaction, and COMMITs that fail: effect and answer, or neither, or unknown."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import InterfaceError

from django_idempotency.backends.db.mysql import MySQL
from django_idempotency.backends.db.postgresql import PostgreSQL
from django_idempotency.exceptions import TransactionBroken
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment
from tests.support import points
from tests.support.contenders import ANSWER, COMMITTED, DATABASES, JOINED, Contender, Work, code, operation
from tests.support.threads import before, elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

on_a_server = pytest.mark.skipif(settings.TEST_DATABASE == "sqlite", reason="about transactions side by side")


@pytest.fixture(params=DATABASES, ids=lambda contender: contender.name)
def store(request: pytest.FixtureRequest) -> Contender:
    return request.param


def pay(asked: Any, then: Callable[[], Any] = lambda: None) -> Callable[[], None]:
    """Work that has an effect and then does something."""

    def act() -> None:
        Payment.objects.create(key=asked.key, nonce="")
        then()

    return act


def effects(asked: Any) -> int:
    return Payment.objects.filter(key=asked.key).count()


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def fail(error: BaseException | None = None) -> None:
    raise error or RuntimeError("a bug in the view")


def swallow_integrity_error() -> None:
    with suppress(IntegrityError):
        Payment.objects.create(pk=Payment.objects.latest("pk").pk, nonce="")


def caused(error: Exception, sqlstate: str) -> Exception:
    """An exception as Django makes it of the driver's."""
    error.__cause__ = type("Fault", (Exception,), {"sqlstate": sqlstate})()
    return error


def nothing_is_kept(store: Contender, asked: Any) -> None:
    assert (effects(asked), store.state(asked)) == (0, None)
    assert code(store.run(asked, Work(pay(asked)))) == "Completed"
    assert effects(asked) == 1


class TestKeptAndNotKept:
    def test_the_effect_and_the_answer_commit_together(self, store):
        asked = operation()
        assert code(store.run(asked, Work(pay(asked)))) == "Completed"
        assert (effects(asked), store.state(asked)) == (1, "completed")

    def test_what_is_not_kept_is_undone(self, store):
        asked = operation()
        assert code(store.run(asked, Work(pay(asked), answer=None))) == "Released"
        nothing_is_kept(store, asked)

    def test_what_raises_is_undone(self, store):
        asked = operation()
        with pytest.raises(RuntimeError):
            store.run(asked, Work(pay(asked, fail)))
        nothing_is_kept(store, asked)

    def test_a_worker_told_to_exit_undoes_its_work(self, store):
        asked = operation()
        with pytest.raises(SystemExit):
            store.run(asked, Work(pay(asked, lambda: fail(SystemExit()))))
        nothing_is_kept(store, asked)


class TestMisbehavingViews:
    @pytest.mark.parametrize(
        "misdeed",
        [
            swallow_integrity_error,
            lambda: transaction.set_rollback(True),
            pytest.param(lambda: connection.close(), id="closed"),  # noqa: PLW0108 - this thread's, looked up now
        ],
    )
    def test_a_transaction_that_cannot_commit_keeps_nothing(self, store, misdeed):
        asked = operation()
        with pytest.raises(TransactionBroken):
            store.run(asked, Work(pay(asked, misdeed)))
        nothing_is_kept(store, asked)

    def test_a_closed_connection_is_named_as_the_cause(self, store):
        asked = operation()
        with pytest.raises(TransactionBroken, match="closed the database connection"):
            store.run(asked, Work(pay(asked, lambda: connection.close())))  # noqa: PLW0108

    def test_a_durable_block_in_the_view_is_explained(self, store):
        asked = operation()

        def durable():
            with transaction.atomic(durable=True):
                pass

        with pytest.raises(RuntimeError, match="durable") as caught:
            store.run(asked, Work(pay(asked, durable)))
        assert "without durable=True" in caught.value.__notes__[0]
        nothing_is_kept(store, asked)

    @pytest.mark.parametrize("end", ["nothing", "returned", "raised"])
    @pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
    def test_a_view_that_ends_its_transaction_leaves_the_outcome_unknown(self, store, statement, end):
        asked = operation()

        def misdeed():
            sql(statement)
            # Whatever comes now commits on its own, or with a transaction that is none of ours.
            if end == "raised":
                fail()

        with pytest.raises(TransactionBroken):
            store.run(asked, Work(pay(asked, misdeed), answer=None if end == "nothing" else ANSWER))
        assert effects(asked) == (statement == "COMMIT")
        again = Work()
        assert code(store.run(asked, again)) == "outcome-unknown"
        assert again.runs == 0

    @on_a_server
    def test_the_doubt_about_our_own_transaction_needs_no_second_connection(self, monkeypatch):
        """A pool of one connection has none."""
        asked = operation()
        monkeypatch.setattr(BaseDatabaseWrapper, "copy", fail)
        with pytest.raises(TransactionBroken):
            JOINED.run(asked, Work(pay(asked, lambda: sql("COMMIT"))))
        assert (effects(asked), JOINED.state(asked)) == (1, "unknown")

    @on_a_server
    def test_a_failed_doubt_still_leaves_the_outcome_unknown(self, caplog):
        asked = operation()
        with before("doubt", cut_off), pytest.raises(TransactionBroken):
            COMMITTED.run(asked, Work(pay(asked, lambda: sql("COMMIT"))))
        connection.close()
        assert code(COMMITTED.run(asked, Work(fail))) == "outcome-unknown"
        assert effects(asked) == 1

    @on_a_server
    def test_a_view_that_commits_and_raises_before_it_is_noticed_is_never_released(self, monkeypatch):
        """Where the broken boundary goes unnoticed, the raised token in the published record still tells."""
        for dialect in (PostgreSQL, MySQL):
            monkeypatch.setattr(dialect, "same_transaction", lambda self, mark: True)
        asked = operation()
        with pytest.raises(RuntimeError):
            COMMITTED.run(asked, Work(pay(asked, lambda: (sql("COMMIT"), fail()))))
        assert (effects(asked), COMMITTED.state(asked)) == (1, "unknown")


class TestHooks:
    def test_a_hook_that_raises_after_the_commit_does_not_change_the_answer(self, store, caplog):
        asked = operation()
        assert code(store.run(asked, Work(pay(asked, lambda: transaction.on_commit(fail))))) == "Completed"
        assert (effects(asked), store.state(asked)) == (1, "completed")
        assert "its answer stands" in caplog.text

    def test_an_exit_out_of_a_hook_is_an_exit_and_the_answer_stands(self, store):
        asked = operation()
        with pytest.raises(SystemExit):
            store.run(asked, Work(pay(asked, lambda: transaction.on_commit(lambda: fail(SystemExit())))))
        assert code(store.run(asked, Work(fail))) == "Replay"


def cut_off() -> None:
    """Cut this thread's connection as an administrator does."""
    backend = points.backend_of(connection)
    on_mariadb = connection.vendor == "mysql"
    elsewhere(lambda: sql(f"KILL {backend}" if on_mariadb else f"SELECT pg_terminate_backend({backend}, 5000)"))


@on_a_server
@pytest.mark.parametrize("store", [COMMITTED, JOINED], ids=["committed", "joined"])
class TestFailedCommits:
    @pytest.fixture(autouse=True)
    def commits(self, monkeypatch):
        """Let the first COMMIT end as a test says."""
        real, self.end = connection._commit, None

        def commit():
            end, self.end = self.end, None
            return end(real) if end else real()

        monkeypatch.setattr(connection, "_commit", commit)

    def lost(self, *, arrives: bool):
        def end(real):
            if arrives:
                real()
            connection.connection.close()
            raise OperationalError("the connection is gone")

        return end

    def refused(self, error):
        def end(real):
            connection.connection.rollback()
            raise error

        return end

    def run(self, store, asked, end):
        def arrange():
            self.end = end

        return store.run(asked, Work(pay(asked, arrange)))

    def test_a_commit_that_never_arrived_is_told_and_frees_the_key(self, store):
        asked = operation()
        assert code(self.run(store, asked, self.lost(arrives=False))) == "store-unavailable"
        nothing_is_kept(store, asked)

    def test_a_commit_whose_answer_was_lost_is_a_success(self, store):
        asked = operation()
        assert code(self.run(store, asked, self.lost(arrives=True))) == "Completed"
        assert (effects(asked), store.state(asked)) == (1, "completed")

    def test_a_deferred_constraint_is_the_view_s_own_failure(self, store):
        asked = operation()
        with pytest.raises(IntegrityError):
            self.run(store, asked, self.refused(caused(IntegrityError("deferred"), "23503")))
        nothing_is_kept(store, asked)

    def test_a_conflict_at_the_commit_is_worth_another_try(self, store):
        asked = operation()
        conflict = caused(OperationalError("could not serialize access"), "40001")
        assert code(self.run(store, asked, self.refused(conflict))) == "in-flight"
        nothing_is_kept(store, asked)

    def ask_after(self, store, asked, meanwhile, statement):
        with before(statement, lambda: elsewhere(meanwhile)):
            return code(self.run(store, asked, self.lost(arrives=False)))

    def asks_with(self, store):
        return "release" if store is COMMITTED else "read"

    def test_what_somebody_else_has_answered_since_is_judged_afresh(self, store):
        asked = operation()

        def meanwhile():
            IdempotencyRecord.objects.all().delete()
            store.run(operation(asked.key, body=b"amount=6"), Work())

        assert self.ask_after(store, asked, meanwhile, self.asks_with(store)) == "key-reused"
        assert effects(asked) == 0

    def test_the_same_request_answered_by_somebody_else_since_is_replayed(self, store):
        asked = operation()
        other = ANSWER.__class__(200, (), b"by somebody else")

        def meanwhile():
            IdempotencyRecord.objects.all().delete()
            store.run(asked, Work(answer=other))

        assert self.ask_after(store, asked, meanwhile, self.asks_with(store)) == "Replay"

    def test_a_record_claimed_by_somebody_else_since_is_in_flight(self, store):
        asked = operation()

        def meanwhile():
            IdempotencyRecord.objects.all().delete()
            store.plant(asked)

        assert self.ask_after(store, asked, meanwhile, self.asks_with(store)) == "in-flight"
        assert store.state(asked) == "processing"

    def test_a_claim_released_by_somebody_else_since_is_worth_another_try(self, store):
        """Whoever finds no record cannot tell whether its own was committed and purged; the next request can."""
        asked = operation()
        told = self.ask_after(store, asked, IdempotencyRecord.objects.all().delete, self.asks_with(store))
        assert told == ("in-flight" if store is COMMITTED else "store-unavailable")
        nothing_is_kept(store, asked)

    def test_a_store_that_stays_away_is_told(self, store, monkeypatch):
        asked = operation()

        def gone(*args):
            raise InterfaceError("no connection")

        def end(real):
            monkeypatch.setattr(connection, "ensure_connection", gone)
            connection.close()
            raise OperationalError("the connection is gone")

        assert code(self.run(store, asked, end)) == "store-unavailable"


class TestInsideTheCallersTransaction:
    def test_record_and_effect_commit_with_it(self, store):
        asked = operation()
        with transaction.atomic():
            assert code(store.run(asked, Work(pay(asked)))) == "Completed"
        assert (effects(asked), store.state(asked)) == (1, "completed")

    def test_both_are_undone_with_it(self, store):
        asked = operation()
        with transaction.atomic():
            assert code(store.run(asked, Work(pay(asked)))) == "Completed"
            transaction.set_rollback(True)
        nothing_is_kept(store, asked)

    @pytest.mark.parametrize("end", [None, "raised"])
    def test_what_is_not_kept_is_undone_and_the_rest_is_not(self, store, end):
        asked, other = operation(), operation()
        with transaction.atomic():
            pay(other)()
            try:
                store.run(asked, Work(pay(asked, fail if end else lambda: None), answer=None))
            except RuntimeError:
                assert end
        assert effects(other) == 1
        nothing_is_kept(store, asked)

    def test_a_conflict_is_raised_because_all_of_it_must_be_tried_again(self, store):
        asked = operation()
        conflict = caused(OperationalError("deadlock"), "40P01")
        with pytest.raises(OperationalError), transaction.atomic():
            store.run(asked, Work(lambda: fail(conflict)))
        assert store.state(asked) is None

    def test_outside_it_a_conflict_is_worth_another_try(self, store):
        asked = operation()
        conflict = caused(OperationalError("deadlock"), "40P01")
        assert code(store.run(asked, Work(pay(asked, lambda: fail(conflict))))) == "in-flight"
        nothing_is_kept(store, asked)

    @on_a_server  # on SQLite, Django commits at the end of a block whether or not autocommit is on
    def test_without_autocommit_the_claim_is_joined(self, store):
        asked = operation()
        transaction.set_autocommit(False)
        try:
            assert code(store.run(asked, Work(pay(asked)))) == "Completed"
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        nothing_is_kept(store, asked)


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class TestTwoDatabases:
    def test_the_records_go_where_the_router_writes_them(self, store, settings):
        settings.DATABASE_ROUTERS = [type("Router", (), {"db_for_write": lambda self, model, **hints: "other"})()]
        asked = operation()
        assert code(store.run(asked, Work())) == "Completed"
        assert IdempotencyRecord.objects.using("other").filter(pk=asked.id).exists()
        assert not connections["default"].in_atomic_block
