"""The pytest plugin, in a project of its own."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
TESTS = """
import uuid

import pytest

from django_idempotency.backends import MemoryBackend

KEYS = []

@pytest.mark.parametrize("number", range(2))
def test_a_key(idempotency_key, number):
    assert str(uuid.UUID(idempotency_key)) == idempotency_key
    assert idempotency_key not in KEYS
    KEYS.append(idempotency_key)

@pytest.mark.parametrize("number", range(2))
def test_an_empty_memory(idempotency_memory, number):
    assert idempotency_memory is MemoryBackend
    assert MemoryBackend._records == {}
    MemoryBackend._records[number] = "a record"

def test_the_memory_is_emptied_afterwards():
    assert MemoryBackend._records == {}
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with Django's barest settings."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings")
    pytester.makepyfile(settings="SECRET_KEY = 'not secret'\nDATABASES = {}\n")
    return pytester


class TestPlugin:
    def test_its_fixtures_do_what_they_say(self, project):
        project.makepyfile(TESTS)
        ended = project.runpytest_subprocess("-p", "no:randomly", "-p", "django_idempotency.pytest_plugin")
        assert ended.parseoutcomes() == {"passed": 5}

    def test_pytest_finds_it_under_its_own_name(self):
        # So that naming it with -p as well registers it once.
        entries = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["pytest11"]
        assert entries == {"django_idempotency.pytest_plugin": "django_idempotency.pytest_plugin"}

    def test_loading_it_loads_nothing_but_pytest(self):
        code = """
import sys
import pytest
before = set(sys.modules)
import django_idempotency.pytest_plugin
print(*sorted(set(sys.modules) - before))
"""
        command = [sys.executable, "-c", code]
        ended = subprocess.run(command, cwd=PYPROJECT.parent, capture_output=True, text=True, check=False)
        assert ended.stderr == ""
        assert ended.stdout.split() == ["django_idempotency", "django_idempotency.pytest_plugin"]
