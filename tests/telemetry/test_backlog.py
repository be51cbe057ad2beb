"""The gauges of open records: asked off the request path, seldom, and silent rather than wrong."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from opentelemetry.metrics import CallbackOptions

from django_idempotency import telemetry
from django_idempotency.core.states import State
from django_idempotency.models import IdempotencyRecord
from tests.support.records import HOUR, completed, stored, tombstone
from tests.support.threads import Stage
from tests.telemetry.instruments import Instruments

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told():
    return Instruments()


def numbers(told):
    return {point.attributes["idempotency.state"]: point.value for point in told.points("idempotency.records")}


def ages(told):
    """Whole minutes."""
    points = told.points("idempotency.records.age")
    return {point.attributes["idempotency.state"]: point.value // 60 for point in points}


class TestWhatTheySay:
    def test_nothing_open_is_nought_and_not_silence(self, told):
        completed(expired=-HOUR, forgotten=-HOUR)
        tombstone(forgotten=-HOUR)
        assert numbers(told) == {"processing": 0, "unknown": 0}
        assert ages(told) == {"processing": 0, "unknown": 0}

    def test_the_age_is_that_of_the_oldest(self, told):
        for hours in (1, 3, 2):
            stored("unknown", claimed_at=hours * HOUR)
        stored("processing", claimed_at=timedelta(minutes=10))
        assert numbers(told) == {"processing": 1, "unknown": 3}
        assert ages(told) == {"processing": 10, "unknown": 180}


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class TestSeveralDatabases:
    @pytest.mark.parametrize(("here", "there"), [(HOUR, 2 * HOUR), (2 * HOUR, HOUR)])
    def test_their_records_are_one_backlog(self, told, settings, here, there):
        settings.IDEMPOTENCY = {"default": {}, "far": {"DATABASE": "other"}, "near": {"DATABASE": "default"}}
        stored("unknown", claimed_at=here)
        stored("unknown", claimed_at=there, using="other")
        assert numbers(told)["unknown"] == 2
        assert ages(told)["unknown"] == 120


class TestHowTheyAsk:
    def test_one_answer_serves_for_a_while(self, told, monkeypatch):
        asked = []
        ask = telemetry._backlog
        monkeypatch.setattr(telemetry, "_backlog", lambda: asked.append(1) or ask())
        assert numbers(told)["unknown"] == 0
        stored("unknown")
        assert numbers(told)["unknown"] == 0
        assert len(asked) == 1
        monkeypatch.setattr(telemetry, "FRESH", 0)
        assert numbers(told)["unknown"] == 1

    def test_a_scrape_inside_a_transaction_leaves_it_alone(self, told):
        stored("unknown")
        with transaction.atomic():
            with connection.execute_wrapper(refuse):
                assert numbers(told)["unknown"] == 1
            stored("unknown", key="written after the scrape")
        assert IdempotencyRecord.objects.filter(key="written after the scrape").exists()

    def test_what_cannot_be_counted_is_not_reported(self, told, monkeypatch, caplog):
        stored("unknown")
        assert numbers(told)["unknown"] == 1
        monkeypatch.setattr(telemetry, "FRESH", 0)
        monkeypatch.setattr(telemetry, "_backlog", fail)
        assert numbers(told) == {}
        assert ages(told) == {}
        assert "could not be counted" in caplog.text

    def test_one_that_hangs_is_waited_for_briefly_and_is_not_joined_by_more(self, monkeypatch):
        stage, asked = Stage(), []

        def hang():
            asked.append(1)
            stage.enter()
            return {State.UNKNOWN: (1, 60.0)}

        monkeypatch.setattr(telemetry, "_backlog", hang)
        monkeypatch.setattr(telemetry, "FRESH", 0)
        backlog = telemetry.Backlog()
        impatient = CallbackOptions(timeout_millis=20)
        assert [list(backlog.numbers(impatient)) for _ in range(3)] == [[], [], []]
        monkeypatch.setattr(telemetry, "FRESH", 60)
        stage.gone_on.set()
        assert [point.value for point in backlog.numbers(CallbackOptions())][:1] == [1]
        assert len(asked) == 1


def refuse(execute, sql, params, many, context):
    raise AssertionError(f"asked over the connection of the request: {sql}")


def fail():
    raise RuntimeError("no database")
