"""A payments API under retries, duplicates and crashes: python -m testproject.demo"""

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import django

from django_idempotency.gateways.fake import FakeGateway

from . import stage
from .server import ServerFailed


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 if all went as expected, 1 if not, 2 if there was nothing to see."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        with stage.fresh_folder() as folder, FakeGateway() as gateway:
            stage.configure(folder, gateway.url, postgresql=options.postgresql, redis=options.redis)
            django.setup()
            from .show import show  # imports models, which Django is only now ready for

            held = show(folder, gateway, serve=options.serve, unprotected=options.unprotected)
    except (stage.FolderTaken, ServerFailed) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0 if held else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testproject.demo", description=__doc__)
    parser.add_argument("--no-serve", dest="serve", action="store_false", help="end after the scenario")
    parser.add_argument(
        "--unprotected",
        action="store_true",
        help="play it against payments without the decorator, and see what goes wrong",
    )
    parser.add_argument(
        "--postgresql",
        action="store_true",
        help="use the PostgreSQL database that PGDATABASE names, instead of a fresh SQLite one",
    )
    parser.add_argument(
        "--redis",
        action="store_true",
        help="answer retries from the Redis that REDIS_URL names (redis://127.0.0.1:6379), in front of the database",
    )
    return parser


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
