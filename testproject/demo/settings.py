"""The payments project, with what the demo needs beside it: a key that expires, a view that dies."""

from datetime import timedelta

from testproject.settings import *  # noqa: F403
from testproject.settings import DATA_DIR, IDEMPOTENCY

ROOT_URLCONF = "testproject.demo.urls"

PAYMENTS_GATEWAY = "testproject.demo.faults.DeadlyGateway"
PAYMENTS_CARD_GATEWAY = "testproject.demo.faults.DeadlyCardGateway"
DEMO_FUSE = DATA_DIR / "fuse"

# Nobody wants to wait a minute until a dead worker is given up.
IDEMPOTENCY["default"] |= {"LEASE": timedelta(seconds=4)}
