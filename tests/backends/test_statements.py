"""What a request costs: the statements on the record's table, and that they are compiled once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.models.sql import compiler

from tests.support import points
from tests.support.contenders import COMMITTED, DATABASES, JOINED, SQLITE, Contender, Work, code, operation
from tests.support.threads import Stage, running

pytestmark = pytest.mark.django_db(transaction=True)

ON_MARIADB = settings.TEST_DATABASE == "mariadb"
# PostgreSQL reads and inserts in one statement; MariaDB reads first.
CLAIM = ["read", "claim"] if ON_MARIADB else ["claim"]
READ = CLAIM[:1]
# New, replayed, mismatched, in flight, not kept.
BUDGET = {
    COMMITTED.name: ([*CLAIM, "lock", "complete"], READ, READ, READ, [*CLAIM, "lock", "release"]),
    JOINED.name: ([*CLAIM, "complete"], READ, READ, CLAIM, CLAIM),
    SQLITE.name: (["read", "claim", "complete"], ["read"], ["read"], ["read", "claim"], ["read", "claim"]),
}


@pytest.fixture(params=DATABASES, ids=lambda contender: contender.name)
def store(request: pytest.FixtureRequest) -> Contender:
    return request.param


@contextmanager
def own_statements() -> Iterator[list[str]]:
    """The names of the statements on the record's table, in order."""
    names: list[str] = []

    def execute(execute: Callable[..., Any], sql: str, *others: Any) -> Any:
        if name := points.name_of(sql):
            # The claim reads and inserts in one; an insert that only reads is still one statement.
            names.append(name)
        return execute(sql, *others)

    with connection.execute_wrapper(execute):
        yield names


def test_a_new_request_keeps_to_its_budget(store):
    with own_statements() as names:
        assert code(store.run(operation(), Work())) == "Completed"
    assert names == BUDGET[store.name][0]


def test_a_replay_is_one_statement(store):
    asked = operation()
    store.run(asked, Work())
    with own_statements() as names:
        assert code(store.run(asked, Work())) == "Replay"
    assert names == BUDGET[store.name][1]


def test_a_mismatch_is_one_statement(store):
    store.run(operation("k"), Work())
    with own_statements() as names:
        assert code(store.run(operation("k", body=b"amount=6"), Work())) == "key-reused"
    assert names == BUDGET[store.name][2]


def test_a_duplicate_in_flight_is_two_statements_at_most(store):
    asked, stage = operation(), Stage()
    with running(lambda: store.run(asked, Work(stage.enter)), stage), own_statements() as names:
        assert code(store.run(asked, Work())) == "in-flight"
    assert names == BUDGET[store.name][3]


def test_what_is_not_kept_keeps_to_its_budget(store):
    with own_statements() as names:
        assert code(store.run(operation(), Work(answer=None))) == "Released"
    assert names == BUDGET[store.name][4]


def test_a_takeover_costs_what_a_new_request_costs():
    with_takeover = [store for store in DATABASES if store.takes_over]
    for store in with_takeover:
        asked = operation()
        store.plant(asked)
        with own_statements() as names:
            assert code(store.run(asked, Work())) == "Completed"
        assert names == [*READ, "lock", "complete"]
    assert with_takeover == [store for store in DATABASES if store is not SQLITE]


def test_the_second_request_compiles_nothing(store, monkeypatch):
    asked = operation()
    for answer in (Work(), Work(), Work(answer=None)):
        store.run(asked, answer)
    store.run(operation(), Work(answer=None))

    def compiled(self, *args, **kwargs):
        raise AssertionError(f"compiled again: {self.query}")

    for kind in (
        compiler.SQLCompiler,
        compiler.SQLInsertCompiler,
        compiler.SQLUpdateCompiler,
        compiler.SQLDeleteCompiler,
    ):
        monkeypatch.setattr(kind, "as_sql", compiled)
    again = operation()
    outcomes = [code(store.run(again, work)) for work in (Work(answer=None), Work(), Work())]
    assert outcomes == ["Released", "Completed", "Replay"]
