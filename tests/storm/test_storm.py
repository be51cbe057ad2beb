"""
Many keys, many clients, slow and failing views, killed workers, cut connections and recovery, for a while.

IDEMPOTENCY_STORM_SECONDS says for how long.
"""

import os

import pytest

from tests.storm.weather import Storm
from tests.support.databases import RECORD
from tests.support.kinds import both
from tests.support.live import Servers
from tests.support.services import chosen_databases

SECONDS = float(os.environ.get("IDEMPOTENCY_STORM_SECONDS", "60"))
PATHS = [*both("pay"), *both("joined")]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS * 2 + 120)]


@pytest.mark.parametrize("vendor", chosen_databases())
def test_after_a_storm_every_key_has_one_effect_and_one_answer(servers: Servers, vendor: str) -> None:
    # Only the server's own connections are cut, not those of the tests that look.
    place = {"OPTIONS": {"application_name": "bank"}} if vendor == "postgresql" else {}
    live = servers.start(servers.databases.new(vendor), workers=3, threads=8, place=place)
    storm = Storm(live, PATHS)
    storm.rage(SECONDS, clients=12)
    servers.stop(live)
    keys = storm.log.answers
    assert {key for key, answers in keys.items() if len(answers) != 1} == set()
    effects: dict[str, int] = dict(live.database.query("SELECT key, count(*) FROM bank_payment GROUP BY key"))
    assert effects == dict.fromkeys(keys, 1)
    states: dict[str, int] = dict(live.database.query(f"SELECT state, count(*) FROM {RECORD} GROUP BY state"))
    assert states == {"completed": len(keys)}
    # It was a storm, and not a breeze.
    assert len(keys) > 20
    assert storm.log.others[500] > 0
    assert live.log().count("Booting worker") > 3
