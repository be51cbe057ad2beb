"""The same promises in every way that a site may be set up."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.crashes.expectations import answer_lost, paid_once
from tests.support import services
from tests.support.barriers import Barriers
from tests.support.kinds import BOTH
from tests.support.live import Live, Servers
from tests.support.pgbouncers import Pgbouncer
from tests.support.problems import problem

# psycopg's numbers of the isolation levels.
REPEATABLE_READ, SERIALIZABLE = 3, 4

SETTINGS: dict[str, dict[str, Any]] = {
    "ATOMIC_REQUESTS": {"place": {"ATOMIC_REQUESTS": True}},
    "joined": {"IDEMPOTENCY": {"default": {"CLAIM": "joined"}}},
    "persistent connections": {"place": {"CONN_MAX_AGE": None}},
    "pool": {"place": {"OPTIONS": {"pool": {"min_size": 1, "max_size": 6}}}},
    "repeatable read": {"place": {"OPTIONS": {"isolation_level": REPEATABLE_READ}}},
    "serializable": {"place": {"OPTIONS": {"isolation_level": SERIALIZABLE}}},
    "repeatable read, joined": {
        "place": {"OPTIONS": {"isolation_level": REPEATABLE_READ}},
        "IDEMPOTENCY": {"default": {"CLAIM": "joined"}},
    },
    "serializable, joined": {
        "place": {"OPTIONS": {"isolation_level": SERIALIZABLE}},
        "IDEMPOTENCY": {"default": {"CLAIM": "joined"}},
    },
}
JOINED = {"IDEMPOTENCY": {"default": {"CLAIM": "joined"}}}
# What is read must not have changed since: MariaDB's own name for what others call repeatable read.
SNAPSHOTS = {"init_command": "SET SESSION innodb_snapshot_isolation = ON", "isolation_level": "repeatable read"}
ON_MARIADB: dict[str, dict[str, Any]] = {
    "read committed": {},
    "ATOMIC_REQUESTS": {"place": {"ATOMIC_REQUESTS": True}},
    "joined": JOINED,
    "persistent connections": {"place": {"CONN_MAX_AGE": None}},
    "repeatable read": {"place": {"OPTIONS": {"isolation_level": "repeatable read"}}},
    "repeatable read, joined": {"place": {"OPTIONS": {"isolation_level": "repeatable read"}}, **JOINED},
    "snapshot isolation": {"place": {"OPTIONS": SNAPSHOTS}},
    "snapshot isolation, joined": {"place": {"OPTIONS": SNAPSHOTS}, **JOINED},
    "ATOMIC_REQUESTS and snapshot isolation": {"place": {"ATOMIC_REQUESTS": True, "OPTIONS": SNAPSHOTS}},
    "serializable": {"place": {"OPTIONS": {"isolation_level": "serializable"}}},
    "serializable, joined": {"place": {"OPTIONS": {"isolation_level": "serializable"}}, **JOINED},
    "another time zone": {"place": {"TIME_ZONE": "Asia/Kolkata"}},
    "two databases": {},
}
CROWD = 20


@pytest.fixture(scope="module")
def pgbouncer() -> Iterator[Pgbouncer]:
    """pgbouncer in front of the tests' PostgreSQL."""
    pgbouncer = Pgbouncer(services.pgbouncer_binary(), services.postgresql())
    yield pgbouncer
    pgbouncer.close()


MODES = [
    *((name, "postgresql") for name in [*SETTINGS, "pgbouncer", "two databases"]),
    *((name, "mariadb") for name in ON_MARIADB),
    *((name, "sqlite") for name in ["ATOMIC_REQUESTS", "two databases"]),
]


@pytest.fixture(scope="module", params=MODES, ids=" on ".join)
def mode(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Live]:
    """A server in one of the modes."""
    name, vendor = request.param
    services.skip_unless_chosen(vendor)
    database = servers.databases.new(vendor)
    settings = (ON_MARIADB if vendor == "mariadb" else SETTINGS).get(name, {})
    if name == "pgbouncer":
        server = request.getfixturevalue("pgbouncer").server
        settings = {"place": {"HOST": server.host, "PORT": server.port, "DISABLE_SERVER_SIDE_CURSORS": True}}
    if name == "two databases":
        databases = {"default": servers.databases.new(vendor).settings, "other": database.settings}
        settings = {"DATABASES": databases, "DATABASE_ROUTERS": ["tests.bank.routers.BankRouter"]}
    live = servers.start(database, **settings)
    yield live
    servers.stop(live)


@pytest.mark.parametrize("path", BOTH)
def test_a_duplicate_gets_the_answer(mode: Live, path: str, key: str) -> None:
    first, again = (mode.client.post(path, key=key) for _ in range(2))
    assert first.status_code == 201
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    problem(mode.client.post(path, {"amount": 6}, key=key), 422, "key-reused", retryable=False)
    assert (mode.runs(key), mode.database.effects(key)) == (1, 1)


@pytest.mark.parametrize("path", BOTH)
def test_a_decline_is_kept_with_what_the_view_wrote(mode: Live, path: str, key: str) -> None:
    first, again = (mode.client.post(path, {"amount": 5, "then": "declined"}, key=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (402, 402)
    assert again.content == first.content
    assert (mode.runs(key), mode.database.effects(key)) == (1, 1)


RETURNED = {str(status): status for status in (400, 409, 500, 503)}
RAISED = {"raise": 500, "raise 404": 404, "raise 403": 403, "raise 400": 400}


@pytest.mark.parametrize(("then", "status"), {**RETURNED, **RAISED}.items())
@pytest.mark.parametrize("path", BOTH)
def test_a_failure_keeps_its_status_undoes_its_work_and_frees_the_key(
    mode: Live, path: str, key: str, then: str, status: int
) -> None:
    failed = mode.client.post(path, {"amount": 5, "then": then}, key=key)
    assert failed.status_code == status
    assert (mode.database.effects(key), mode.database.state(key)) == (0, None)
    assert mode.client.post(path, {"amount": 6}, key=key).status_code == 201


@pytest.mark.parametrize("path", BOTH)
def test_of_parallel_duplicates_one_runs(mode: Live, path: str, key: str) -> None:
    futures = [mode.client.pool.submit(mode.client.insist, path, key=key, within=10) for _ in range(CROWD)]
    answers = [future.result() for future in futures]
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert mode.database.effects(key) == 1


@pytest.mark.parametrize("path", BOTH)
def test_parallel_first_requests_all_succeed_in_the_end(mode: Live, path: str, key: str) -> None:
    keys = [f"{key}-{number}" for number in range(CROWD)]
    futures = [mode.client.pool.submit(mode.client.insist, path, key=one, within=10) for one in keys]
    assert [future.result().status_code for future in futures] == [201] * CROWD
    assert [mode.database.effects(one) for one in keys] == [1] * CROWD


@pytest.mark.parametrize("point", ["after-claim", "view", "before-commit", "after-commit"])
def test_a_kill_is_survived(mode: Live, barriers: Barriers, key: str, point: str) -> None:
    gate = barriers.gate(point)
    dying = mode.client.start("/plain/pay", key=key, at=gate)
    gate.reached().kill()
    answer_lost(dying)
    survived = mode.database.nonces(key)
    assert len(survived) == (point == "after-commit")
    paid_once(mode, "/plain/pay", key)


@pytest.fixture(scope="module")
def rotated(servers: Servers) -> Iterator[tuple[Live, Live]]:
    """Two releases on one database: with the old secret, and with a new one that still knows the old."""
    services.skip_unless_chosen("postgresql")
    database = servers.databases.new("postgresql")
    old = servers.start(database, workers=1, threads=2, SECRET_KEY="old")
    new = servers.start(database, workers=1, threads=2, SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"])
    yield old, new
    servers.stop(old)
    servers.stop(new)


@pytest.mark.parametrize("path", BOTH)
def test_after_a_rotation_of_the_secret_earlier_answers_are_still_replayed(
    rotated: tuple[Live, Live], path: str, key: str
) -> None:
    old, new = rotated
    first, again = old.client.post(path, key=key), new.client.post(path, key=key)
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    problem(new.client.post(path, {"amount": 6}, key=key), 422, "key-reused", retryable=False)
