"""The tasks that a scheduler would send in the background, sent here by hand to a worker in this process."""

from celery.contrib.testing.worker import start_worker
from django.utils import timezone

from django_idempotency.models import IdempotencyRecord
from testproject.celery import app
from testproject.payments.models import Payment

from .client import poll
from .play import Play

PATIENCE = 20


def upkeep(play: Play) -> None:
    expired = IdempotencyRecord.objects.filter(state="completed", expires_at__lte=timezone.now()).count()
    play.report.print()
    with start_worker(app, pool="solo", perform_ping_check=False):
        done = {entry["task"]: _done(play, entry["task"]) for entry in app.conf.beat_schedule.values()}
        _expect_receipts(play)
        again = _done(play, "django_idempotency.tasks.purge_expired")
    purged = done["django_idempotency.tasks.purge_expired"]["shrunk"]
    play.report.expect(f"answers purged: {expired}", purged == expired, f"{purged}")
    play.report.expect("nothing left to purge", not any(again.values()), f"{again}")
    play.expect_books(ledger=[], gateway=[])


def _expect_receipts(play: Play) -> None:
    """The messages were rows of the payments' transactions; drained, each reached its task once."""
    payments = Payment.objects.filter(account=play.card_account)
    paid = payments.filter(status=Payment.Status.PAID).count()
    received = poll(lambda: payments.filter(receipts=1).count(), until=lambda count: count == paid)
    play.report.expect(f"one receipt for each gateway payment: {paid}", received == paid, f"{received}")


def _done(play: Play, task: str) -> dict[str, int]:
    counts: dict[str, int] = app.send_task(task).get(timeout=PATIENCE)
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    play.report.line("task", f"{task}: {told}")
    return counts
