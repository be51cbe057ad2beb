"""The release before this one, as a tree to run processes from."""

import functools
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import services
from tests.support.databases import Database, environment

ROOT = Path(__file__).resolve().parent.parent.parent
HOUR = timedelta(hours=1)

PREVIOUS = "b5d67e791e38491abf46890b373b587c14290c24"
"""The commit of the last release; before the first release: the last with the first schema."""


@functools.cache
def archive() -> bytes:
    """Return the previous release and its own tests as a tar file; skip the test where git does not have it."""
    command = ["git", "-C", str(ROOT), "archive", PREVIOUS, "django_idempotency", "tests"]
    try:
        return subprocess.run(command, check=True, capture_output=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as exc:
        told = getattr(exc, "stderr", b"") or b"there is no git"
        # No service: nothing on the machine can give a checkout its history.
        services.MISSING["the previous release"] = reason = f"commit {PREVIOUS[:7]}: {told.decode().strip()}"
        pytest.skip(f"the previous release cannot be had: {reason}")


def unpack(directory: Path) -> Path:
    """Put the previous release into a directory, and return that."""
    with tarfile.open(fileobj=io.BytesIO(archive())) as found:
        found.extractall(directory, filter="data")
    return directory


@contextmanager
def running(tree: Path | None) -> Iterator[None]:
    """Let the processes that start in this block be of the release in a tree; of this one, without a tree."""
    with pytest.MonkeyPatch.context() as patch:
        if tree:
            patch.syspath_prepend(tree)
        yield


def started(
    database: Database, tree: Path | None, *arguments: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a management command of a release on a database, whatever becomes of it."""
    with running(tree):
        inherited = environment({"DATABASES": {"default": database.settings}})
    return subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        env=inherited | variables,
        # Python looks into the working directory first: not into the checkout.
        cwd=tempfile.gettempdir(),
        check=False,
        capture_output=True,
        text=True,
    )


def command(database: Database, tree: Path | None, *arguments: str) -> str:
    """Run a management command of a release on a database, and return what it prints."""
    ended = started(database, tree, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def place(database: Database, tree: Path | None) -> Path:
    """Return where a process of a release finds the package."""
    code = "import django_idempotency; print(django_idempotency.__file__)"
    printed = command(database, tree, "shell", "--verbosity=0", "--no-imports", "--command", code)
    return Path(printed.strip()).parent.parent
