"""The payments project, with what the demo needs beside it: a key that expires, a view that dies."""

from testproject.settings import *  # noqa: F403
from testproject.settings import DATA_DIR

ROOT_URLCONF = "testproject.demo.urls"

PAYMENTS_GATEWAY = "testproject.demo.faults.DeadlyGateway"
DEMO_FUSE = DATA_DIR / "fuse"
