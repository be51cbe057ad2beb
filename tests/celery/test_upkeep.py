"""Upkeep as tasks: counts, limits, errors, two at once, and beat, which sends them."""

import re
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from celery import Celery
from celery.exceptions import Retry

from django_idempotency import tasks
from django_idempotency.models import IdempotencyRecord
from tests.celery.workers import PATIENCE, Worker, Workers, alone
from tests.operations import tills
from tests.support import services
from tests.support.barriers import Barriers
from tests.support.records import HOUR, completed, stored, tombstone

TASKS = ["compact_rollup", "drain_outbox", "heal_incidents", "purge_expired", "recover_abandoned"]


@pytest.mark.django_db(transaction=True)
class TestTasks:
    def test_purge_returns_plain_counts(self):
        tombstone(forgotten=HOUR)
        tombstone(forgotten=-HOUR)
        completed(expired=HOUR, forgotten=-HOUR)
        assert tasks.purge_expired() == {
            "shrunk": 1,
            "deleted": 1,
            "incidents": 0,
            "messages": 0,
            "approvals": 0,
            "bulk_acts": 0,
            "steps": 0,
        }
        assert tasks.purge_expired() == {
            "shrunk": 0,
            "deleted": 0,
            "incidents": 0,
            "messages": 0,
            "approvals": 0,
            "bulk_acts": 0,
            "steps": 0,
        }

    def test_recover_returns_plain_counts(self):
        stored("processing", token=0)
        stored("processing", token=1)
        stored("processing", claimed_at=timedelta(minutes=4))
        resumed = {"completed": 0, "postponed": 0, "parked": 0}
        assert tasks.recover_abandoned() == {"released": 1, "doubtful": 1, **resumed}
        assert tasks.recover_abandoned(older_than=200) == {"released": 1, "doubtful": 0, **resumed}

    def test_recover_goes_on_with_operations(self):
        tills.restore()
        tills.interrupted()
        assert tasks.recover_abandoned(seconds=0)["completed"] == 0
        assert tasks.recover_abandoned()["completed"] == 1

    @pytest.mark.parametrize("task", ["purge_expired", "recover_abandoned"])
    def test_no_batch_is_begun_after_the_time_is_up(self, task):
        for _ in range(5):
            tombstone(forgotten=HOUR)
            stored("processing")
        counts = getattr(tasks, task)(batch_size=2, seconds=0)
        assert sum(counts.values()) == 2
        assert IdempotencyRecord.objects.count() == 8
        assert sum(getattr(tasks, task)(batch_size=2).values()) == 3

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    @pytest.mark.parametrize("task", ["purge_expired", "recover_abandoned"])
    def test_a_database_can_be_chosen(self, task):
        tombstone(forgotten=HOUR, using="other")
        stored("processing", using="other")
        assert set(getattr(tasks, task)().values()) == {0}
        assert sum(getattr(tasks, task)(database="other").values()) == 1

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    @pytest.mark.parametrize("name", TASKS)
    def test_a_database_that_is_gone_is_asked_again_later(self, broken_database, name):
        app = Celery("tests", broker="memory://", set_as_current=False)
        task = app.tasks[f"django_idempotency.tasks.{name}"]
        request = {"called_directly": False, "args": [], "kwargs": {"database": broken_database}, "delivery_info": {}}
        task.push_request(**request)
        try:
            with pytest.raises(Retry):
                task.run(database=broken_database)
        finally:
            task.pop_request()
            app.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "point"), [("purge_expired", "after-release"), ("recover_abandoned", "after-release")]
)
def test_two_at_once_do_all_the_work_once(workers: Workers, barriers: Barriers, task: str, point: str) -> None:
    """The first stands inside its first batch, with the locks it has, until the second has ended."""
    services.skip_unless_chosen("postgresql")
    worker = workers.get("postgresql", services.rabbitmq())
    # What other tests have left would be counted, too.
    for table in ("idempotencyrecord", "idempotencyincident"):
        worker.database.query(f"DELETE FROM django_idempotency_{table}")
    keys = [f"{task}-{number}" for number in range(40)]
    for key in keys:
        worker.result(worker.send("pay", key))
    for key in keys:
        worker.database.expire(key)
        worker.database.forget(key)
    # What the first statement of each asks for.
    state = "tombstone" if task == "purge_expired" else "processing"
    worker.database.query(f"UPDATE django_idempotency_idempotencyrecord SET state = '{state}', token = 0")
    gate = barriers.gate(point)
    first = worker.send_upkeep(task, at=gate, batch_size=10)
    held = gate.reached()
    second = worker.result(worker.send_upkeep(task, batch_size=10))
    held.release()
    done = [sum(counts.values()) for counts in (worker.result(first), second)]
    assert (sum(done), min(done) > 0) == (40, True)
    assert [worker.database.state(key) for key in keys] == [None] * 40


class TestSchedule:
    def test_each_task_is_sent_in_its_time_and_dropped_when_the_next_is_due(self):
        entries = tasks.beat_schedule()
        seconds = {"purge_expired": 600, "recover_abandoned": 60, "heal_incidents": 300, "drain_outbox": 10}
        seconds["compact_rollup"] = 3600
        assert entries == {
            f"django_idempotency.{name}": {
                "task": f"django_idempotency.tasks.{name}",
                "schedule": every,
                "options": {"expires": every},
            }
            for name, every in seconds.items()
        }

    def test_an_app_that_discovers_tasks_knows_every_one(self):
        app = Celery("tests", set_as_current=False)
        app.conf.beat_schedule = tasks.beat_schedule()
        assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)
        app.close()

    def test_settings_can_ask_for_it_before_there_are_models(self):
        code = (
            "from django.conf import settings\n"
            "from django_idempotency.tasks import beat_schedule\n"
            "settings.configure(CELERY_BEAT_SCHEDULE=beat_schedule(), INSTALLED_APPS=['django_idempotency'])\n"
            "import django; django.setup()\n"
            "assert len(settings.CELERY_BEAT_SCHEDULE) == 5\n"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr

    @pytest.mark.slow
    def test_beat_sends_what_a_worker_does(self, workers: Workers, broker: str, key: str) -> None:
        services.skip_unless_chosen("postgresql")
        schedule = {name: {**entry, "schedule": 0.5} for name, entry in tasks.beat_schedule().items()}
        with workers.own("postgresql", broker, beat_schedule=schedule) as worker:
            worker.start(*alone())
            worker.result(worker.send("pay", key))
            worker.database.expire(key)
            worker.database.forget(key)
            worker.start("beat", "--loglevel=INFO")
            deadline = time.monotonic() + PATIENCE
            while succeeded(worker) != set(TASKS) or worker.database.state(key):
                assert time.monotonic() < deadline, worker.log()
                time.sleep(0.05)


def succeeded(worker: Worker) -> set[str]:
    """Return the tasks of upkeep that the worker has done."""
    return set(re.findall(r"Task django_idempotency\.tasks\.(\w+)\[\S+ succeeded", worker.log()))
