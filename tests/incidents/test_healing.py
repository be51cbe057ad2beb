"""Failures and abandoned claims are closed once their key has completed, and not before."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from django_idempotency import incidents
from django_idempotency.incidents import Kind, heal
from django_idempotency.maintenance import recover
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from tests.support.records import HOUR, completed, stored, tombstone

pytestmark = pytest.mark.django_db(transaction=True)


def open_kinds():
    return sorted(IdempotencyIncident.objects.filter(healed_at=None).values_list("kind", flat=True))


def incident(kind, record):
    row = IdempotencyRecord.objects.filter(pk=record.pk).values().get()
    incidents.report("default", incidents.left(kind, row))


class TestHeal:
    def test_a_failure_is_closed_when_its_key_has_completed(self, send):
        send(then="raise")
        assert (heal(), open_kinds()) == (0, ["failed"])
        assert send(then="pay").status_code == 201
        assert (heal(), open_kinds()) == (1, [])
        assert heal() == 0

    def test_an_abandoned_claim_is_closed_when_its_key_has_completed(self, send, key):
        send()
        IdempotencyRecord.objects.update(
            state="processing", token=0, claimed_at=timezone.now() - HOUR, completed_at=None
        )
        recover()
        assert (heal(), open_kinds()) == (0, ["abandoned"])
        send()
        assert (heal(), open_kinds()) == (1, [])

    @pytest.mark.parametrize("state", ["processing", "unknown"])
    def test_an_unfinished_key_heals_nothing(self, state):
        incident(Kind.FAILED, stored(state))
        assert (heal(), open_kinds()) == (0, ["failed"])

    def test_a_tombstone_says_that_it_had_completed(self):
        incident(Kind.FAILED, tombstone(forgotten=-HOUR))
        assert (heal(), open_kinds()) == (1, [])

    def test_a_mismatch_and_an_unknown_outcome_are_for_a_person(self):
        record = completed(expired=-HOUR, forgotten=-2 * HOUR)
        incident(Kind.MISMATCH, record)
        incident(Kind.UNKNOWN, record)
        assert (heal(), open_kinds()) == (0, ["mismatch", "unknown"])

    def test_what_fails_again_is_open_again(self):
        record = tombstone(forgotten=-HOUR)
        incident(Kind.FAILED, record)
        heal()
        incident(Kind.FAILED, record)
        assert open_kinds() == ["failed"]
        assert IdempotencyIncident.objects.get().counter == 2

    def test_it_stops_at_its_limit_and_at_its_time(self, monkeypatch):
        for _ in range(5):
            incident(Kind.FAILED, completed(expired=-HOUR, forgotten=-2 * HOUR))
        assert heal(seconds=0) == 0
        monkeypatch.setattr(incidents, "HEALED_AT_ONCE", 2)
        assert [heal(limit=3), heal(limit=3), heal()] == [3, 2, 0]

    def test_one_that_has_failed_again_between_choosing_and_closing_is_left(self, monkeypatch):
        record = completed(expired=-HOUR, forgotten=-2 * HOUR)
        incident(Kind.FAILED, record)
        asked = []
        healable = incidents._healable

        def meanwhile(alias):
            if asked:
                IdempotencyRecord.objects.filter(pk=record.pk).delete()
            asked.append(alias)
            return healable(alias)

        monkeypatch.setattr(incidents, "_healable", meanwhile)
        assert (heal(), open_kinds()) == (0, ["failed"])

    def test_the_command_says_how_many(self):
        for _ in range(2):
            incident(Kind.FAILED, completed(expired=-HOUR, forgotten=-2 * HOUR))
        out = StringIO()
        call_command("idempotency_heal", stdout=out)
        assert out.getvalue() == "healed: 2\n"
