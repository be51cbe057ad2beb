"""Where the demo is played: a folder of its own, and what Django will find in the environment."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

CHECKOUT = Path(__file__).resolve().parent.parent.parent


class FolderTaken(Exception):
    """Another demo is running in this folder."""


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """The folder, without what an earlier demo left. Nobody else gets it meanwhile."""
    folder = Path(os.environ.get("TESTPROJECT_DATA", CHECKOUT / ".demo")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderTaken(f"Another demo is running in {folder}.") from error
        for leftover in [*folder.glob("*.sqlite3*"), *folder.glob("fuse*")]:
            leftover.unlink()
        yield folder


def configure(folder: Path, gateway: str, *, postgresql: bool, redis: bool) -> None:
    """Settles, for this process and the server that it starts, what Django will read."""
    if not postgresql:
        # Set for something else, and nothing of ours to migrate.
        os.environ.pop("PGDATABASE", None)
    if redis:
        os.environ["DEMO_REDIS_URL"] = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
        # What an earlier demo has left there answers nobody in this one.
        os.environ["DEMO_REDIS_PREFIX"] = f"demo-{uuid4()}"
    else:
        os.environ.pop("DEMO_REDIS_URL", None)
    os.environ["DJANGO_SETTINGS_MODULE"] = "testproject.demo.settings"
    os.environ["TESTPROJECT_DATA"] = str(folder)
    os.environ["PAYMENTS_CARD_GATEWAY_URL"] = gateway
