"""What the figures were taken on, without saying where."""

import os
import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.databases import ask
from benchmarks.services import redis_answers, redis_version

PACKAGES = ("Django", "djangorestframework", "psycopg", "django-redis")


def describe() -> list[tuple[str, str]]:
    facts = [
        ("Processor", f"{processor()}, {os.cpu_count()} cores"),
        ("Memory", f"{memory_in_gib():.0f} GiB"),
        ("System", f"{platform.system()} {platform.machine()}"),
        ("Python", platform.python_version()),
        ("PostgreSQL", postgresql()),
    ]
    if redis_answers():
        facts.append(("Redis", redis_version()))
    return facts + [(name, version(name)) for name in PACKAGES if installed(name)]


def processor() -> str:
    """The model's name where the system tells it."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def memory_in_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def postgresql() -> str:
    """The version, and the settings that decide what a commit costs."""
    settings = ("fsync", "synchronous_commit", "shared_buffers", "autovacuum")
    told = [f"{name} {ask('default', f'SHOW {name}')}" for name in settings]
    return f"{ask('default', 'SHOW server_version').split()[0]} ({', '.join(told)})"


def installed(name: str) -> bool:
    return name != "django-redis" or find_spec("django_redis") is not None
