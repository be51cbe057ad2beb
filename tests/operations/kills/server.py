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
wrong_by = 0.0


def begin_worker() -> None:
    global wrong_by
    wrong_by = random.SystemRandom().uniform(-SKEW, SKEW)


def wrong_time() -> float:
    return right() + wrong_by


def wrong_now() -> datetime.datetime:
    return datetime.datetime.fromtimestamp(wrong_time(), tz=datetime.UTC)


if SKEW:
    time.time = wrong_time
    timezone.now = wrong_now
    os.register_at_fork(after_in_child=begin_worker)

points.install()
application = get_wsgi_application()
