"""The tasks that a scheduler would send in the background, sent here by hand to a worker in this process."""

from celery.contrib.testing.worker import start_worker
from django.utils import timezone

from django_idempotency.models import IdempotencyRecord
from testproject.celery import app

from .play import Play

PATIENCE = 20


def upkeep(play: Play) -> None:
    expired = IdempotencyRecord.objects.filter(state="completed", expires_at__lte=timezone.now()).count()
    play.report.print()
    with start_worker(app, pool="solo", perform_ping_check=False):
        done = {entry["task"]: _done(play, entry["task"]) for entry in app.conf.beat_schedule.values()}
        again = _done(play, "django_idempotency.tasks.purge_expired")
    purged = done["django_idempotency.tasks.purge_expired"]["shrunk"]
    play.report.expect(f"answers purged: {expired}", purged == expired, f"{purged}")
    play.report.expect("nothing left to purge", not any(again.values()), f"{again}")
    play.expect_books(ledger=[], gateway=[])


def _done(play: Play, task: str) -> dict[str, int]:
    counts: dict[str, int] = app.send_task(task).get(timeout=PATIENCE)
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    play.report.line("task", f"{task}: {told}")
    return counts
