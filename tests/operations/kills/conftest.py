"""A shop on each database, behind one fake gateway."""

from collections.abc import Iterator

import pytest

from django_idempotency.gateways.fake import FakeGateway
from tests.operations.kills.shops import Shop, open_shop
from tests.support import services
from tests.support.barriers import Barriers
from tests.support.live import Servers


@pytest.fixture(scope="session")
def gateway() -> Iterator[FakeGateway]:
    """The gateway, with no fault until a test sets one."""
    with FakeGateway() as gateway:
        yield gateway


@pytest.fixture(params=services.chosen_databases())
def shop(request: pytest.FixtureRequest, servers: Servers, gateway: FakeGateway, barriers: Barriers) -> Iterator[Shop]:
    """A live server on each database."""
    shop = open_shop(servers, request.param, gateway, barriers)
    yield shop
    gateway.faults.set([])
    gateway.barriers.release()


@pytest.fixture
def vendor(shop: Shop) -> str:
    """The database of the shop."""
    return shop.vendor
