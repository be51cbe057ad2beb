"""Settings of a live server: the tests' own, with what the test asked for on top."""

import json
import os
from datetime import timedelta
from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import MIDDLEWARE

MIDDLEWARE = ["tests.support.points.PointsMiddleware", *MIDDLEWARE]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}


def _timedelta(value: dict[str, Any]) -> Any:
    return timedelta(**value) if set(value) == {"seconds"} else value


globals().update(json.loads(os.environ["IDEMPOTENCY_TEST_SETTINGS"], object_hook=_timedelta))

# The dashboard's counts would be written in the middle of what these tests watch; a test of them asks for them.
IDEMPOTENCY: dict[str, Any] = {"default": {}, **globals().get("IDEMPOTENCY", {})}
for profile in IDEMPOTENCY.values():
    profile.setdefault("COUNT_REQUESTS", False)
