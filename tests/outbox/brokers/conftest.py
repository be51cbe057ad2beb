"""Celery, as its own tests have it. An environment without Celery has nothing to collect here."""

from tests.celery.conftest import app, broker, collect_ignore_glob, workers

__all__ = ["app", "broker", "collect_ignore_glob", "workers"]
