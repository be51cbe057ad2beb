"""Looking at what requests and answers hold: with a reason, and on record."""

import pytest
from django.test import override_settings
from django.utils import timezone

from django_idempotency import audit, resolution
from django_idempotency.encryption import sealed
from django_idempotency.models import IdempotencyIncident
from django_idempotency.resolution import NotFound, Unreadable, payloads
from tests.resolution.people import ADA, events
from tests.support.records import HOUR, completed, stored

pytestmark = pytest.mark.django_db

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
ENCRYPTED = override_settings(IDEMPOTENCY={"default": {}, "payments": {"ENCRYPTION_KEYS": [KEY]}})
REASON = {"reason": "ticket 812", "actor": ADA}


def test_what_is_stored_is_shown_and_that_it_was_looked_at_is_recorded() -> None:
    found = completed(expired=-HOUR, forgotten=-HOUR, request_body=b'{"amount": 5}')
    assert resolution.reveal(found.pk, **REASON) == {
        "request_body": b'{"amount": 5}',
        "body": b'{"paid": true}',
        "operation_input": None,
    }
    assert events("act", "actor", "record_id", "reason", "before", "after") == [
        ("reveal", "ada", found.pk, "ticket 812", "{}", "{}")
    ]


@ENCRYPTED
def test_what_is_encrypted_is_decrypted_under_any_profiles_keys() -> None:
    pytest.importorskip("cryptography")
    body, under = sealed(b"paid", [KEY])
    found = stored("completed", body=body, body_key_id=under)
    assert resolution.reveal(found.pk, **REASON)["body"] == b"paid"
    with override_settings(IDEMPOTENCY={}), pytest.raises(Unreadable, match="ENCRYPTION_KEYS"):
        resolution.reveal(found.pk, **REASON)
    assert events() == ["reveal"]


def test_of_a_mismatch_both_requests_are_shown() -> None:
    now = timezone.now()
    found = IdempotencyIncident.objects.create(
        record_id=stored("completed").pk, request_body=b"a", first_body=b"b", first_seen=now, last_seen=now
    )
    assert resolution.reveal_incident(found.pk, **REASON) == {"request_body": b"a", "first_body": b"b"}
    assert events("act", "incident_id") == [("reveal", found.pk)]


def test_without_a_reason_nothing_is_shown() -> None:
    with pytest.raises(ValueError, match="reason must not be empty"):
        resolution.reveal(stored("completed").pk, reason="", actor=ADA)


def test_what_is_not_there_is_not_shown() -> None:
    with pytest.raises(NotFound):
        resolution.reveal_incident(77, **REASON)


def test_what_cannot_be_recorded_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object, **said: object) -> None:
        raise RuntimeError("no audit")

    monkeypatch.setattr(payloads, "record_event", fail)
    assert payloads.record_event is not audit.record_event
    with pytest.raises(RuntimeError, match="no audit"):
        resolution.reveal(stored("completed").pk, **REASON)
