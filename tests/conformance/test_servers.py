"""Our own servers meet the vectors; a server that runs everything does not."""

import subprocess
import sys
from typing import Any

import pytest

from tests.conformance.wrong import RunsEverything, serving
from tests.settings import HAVE_DRF
from tests.support.fixtures import BRIEF
from tests.support.live import Live, Servers
from tests.support.services import chosen_databases, skip_unless_chosen

KINDS = ["plain", *(["drf"] if HAVE_DRF else [])]
# An unfinished request is in nobody's sight where its claim is joined, so nobody can tell that another payload is one.
JOINED = {"parallel-reuse-is-a-mismatch"}


def conformance(*arguments: str) -> tuple[int, list[str]]:
    """Run the command, and return how it ended and what it said."""
    command = [sys.executable, "-m", "django_idempotency.conformance", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    return ended.returncode, (ended.stdout + ended.stderr).splitlines()


def named(lines: list[str], word: str) -> set[str]:
    """Return the vectors whose lines begin so."""
    found = [line for line in lines if line.startswith(word) and "# SKIP" not in line]
    return {line.split(" - ")[1].partition(":")[0] for line in found}


def settings(**profile: Any) -> dict[str, Any]:
    scope = {"SCOPE": "tests.conformance.fixtures.principal"}
    return {"ROOT_URLCONF": "tests.conformance.urls", "IDEMPOTENCY": {"default": {**scope, **profile}}}


@pytest.fixture(scope="module", params=chosen_databases())
def server(request: pytest.FixtureRequest, servers: Servers) -> Live:
    """A server with the fixture routes on each database."""
    brief = BRIEF["default"] if request.param == "sqlite" else {}
    return servers.get(request.param, **settings(**brief))


@pytest.mark.slow
class TestOurServers:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_vector_is_met(self, server: Live, kind: str) -> None:
        code, lines = conformance(f"http://127.0.0.1:{server.client.port}/fixtures/{kind}")
        assert named(lines, "not ok") == (JOINED if "sqlite" in server.database.settings["ENGINE"] else set()), lines
        assert [line for line in lines if "SKIP" in line] == []
        assert code == bool(named(lines, "not ok"))

    def test_a_joined_claim_meets_all_but_what_needs_the_unfinished_to_be_seen(self, servers: Servers) -> None:
        skip_unless_chosen("postgresql")
        live = servers.get("postgresql", **settings(CLAIM="joined"))
        _, lines = conformance(f"http://127.0.0.1:{live.client.port}/fixtures/plain", "--only", "parallel")
        assert named(lines, "not ok") == JOINED, lines


# What a server meets that knows nothing of keys: it is about first requests only.
MET_BY_CHANCE = {"first-is-untouched", "key-case", "key-ignored-by-safe-methods", "key-longest"}
MET_BY_CHANCE |= {"scope-is-the-principal", "scope-mismatch-is-not-told"}
EXPIRY = {"expiry-is-told", "expiry-of-the-key", "expiry-wins-over-mismatch", "problem-key-expired"}


class TestWrongServer:
    def test_a_server_that_runs_everything_fails(self) -> None:
        with serving(RunsEverything) as url:
            code, lines = conformance(url)
        assert code == 1
        assert named(lines, "ok") == MET_BY_CHANCE
        assert {line.split(" - ")[1].partition(":")[0] for line in lines if "# SKIP" in line} == EXPIRY
        assert (
            lines[-1]
            == f"# {len(MET_BY_CHANCE)} passed, {48 - len(MET_BY_CHANCE | EXPIRY)} failed, {len(EXPIRY)} skipped"
        )
