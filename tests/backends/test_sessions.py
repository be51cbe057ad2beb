"""Prepared statements: where they are used, how they are planned, and what happens when they are gone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_idempotency.backends.db import _postgresql, sessions
from django_idempotency.backends.db.sessions import can_prepare
from django_idempotency.models import IdempotencyRecord
from tests.backends.test_transactions import effects, pay, sql
from tests.support import services
from tests.support.contenders import COMMITTED, JOINED, Contender, Work, code, operation
from tests.support.pgbouncers import Pgbouncer

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(settings.TEST_DATABASE != "postgresql", reason="about PostgreSQL's sessions"),
]
TABLE = IdempotencyRecord._meta.db_table
NAMES = {
    COMMITTED.name: ["claim_committed", "lock", "complete"],
    JOINED.name: ["claim_joined", "complete"],
}


@pytest.fixture(params=[COMMITTED, JOINED], ids=["committed", "joined"])
def store(request: pytest.FixtureRequest) -> Contender:
    return request.param


@pytest.fixture(autouse=True)
def new_session() -> Iterator[None]:
    """A connection that nobody has used, and no memory of others."""
    connection.close()
    _postgresql.cache_clear()
    yield
    connection.close()
    _postgresql.cache_clear()


@contextmanager
def sent() -> Iterator[list[str]]:
    """What goes through Django's cursors."""
    statements: list[str] = []

    def execute(execute: Callable[..., Any], sql: str, *others: Any) -> Any:
        statements.append(sql.strip())
        return execute(sql, *others)

    with connection.execute_wrapper(execute):
        yield statements


def asked_of(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def plan_of(name: str) -> str:
    count = len(asked_of(f"SELECT unnest(parameter_types) FROM pg_prepared_statements WHERE name LIKE '%{name}'"))
    lines = asked_of(f"EXPLAIN EXECUTE django_idempotency_{name} ({', '.join(['NULL'] * count)})")
    return "\n".join(line for (line,) in lines)


def pay_twice(store: Contender) -> None:
    """Leave a session whose statements are prepared."""
    for _ in range(2):
        assert code(store.run(operation(), Work())) == "Completed"


def test_a_claim_tells_of_a_record_what_a_plain_read_tells(store):
    asked, dialect = operation(), _postgresql("default")
    store.run(asked, Work())
    store.change(asked, claimed_at=datetime(2099, 12, 31, 23, 59, 59, 999_999, UTC), lease_until=timezone.now())
    for _ in range(3):  # as it is, then prepared
        claimed, read = dialect.claim(dialect.claim_committed, asked), dialect.stored(asked)
        assert timedelta(0) < read.now - claimed.now < timedelta(minutes=1)
        assert replace(claimed, now=read.now) == read


def test_a_session_prepares_what_it_sends_a_second_time(store):
    with sent() as first:
        store.run(operation(), Work())
    assert asked_of("SELECT name FROM pg_prepared_statements") == []
    with sent() as second:
        store.run(operation(), Work())
    assert not [statement for statement in first if statement.startswith("EXECUTE")]
    executed = [f"EXECUTE django_idempotency_{name} " for name in NAMES[store.name]]
    assert [statement.partition("(")[0] for statement in second] == executed
    assert len(asked_of("SELECT name FROM pg_prepared_statements")) == len(executed)


def test_prepared_statements_do_what_the_others_do(store):
    for _ in range(8):  # PostgreSQL keeps a plan after the fifth execution
        asked, work = operation(), Work()
        outcomes = [code(store.run(one, work)) for one in (asked, asked, operation(asked.key, body=b"amount=6"))]
        assert (outcomes, work.runs) == (["Completed", "Replay", "key-reused"], 1)


@pytest.mark.parametrize("name", ["claim_committed", "lock", "complete"])
def test_no_plan_reads_the_whole_table_nor_another_index(name):
    sql(f"VACUUM ANALYZE {TABLE}")
    pay_twice(COMMITTED)
    sql("SET plan_cache_mode = force_generic_plan")
    plan = plan_of(name)
    assert f"Index Scan using {TABLE}_pkey" in plan
    assert "Seq Scan" not in plan
    assert "djidempotency_record_due" not in plan


@pytest.mark.parametrize("around", [None, "transaction"])
def test_the_sessions_settings_stay_what_they_are(store, around):
    sql("SET plan_cache_mode = force_custom_plan")
    sql("SET enable_seqscan = off")
    if around:
        with transaction.atomic():
            pay_twice(JOINED)
            inside = (asked_of("SHOW plan_cache_mode"), asked_of("SHOW enable_seqscan"))
    else:
        pay_twice(store)
        inside = (asked_of("SHOW plan_cache_mode"), asked_of("SHOW enable_seqscan"))
    assert inside == ([("force_custom_plan",)], [("off",)])
    assert (asked_of("SHOW plan_cache_mode"), asked_of("SHOW enable_seqscan")) == inside


class TestStatementsThatAreGone:
    """Somebody has deallocated them, or a pooler that hides itself has put the connection on another session."""

    def test_before_a_request(self, store):
        pay_twice(store)
        sql("DEALLOCATE ALL")
        asked, work = operation(), Work()
        assert [code(store.run(asked, work)) for _ in range(2)] == ["Completed", "Replay"]
        assert work.runs == 1

    def test_inside_a_callers_transaction(self):
        pay_twice(JOINED)
        sql("DEALLOCATE ALL")
        with transaction.atomic():
            assert code(JOINED.run(operation(), Work())) == "Completed"

    def test_by_the_view(self, store):
        pay_twice(store)
        asked = operation()
        work = Work(pay(asked, lambda: sql("DEALLOCATE ALL")))
        assert code(store.run(asked, work)) == "in-flight"
        assert effects(asked) == 0
        assert [code(store.run(asked, work)) for _ in range(2)] == ["Completed", "Replay"]
        assert effects(asked) == 1

    def test_they_are_not_tried_again(self, store):
        pay_twice(store)
        sql("DEALLOCATE ALL")
        store.run(operation(), Work())
        with sent() as statements:
            pay_twice(store)
        assert not [statement for statement in statements if statement.startswith("EXECUTE")]

    def test_a_table_that_changed_under_the_plan(self, store):
        pay_twice(store)
        try:
            sql(f"ALTER TABLE {TABLE} ALTER COLUMN headers TYPE varchar(5000)")
            asked, work = operation(), Work()
            assert [code(store.run(asked, work)) for _ in range(2)] == ["Completed", "Replay"]
            assert work.runs == 1
        finally:
            sql(f"ALTER TABLE {TABLE} ALTER COLUMN headers TYPE text")


class TestPreparing:
    def test_what_the_session_has_prepared_already_is_prepared_anew(self, store):
        """As where a pool hands out one session under a new connection object each time."""
        pay_twice(store)
        _postgresql.cache_clear()
        asked, work = operation(), Work()
        pay_twice(store)
        assert [code(store.run(asked, work)) for _ in range(2)] == ["Completed", "Replay"]

    @pytest.mark.parametrize("around", [None, "transaction"])
    def test_a_preparation_that_fails_is_not_tried_again(self, store, around, monkeypatch):
        store.run(operation(), Work())
        monkeypatch.setattr(sessions, "PREPARED", "SELECT 1/0; {statement}")
        asked, work = operation(), Work()
        if around:
            with transaction.atomic():
                outcomes = [code(JOINED.run(asked, work)) for _ in range(2)]
        else:
            outcomes = [code(store.run(asked, work)) for _ in range(2)]
        assert (outcomes, work.runs) == (["Completed", "Replay"], 1)
        assert asked_of("SELECT name FROM pg_prepared_statements") == []

    def test_a_plan_that_postgresql_made_for_a_small_table_does_not_last(self, monkeypatch):
        pay_twice(COMMITTED)
        sql(f"VACUUM (FULL, ANALYZE) {TABLE}")
        sql("SET plan_cache_mode = force_generic_plan")
        assert "Seq Scan" in plan_of("claim_committed")
        monkeypatch.setattr(sessions, "LASTING", -1.0)
        _postgresql.cache_clear()
        pay_twice(COMMITTED)
        assert "Seq Scan" not in plan_of("claim_committed")

    def test_a_table_that_comes_before_the_other_in_the_search_path_is_the_one(self, store):
        """PostgreSQL keeps a plan on its table then; another worker, whose session is new, uses the new one."""
        try:
            sql("CREATE SCHEMA IF NOT EXISTS djidempotency_tenant")
            sql("SET search_path = djidempotency_tenant, public")
            pay_twice(store)
            sql(f"CREATE TABLE djidempotency_tenant.{TABLE} (LIKE public.{TABLE} INCLUDING ALL)")
            asked, work = operation(), Work()
            assert [code(store.run(asked, work)) for _ in range(2)] == ["Completed", "Replay"]
            assert work.runs == 1
            assert asked_of(f"SELECT count(*) FROM djidempotency_tenant.{TABLE}") == [(1,)]
        finally:
            sql("DROP SCHEMA djidempotency_tenant CASCADE")
            sql("SET search_path = public")


class TestWhereNothingIsPrepared:
    @pytest.fixture
    def another(self) -> Iterator[Callable[..., BaseDatabaseWrapper]]:
        """Makes connections that are set up otherwise."""
        made: list[BaseDatabaseWrapper] = []

        def connect(**changes: Any) -> BaseDatabaseWrapper:
            made.append(connections["default"].copy())
            made[-1].settings_dict = {**made[-1].settings_dict, **changes}
            made[-1].ensure_connection()
            return made[-1]

        yield connect
        for one in made:
            one.close()

    def test_a_direct_connection_is_told_from_the_others(self, another):
        assert can_prepare(another())

    def test_parameters_bound_by_the_server(self, another):
        assert not can_prepare(another(OPTIONS={"server_side_binding": True}))

    def test_a_driver_that_prepares_itself(self, another):
        assert not can_prepare(another(OPTIONS={"prepare_threshold": 5}))

    def test_behind_pgbouncer(self, another):
        pgbouncer = Pgbouncer(services.pgbouncer_binary(), services.postgresql())
        try:
            assert not can_prepare(another(HOST=pgbouncer.server.host, PORT=pgbouncer.server.port))
        finally:
            pgbouncer.close()
