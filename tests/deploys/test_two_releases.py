"""
During a deploy the previous release and this one serve the same clients from one database, with this one's schema.

Each test is about a retry that meets the other release than its first attempt, in both directions.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploys import releases
from tests.support import services
from tests.support.databases import RECORD, Database, PostgresDatabase
from tests.support.kinds import BOTH
from tests.support.live import Live

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def previous(tmp_path_factory):
    """The tree of the previous release."""
    services.skip_unless_chosen("postgresql")
    return releases.unpack(tmp_path_factory.mktemp("previous"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two servers of two releases, and their trees."""

    database: Database
    servers: tuple[Live, Live]
    trees: tuple[Path | None, Path | None]


@pytest.fixture(scope="module")
def pair(previous, servers):
    database = servers.databases.new("postgresql")
    with releases.running(previous):
        old = servers.start(database)
    new = servers.start(database)
    yield Pair(database=database, servers=(old, new), trees=(previous, None))
    servers.stop(old)
    servers.stop(new)


@pytest.fixture(params=["old first", "new first"])
def order(request, pair):
    """The release of the first attempt, then that of the retry."""
    if request.param == "old first":
        return pair
    return Pair(database=pair.database, servers=pair.servers[::-1], trees=pair.trees[::-1])


def statuses(answers):
    return sorted({answer.status_code for answer in answers})


class TestReleases:
    def test_they_are_two(self, pair, previous):
        assert releases.place(pair.database, previous) == previous
        assert releases.place(pair.database, None) == releases.ROOT


@pytest.mark.parametrize("path", [*BOTH, "/plain/joined"])
class TestRetries:
    def test_an_answer_is_replayed(self, order, path, key):
        first, second = order.servers
        answer = first.client.post(path, {"amount": 5, "then": "headers"}, key=key)
        again = second.client.post(path, {"then": "headers", "amount": 5}, key=key)
        assert answer.status_code == 201
        assert (again.status_code, again.content) == (answer.status_code, answer.content)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert {name: again.headers.get(name) for name in ("Content-Type", "Location", "ETag", "Set-Cookie")} == {
            "Content-Type": "application/json",
            "Location": answer.headers["Location"],
            "ETag": '"1"',
            "Set-Cookie": None,
        }
        assert order.database.effects(key) == 1

    def test_another_payload_is_refused(self, order, path, key):
        first, second = order.servers
        first.client.post(path, {"amount": 5}, key=key)
        assert second.client.post(path, {"amount": 6}, key=key).json()["code"] == "key-reused"
        assert second.client.post(path, {"amount": 5}, key=key).headers["Idempotent-Replayed"] == "true"
        assert order.database.effects(key) == 1

    def test_a_declined_payment_stays_declined(self, order, path, key):
        first, second = order.servers
        answer = first.client.post(path, {"then": "declined"}, key=key)
        again = second.client.post(path, {"then": "declined"}, key=key)
        assert (again.status_code, again.content) == (402, answer.content)

    def test_what_was_not_kept_is_free(self, order, path, key):
        first, second = order.servers
        assert first.client.post(path, {"then": "503"}, key=key).status_code == 503
        assert second.client.post(path, {"amount": 5}, key=key).status_code == 201
        assert order.database.effects(key) == 1

    def test_an_unknown_outcome_is_unknown(self, order, path, key):
        first, second = order.servers
        assert first.client.post(path, {"then": "raw commit"}, key=key).status_code == 500
        assert second.client.post(path, {"then": "raw commit"}, key=key).json()["code"] == "outcome-unknown"
        assert order.database.effects(key) == 1


JSON = b'{"amount": 5, "rate": 1.10, "count": 12345678901234567890, "name": "\\u00e9 \xc3\xa9", "none": [null, true]}'
BODIES = {
    "json": {"content": JSON, "headers": {"Content-Type": "application/json"}},
    "form": {"data": {"amount": "5", "name": "\u00e9 &="}},
    "multipart": {"data": {"amount": "5"}, "files": {"slip": ("slip.txt", b"paid in \x00 full", "text/plain")}},
    "text": {"content": b"five", "headers": {"Content-Type": "text/plain"}},
    "nothing": {},
}
# Django REST framework takes no plain text.
KINDS = [(path, kind) for path in BOTH for kind in BODIES if path.startswith("/plain") or kind != "text"]


class TestFingerprints:
    @pytest.mark.parametrize(("path", "kind"), KINDS)
    def test_a_body_is_the_same_request(self, order, path, kind, key):
        first, second = order.servers
        answer = first.client.request("POST", f"{path}?page=1&q=%20", key=key, **BODIES[kind])
        again = second.client.request("POST", f"{path}?page=1&q=%20", key=key, **BODIES[kind])
        assert answer.status_code == 201
        assert (again.status_code, again.content) == (201, answer.content)
        other = second.client.request("POST", f"{path}?page=2&q=%20", key=key, **BODIES[kind])
        assert other.json()["code"] == "key-reused"

    @pytest.mark.parametrize("path", BOTH)
    def test_a_quoted_key_is_the_bare_one(self, order, path, key):
        first, second = order.servers
        answer = first.client.post(path, key=f'"{key}"')
        assert second.client.post(path, key=key).content == answer.content

    @pytest.mark.parametrize("path", BOTH)
    def test_another_users_key_is_another_key(self, order, path, key):
        first, second = order.servers
        answers = [live.client.post(path, key=key, user=user) for live in (first, second) for user in (1, 2)]
        assert [answer.status_code for answer in answers] == [201] * 4
        assert [answer.content for answer in answers[:2]] == [answer.content for answer in answers[2:]]
        assert order.database.effects(key) == 2


@pytest.mark.parametrize("path", BOTH)
class TestInFlight:
    def test_a_retry_across_the_deploy_waits_for_the_first_attempt(self, order, path, key, barriers):
        first, second = order.servers
        gate = barriers.gate("view")
        running = first.client.start(path, key=key, at=gate)
        held = gate.reached()
        assert second.client.post(path, key=key).json()["code"] == "in-flight"
        held.release()
        answer = running.result()
        again = second.client.post(path, key=key)
        assert (again.status_code, again.content) == (201, answer.content)
        assert order.database.effects(key) == 1

    def test_a_crowd_at_both_is_served_once(self, order, path, key):
        clients = [live.client for live in order.servers]
        answers = [future.result() for future in [clients[n % 2].start(path, key=key) for n in range(16)]]
        assert set(statuses(answers)) <= {201, 409}
        assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
        assert order.database.effects(key) == 1


class TestKills:
    @pytest.mark.parametrize("point", ["before-lock", "view", "before-complete", "before-commit"])
    def test_a_worker_that_the_deploy_kills_is_taken_over(self, order, key, barriers, point):
        first, second = order.servers
        gate = barriers.gate(point)
        running = first.client.start("/plain/pay", key=key, at=gate)
        gate.reached().kill()
        assert running.exception() is not None
        assert second.client.insist("/plain/pay", key=key, within=10).status_code == 201
        assert order.database.effects(key) == 1
        assert first.client.post("/plain/pay", key=key).headers["Idempotent-Replayed"] == "true"

    def test_a_worker_that_dies_after_its_commit_has_its_answer_replayed(self, order, key, barriers):
        first, second = order.servers
        # The first commit is that of the claim.
        gate = barriers.gate("after-complete", "after-commit")
        running = first.client.start("/plain/pay", key=key, at=gate)
        gate.reached().release()
        gate.reached().kill()
        assert running.exception() is not None
        assert second.client.post("/plain/pay", key=key).headers["Idempotent-Replayed"] == "true"
        assert order.database.effects(key) == 1


class TestLeases:
    """The claim of a coroutine view has a lease and no lock, and the previous release knows nothing of leases."""

    @pytest.fixture
    def leased(self, pair, key):
        """A claim whose view is running in this release: no transaction of it can be seen."""
        new = pair.servers[1]
        assert new.client.post("/plain/pay", key=key).status_code == 201
        pair.database.query(
            f"UPDATE {RECORD} SET state = 'processing', token = 1, lease_until = now() + interval '1 hour', status = NULL, "
            "headers = '', body = NULL, completed_at = NULL, expires_at = NULL, forget_at = NULL, "
            "claimed_at = now() - interval '30 minutes' WHERE key = ?",
            key,
        )
        return pair

    def test_neither_runs_it_again(self, leased, key):
        old, new = leased.servers
        # The previous release cannot know when to come back, so it does not say that it may be sent again.
        assert old.client.post("/plain/pay", key=key).json()["code"] == "outcome-unknown"
        assert new.client.post("/plain/pay", key=key).json()["code"] == "in-flight"
        assert leased.database.effects(key) == 1

    def test_upkeep_does_not_free_it(self, leased, key):
        releases.command(leased.database, None, "idempotency_recover")
        assert leased.database.state(key) == "processing"
        releases.command(leased.database, leased.trees[0], "idempotency_recover")
        assert leased.database.state(key) == "unknown"


class TestUpkeep:
    """The upkeep of one release looks after what the other one has written."""

    def test_purge_shrinks_what_is_expired_and_forgets_what_may_be(self, order, key):
        first, second = order.servers
        for name in (key, f"{key}-2"):
            first.client.post("/plain/pay", key=name)
        order.database.expire(key)
        order.database.expire(f"{key}-2")
        order.database.forget(f"{key}-2")
        releases.command(order.database, order.trees[1], "idempotency_purge")
        assert order.database.state(key) == "tombstone"
        assert order.database.state(f"{key}-2") is None
        for live in (first, second):
            assert live.client.post("/plain/pay", key=key).json()["code"] == "key-expired"

    def test_recover_frees_the_key_of_a_dead_owner(self, order, key, barriers):
        first, second = order.servers
        gate = barriers.gate("view")
        running = first.client.start("/plain/pay", key=key, at=gate)
        gate.reached().kill()
        assert running.exception() is not None
        order.database.age(key, releases.HOUR)
        releases.command(order.database, order.trees[1], "idempotency_recover")
        assert order.database.state(key) is None
        assert second.client.post("/plain/pay", key=key).status_code == 201
        assert order.database.effects(key) == 1

    def test_recover_leaves_a_living_owner_alone(self, order, key, barriers):
        first = order.servers[0]
        gate = barriers.gate("before-lock", "view")
        running = first.client.start("/plain/pay", key=key, at=gate)
        held = gate.reached()
        order.database.age(key, releases.HOUR)
        held.release()
        held = gate.reached()
        releases.command(order.database, order.trees[1], "idempotency_recover")
        assert order.database.state(key) == "processing"
        held.release()
        assert running.result().status_code == 201
        assert order.database.effects(key) == 1


class TestMigration:
    @pytest.fixture
    def before(self, previous, servers):
        """The previous release on its own schema."""
        database = PostgresDatabase(services.postgresql(), f"{servers.databases._name()}_deploy")
        servers.databases.made.append(database)
        releases.command(database, previous, "migrate", "--run-syncdb", "--verbosity=0")
        with releases.running(previous):
            old = servers.start(database, workers=1)
        yield old
        servers.stop(old)

    def test_the_previous_release_serves_before_and_after_it(self, before, servers, key):
        first = before.client.post("/plain/pay", key=key)
        releases.command(before.database, None, "migrate", "--run-syncdb", "--verbosity=0")
        second = before.client.post("/plain/pay", key=f"{key}-2")
        assert (first.status_code, second.status_code) == (201, 201)
        new = servers.start(before.database, workers=1)
        for live in (before, new):
            assert live.client.post("/plain/pay", key=key).content == first.content
            assert live.client.post("/plain/pay", key=f"{key}-2").content == second.content
        servers.stop(new)

    def test_it_gives_way_to_a_running_view_where_it_is_told_to(self, before, barriers, key):
        gate = barriers.gate("view")
        running = before.client.start("/plain/pay", key=key, at=gate)
        held = gate.reached()
        migrate = (before.database, None, "migrate", "django_idempotency", "--verbosity=0")
        ended = releases.started(*migrate, PGOPTIONS="-c lock_timeout=100ms")
        assert "lock timeout" in ended.stderr
        assert before.client.post("/plain/pay", key=key).json()["code"] == "in-flight"
        held.release()
        assert running.result().status_code == 201
        releases.command(*migrate)
        assert before.client.post("/plain/pay", key=key).headers["Idempotent-Replayed"] == "true"
