"""`make demo`, as a newcomer runs it: a process of its own, a server of its own, real HTTP."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from tests.support import services
from tests.support.databases import PostgresDatabase
from tests.support.redis_servers import RedisServer

CHECKOUT = Path(__file__).resolve().parent.parent

TITLES = [
    "A payment",
    "A lost answer and its retry",
    "Ten parallel duplicates",
    "A changed amount under the same key",
    "A declined card and its replay",
    "A validation error, corrected under the same key",
    "A worker killed in the middle, and the retry",
    "A refund and its replay",
    "The same key from another merchant",
    "A key after its retention",
    "A webhook delivered twice",
    "A form submitted twice",
    "An incident for the staff",
    "A payment through a gateway",
    "Four workers killed in four gateway payments",
    "Upkeep",
]

PATIENCE = 280
"""Seconds that a whole scenario may take: half a minute alone, and several where all of `make test` is at work."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(PATIENCE + 80),
    pytest.mark.skipif(
        any(
            importlib.util.find_spec(name) is None
            for name in ("celery", "drf_spectacular", "gunicorn", "httpx", "rest_framework")
        ),
        reason="the demo needs the extra of that name",
    ),
]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator["Demo"]:
    demo = Demo(tmp_path)
    yield demo
    demo.end()


class Demo:
    """Starts the demo in a folder of its own, and leaves none running."""

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "TESTPROJECT_DATA": str(folder)}
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "testproject.demo", *arguments],
            cwd=CHECKOUT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def play(self, *arguments: str) -> tuple[int, str]:
        """Return the exit status and what was printed."""
        process = self.start("--no-serve", *arguments)
        printed, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, printed

    def end(self) -> None:
        for process in self.processes:
            process.terminate()
            process.communicate(timeout=20)


@pytest.fixture
def postgresql() -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(services.postgresql(), f"idempotency_demo_{os.getpid()}")
    yield database
    database.drop()


def logged_in(admin: str, name: str, password: str) -> urllib.request.OpenerDirector:
    """A member of staff at a browser of sorts."""
    cookies = CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
    opener.open(f"{admin}login/").close()
    token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken")
    asked = {"username": name, "password": password, "csrfmiddlewaretoken": token, "next": "/admin/"}
    opener.open(f"{admin}login/", urllib.parse.urlencode(asked).encode()).close()
    return opener


def titles(printed: str) -> list[str]:
    return re.findall(r"^\d+\. (.+)\n-+$", printed, re.MULTILINE)


def test_every_expectation_of_the_scenario_holds(demo: Demo) -> None:
    status, printed = demo.play()
    assert status == 0, printed
    assert titles(printed) == TITLES
    assert "FAILED" not in printed
    sent = re.search(r"sent +(\d+) requests", printed)
    assert sent
    assert int(sent[1]) > 300
    for held in ("open incidents: 4 mismatch, 2 failed, 2 abandoned, 2 unknown", "the audit verifies"):
        assert f"  ok        {held}\n" in printed


def test_the_scenario_holds_on_postgresql_too(demo: Demo, postgresql: PostgresDatabase) -> None:
    server = postgresql.server
    demo.environment |= {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.user}
    demo.environment |= {"PGPASSWORD": server.password, "PGDATABASE": postgresql.name}
    status, printed = demo.play("--postgresql")
    assert status == 0, printed
    assert titles(printed) == TITLES


def test_the_scenario_holds_with_redis_in_front_of_the_database(demo: Demo) -> None:
    server = RedisServer()
    demo.environment |= {"REDIS_URL": server.url}
    status, printed = demo.play("--redis")
    entries = re.search(r"redis +(\d+) entries", printed)
    assert status == 0, printed
    assert titles(printed) == TITLES
    assert entries
    assert len(server.ask("KEYS", "demo-*")) >= int(entries[1]) > 0
    server.close()


def test_payments_without_the_decorator_fail_the_scenario(demo: Demo) -> None:
    status, printed = demo.play("--unprotected")
    assert status == 1, printed
    assert titles(printed) == TITLES
    failed = set(re.findall(r"^  (\d+)\. .+: expected ", printed, re.MULTILINE))
    assert failed == {"2", "3", "4", "5", "7", "10", "13"}


def test_the_server_stays_up_until_it_is_interrupted(demo: Demo) -> None:
    process = demo.start()
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("  log-in"):
            break
    admin, desk = (
        next(line.split()[1] for line in lines if line.startswith(f"  {name}")) for name in ("admin", "desk")
    )
    password = lines[-1].split()[-1]
    shown = {
        name: logged_in(admin, name, password).open(desk).read().decode() for name in ("support", "finance", "admin")
    }
    assert [name for name, page in shown.items() if "Mismatches" not in page or "Awaiting approval" not in page] == []
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(admin)


def test_two_demos_do_not_share_a_folder(demo: Demo) -> None:
    process = demo.start()
    assert process.stdout is not None
    process.stdout.readline()
    status, printed = demo.play()
    assert status == 2
    assert "Another demo is running" in printed
