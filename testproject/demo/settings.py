"""The payments project, with what the demo needs beside it: a key that expires, a view that dies."""

import os
from datetime import timedelta
from typing import Any

from testproject.settings import *  # noqa: F403
from testproject.settings import DATA_DIR, IDEMPOTENCY

ROOT_URLCONF = "testproject.demo.urls"

PAYMENTS_GATEWAY = "testproject.demo.faults.DeadlyGateway"
PAYMENTS_CARD_GATEWAY = "testproject.demo.faults.DeadlyCardGateway"
DEMO_FUSE = DATA_DIR / "fuse"

# Nobody wants to wait a minute until a dead worker is given up.
IDEMPOTENCY["default"] |= {"LEASE": timedelta(seconds=4)}
# The desk: money as a person writes it, and a second person for what was settled outside.
IDEMPOTENCY["default"] |= {
    "AMOUNT": "testproject.demo.views.amount_asked",
    "APPROVALS": {"settled-outside": {"EUR": 1000, "GBP": 1000, "USD": 1000}},
}

CACHES: dict[str, dict[str, Any]] = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
if "DEMO_REDIS_URL" in os.environ:
    CACHES["replays"] = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ["DEMO_REDIS_URL"],
        "KEY_PREFIX": os.environ["DEMO_REDIS_PREFIX"],
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 0.2, "SOCKET_TIMEOUT": 0.2},
    }
    IDEMPOTENCY["default"] |= {"CACHE": "replays"}
