"""PostgreSQL itself goes down as in a power failure, in a cluster that the tests made for this."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.crashes.expectations import paid_once
from tests.support import services
from tests.support.barriers import Barriers
from tests.support.clusters import Cluster
from tests.support.kinds import both
from tests.support.live import Live, Servers

pytestmark = pytest.mark.slow

MOMENTS = [
    *((path, point) for path in both("pay") for point in ("after-claim", "after-lock", "view", "after-complete")),
    *((path, point) for path in both("joined") for point in ("after-claim", "view", "after-complete")),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragile:
    """A server on a cluster that may be crashed."""

    live: Live
    cluster: Cluster


@pytest.fixture(scope="module")
def fragile(servers: Servers) -> Iterator[Fragile]:
    """One cluster and one server for this module."""
    services.skip_unless_chosen("postgresql")
    cluster = services.own_cluster()
    place = services.Server(host="127.0.0.1", port=cluster.port, user="postgres")
    live = servers.start(servers.databases.new("postgresql", place))
    yield Fragile(live=live, cluster=cluster)
    servers.stop(live)
    servers.databases.abandon(place)
    cluster.close()


@pytest.mark.parametrize("moment", MOMENTS, ids="@".join)
def test_a_crash_of_the_database_undoes_all_or_nothing(
    fragile: Fragile, barriers: Barriers, key: str, moment: tuple[str, str]
) -> None:
    path, point = moment
    gate = barriers.gate(point)
    interrupted = fragile.live.client.start(path, key=key, at=gate)
    held = gate.reached()
    fragile.cluster.crash_and_restart()
    held.release()
    assert interrupted.result().status_code in {409, 500, 503}
    assert fragile.live.database.effects(key) == 0
    paid_once(fragile.live, path, key)


@pytest.mark.parametrize("path", [*both("pay"), *both("joined")])
def test_what_a_client_was_told_survives_a_crash_of_the_database(fragile: Fragile, path: str, key: str) -> None:
    first = fragile.live.client.post(path, key=key)
    assert first.status_code == 201
    fragile.cluster.crash_and_restart()
    again = fragile.live.client.post(path, key=key)
    assert again.content == first.content
    assert fragile.live.database.nonces(key) == [first.json()["nonce"]]


@pytest.mark.parametrize("path", both("pay"))
def test_a_worker_and_its_database_die_together(fragile: Fragile, barriers: Barriers, path: str, key: str) -> None:
    gate = barriers.gate("view")
    dying = fragile.live.client.start(path, key=key, at=gate)
    held = gate.reached()
    held.kill()
    assert dying.exception()
    fragile.cluster.crash_and_restart()
    paid_once(fragile.live, path, key)
