"""The documentation's own example on a real server: what a scrape finds after a crash, and from under load."""

import re
from pathlib import Path

import pytest

from tests.settings import INSTALLED_APPS
from tests.support import services

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "docs" / "examples"

if not EXAMPLES.exists():
    pytest.skip("the documentation is not beside the tests", allow_module_level=True)

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(servers, tmp_path, monkeypatch):
    """One process that serves the bank and its own metrics."""
    services.skip_unless_chosen("postgresql")
    (tmp_path / "shop").symlink_to(EXAMPLES)
    monkeypatch.syspath_prepend(tmp_path)
    settings = {
        "INSTALLED_APPS": [*INSTALLED_APPS, "shop.metrics.ShopConfig"],
        "ROOT_URLCONF": "tests.telemetry.urls",
    }
    live = servers.start(servers.databases.new("postgresql"), workers=1, **settings)
    yield live
    servers.stop(live)


def scraped(live):
    """What Prometheus would read: the name with one label's value, and the number."""
    page = live.client.request("GET", "/metrics").text
    lines = re.findall(r'^(\w+)\{idempotency_(?:outcome|profile|state)="([^"]+)"[^}]*\} (\S+)$', page, re.MULTILINE)
    return {(name.removeprefix("idempotency_"), label): float(number) for name, label, number in lines if float(number)}


def test_a_crash_a_take_over_and_all_that_follows_are_counted(shop, barriers, key):
    gate = barriers.gate("view")
    first = shop.client.start("/plain/pay", key=key, at=gate)
    held = gate.reached()
    assert shop.client.post("/plain/pay", key=key).status_code == 409
    assert scraped(shop)["requests_total", "in-flight"] == 1
    held.kill()
    assert first.exception() is not None
    # A new process, which has counted nothing yet.
    assert shop.client.insist("/plain/pay", key=key, within=10).status_code == 201
    assert shop.client.post("/plain/pay", key=key).headers["Idempotent-Replayed"] == "true"
    assert shop.client.post("/plain/pay", {"amount": 6}, key=key).status_code == 422
    assert shop.client.post("/plain/pay", {"then": "raw commit"}, key=f"{key}-2").status_code == 500
    found = scraped(shop)
    assert found["takeovers_total", "default"] == 1
    assert found["requests_total", "completed"] == 1
    assert found["duration_seconds_count", "completed"] == 1
    assert found["requests_total", "replayed"] == 1
    assert found["requests_total", "key-reused"] == 1
    assert found["records", "unknown"] == 1
    assert found["records_age_seconds", "unknown"] > 0
    assert key not in shop.client.request("GET", "/metrics").text
