"""The Celery app of the tests' workers, configured by the test that starts them."""

import json
import os
import signal
import threading
from typing import Any

from celery import Celery
from celery.signals import task_prerun
from kombu import Queue

from tests.support import points

CONFIGURATION = "IDEMPOTENCY_TEST_CELERY"
ASKED = "x_test_at"


def configured(configuration: dict[str, Any], **options: Any) -> Celery:
    """Return an app with one queue; RabbitMQ drops it some time after the tests, whatever becomes of them."""
    app = Celery("tests", **options)
    app.conf.update(configuration)
    name = configuration["task_default_queue"]
    app.conf.task_queues = [Queue(name, routing_key=name, expires=600)]
    return app


@task_prerun.connect
def ask_for_points(task: Any, **kwargs: Any) -> None:
    """Hold the first delivery at the points that its header names, and no later one."""
    header = getattr(task.request, ASKED, None) or "-"
    later = task.request.retries or (task.request.delivery_info or {}).get("redelivered")
    points.asked.ticket, *asked = header.split()
    points.asked.points = () if later else tuple(asked)


def end_with_the_tests() -> None:
    """Wait until the process that holds the other end of this pipe has ended, and end all of this program."""
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if CONFIGURATION in os.environ:
    threading.Thread(target=end_with_the_tests, daemon=True).start()
    points.install()
    app = configured(json.loads(os.environ[CONFIGURATION]))
    app.autodiscover_tasks()
