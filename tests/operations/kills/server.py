"""The application that gunicorn serves in these tests. Its workers' clocks can be wrong."""

import datetime
import os
import random
import time

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.utils import timezone

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.live_settings")
django.setup()

from tests.operations.kills import points  # noqa: E402

SKEW = float(getattr(settings, "SKEW", 0))
"""Seconds, by which a worker's clock is wrong at most."""

right = time.time


class Clock:
    """One worker's. Leases must not go by it."""

    wrong_by = 0.0

    def begin(self) -> None:
        self.wrong_by = random.SystemRandom().uniform(-SKEW, SKEW)

    def time(self) -> float:
        return right() + self.wrong_by

    def now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.time(), tz=datetime.UTC)


if SKEW:
    clock = Clock()
    time.time = clock.time
    timezone.now = clock.now
    os.register_at_fork(after_in_child=clock.begin)

points.install()
application = get_wsgi_application()
