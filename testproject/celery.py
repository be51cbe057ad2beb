"""The project's Celery app. Its broker is the memory of this process: for the demo, where the worker is in it, too."""

import os

from celery import Celery

from django_idempotency.tasks import beat_schedule

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")

app = Celery("testproject", broker="memory://", backend="cache+memory://")
app.conf.beat_schedule = beat_schedule()
app.autodiscover_tasks()
