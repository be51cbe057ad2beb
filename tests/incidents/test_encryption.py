"""Encrypted storage: what is under a key, what happens when the key is gone, and the change of keys."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from django_idempotency import rotation
from django_idempotency.checks import check_settings
from django_idempotency.encryption import KeyLost, key_id, opened, sealed
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from django_idempotency.rotation import Rekeyed, rekey
from tests.support.records import HOUR, completed, stored

fernet = pytest.importorskip("cryptography.fernet", reason="without cryptography")

OLD, NEW, OTHER = (fernet.Fernet.generate_key().decode() for _ in range(3))


def keys(*found):
    """Settings under which everything is encrypted under the first of these."""
    return override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": list(found)}})


class TestSealing:
    def test_what_is_sealed_is_opened_under_any_of_the_keys(self):
        value, under = sealed(b"paid", [OLD])
        assert (b"paid" in value, under) == (False, key_id(OLD))
        assert opened(value, under, [NEW, OLD]) == b"paid"

    def test_the_id_of_a_key_gives_nothing_of_it_away(self):
        assert len(key_id(OLD)) == 8
        assert key_id(OLD) not in OLD

    def test_without_keys_everything_stays_as_it_is(self):
        assert sealed(b"paid", []) == (b"paid", "")
        assert sealed(None, [OLD]) == (None, "")
        assert opened(b"paid", "", [OLD]) == b"paid"

    @pytest.mark.parametrize("found", [[], [NEW], [NEW, OTHER]])
    def test_without_its_key_a_value_is_lost(self, found):
        value, under = sealed(b"paid", [OLD])
        with pytest.raises(KeyLost):
            opened(value, under, found)

    def test_a_changed_value_is_lost(self):
        value, under = sealed(b"paid", [OLD])
        with pytest.raises(KeyLost):
            opened(value[:-4] + b"AAA=", under, [OLD])


@pytest.mark.django_db(transaction=True)
class TestRequests:
    def test_requests_and_answers_are_stored_encrypted_and_replayed(self, send):
        with keys(NEW, OLD):
            first, again = send(password="s3cret"), send(password="s3cret")
        assert again.content == first.content
        assert again.headers["Idempotent-Replayed"] == "true"
        record = IdempotencyRecord.objects.get()
        assert (record.request_key_id, record.body_key_id) == (key_id(NEW), key_id(NEW))
        assert b"s3cret" not in bytes(record.request_body) + bytes(record.body)
        assert first.content not in bytes(record.body)

    def test_under_encryption_a_request_is_whole_but_for_what_is_dropped(self, send):
        with keys(NEW):
            send(password="s3cret", card="4111111111111111")
        record = IdempotencyRecord.objects.get()
        plain = json.loads(opened(bytes(record.request_body), record.request_key_id, [NEW]))
        assert (plain["password"], plain["card"], record.request_whole) == ("s3cret", "4111111111111111", True)

    def test_a_verification_code_is_not_stored_even_encrypted(self, send):
        with keys(NEW):
            send(cvv="987")
        record = IdempotencyRecord.objects.get()
        plain = opened(bytes(record.request_body), record.request_key_id, [NEW])
        assert (b"987" in plain, record.request_whole) == (False, False)

    def test_an_incident_holds_what_the_record_holds(self, send):
        with keys(NEW):
            send(), send(amount=6)
        incident = IdempotencyIncident.objects.get()
        assert (incident.request_key_id, incident.first_key_id) == (key_id(NEW), key_id(NEW))
        assert json.loads(opened(bytes(incident.first_body), incident.first_key_id, [NEW])) == {"amount": 5}

    def test_without_the_key_a_replay_is_an_honest_error_and_nothing_runs(self, send, caplog):
        with keys(OLD):
            send()
        with keys(NEW):
            lost = send()
        assert (lost.status_code, lost.json()["code"]) == (503, "store-unavailable")
        assert "cannot be read right now" in lost.json()["detail"]
        assert f"key {key_id(OLD)} is not in ENCRYPTION_KEYS" in caplog.text
        with keys(NEW, OLD):
            assert send().headers["Idempotent-Replayed"] == "true"

    def test_answers_from_before_the_first_key_are_replayed(self, send):
        first = send()
        with keys(NEW):
            assert send().content == first.content


@pytest.mark.django_db(transaction=True)
class TestRekey:
    @pytest.fixture
    def under_old(self):
        """A record whose request and answer are under the old key."""
        request, answer = sealed(b"request", [OLD]), sealed(b"answer", [OLD])
        return completed(
            expired=-HOUR,
            forgotten=-2 * HOUR,
            request_body=request[0],
            request_key_id=request[1],
            body=answer[0],
            body_key_id=answer[1],
        )

    def read(self, *found):
        record = IdempotencyRecord.objects.get()
        pairs = [(record.request_body, record.request_key_id), (record.body, record.body_key_id)]
        return [opened(bytes(value), under, found) for value, under in pairs]

    def test_everything_is_under_the_newest_key_then(self, under_old):
        with keys(NEW, OLD):
            assert rekey() == Rekeyed(rekeyed=2)
            assert rekey() == Rekeyed()
        assert self.read(NEW) == [b"request", b"answer"]

    def test_what_was_not_encrypted_is(self):
        completed(expired=-HOUR, forgotten=-2 * HOUR, request_body=b"request", body=b"answer")
        with keys(NEW):
            assert rekey() == Rekeyed(rekeyed=2)
        assert self.read(NEW) == [b"request", b"answer"]

    def test_incidents_are_too(self, send):
        with keys(OLD):
            send(), send(amount=6)
        with keys(NEW, OLD):
            assert rekey() == Rekeyed(rekeyed=4)
        incident = IdempotencyIncident.objects.get()
        assert json.loads(opened(bytes(incident.request_body), incident.request_key_id, [NEW])) == {"amount": 6}

    def test_those_of_tasks_are_too(self):
        answer = sealed(b"answer", [OLD])
        namespaces = ["task:shop.pay", "other"]
        for name in namespaces:
            completed(expired=-HOUR, forgotten=-2 * HOUR, namespace=name, body=answer[0], body_key_id=answer[1])
        with keys(NEW, OLD):
            assert rekey() == Rekeyed(rekeyed=1)
        found = dict(IdempotencyRecord.objects.values_list("namespace", "body_key_id"))
        assert found == {"task:shop.pay": key_id(NEW), "other": key_id(OLD)}

    def test_what_cannot_be_read_is_left_and_counted(self, under_old):
        with keys(NEW):
            assert rekey() == Rekeyed(lost=2)
        assert self.read(OLD) == [b"request", b"answer"]

    def test_what_has_changed_since_it_was_read_is_left_alone(self, under_old, monkeypatch):
        def slow(*args):
            IdempotencyRecord.objects.update(body=None, body_key_id="", request_body=b"newer", request_key_id="")
            return sealed(*args)

        monkeypatch.setattr(rotation, "sealed", slow)
        with keys(NEW, OLD):
            assert rekey() == Rekeyed()
        record = IdempotencyRecord.objects.get()
        assert (bytes(record.request_body), record.body) == (b"newer", None)

    def test_a_claim_in_flight_is_left_alone(self):
        stored("processing", request_body=b"request")
        with keys(NEW):
            assert rekey() == Rekeyed()

    def test_more_than_one_batch(self, monkeypatch):
        monkeypatch.setattr(rotation, "BATCH", 2)
        for _ in range(5):
            completed(expired=-HOUR, forgotten=-2 * HOUR, body=b"answer")
        told = []
        with keys(NEW):
            assert rekey(progress=told.append) == Rekeyed(rekeyed=5)
        assert told[-1] == Rekeyed(rekeyed=5)

    def test_the_command_says_what_it_did(self, under_old):
        out = StringIO()
        with keys(NEW, OLD):
            call_command("idempotency_rekey", "--dry-run", stdout=out)
            assert out.getvalue() == "would rekey: rekeyed 2, lost 0\n"
            assert self.read(OLD) == [b"request", b"answer"]
            call_command("idempotency_rekey", stdout=out)
            assert out.getvalue().endswith("\nrekeyed: rekeyed 2, lost 0\n")

    def test_the_command_fails_where_a_key_is_lost(self, under_old):
        with keys(NEW), pytest.raises(CommandError, match="2 cannot be read"):
            call_command("idempotency_rekey", stdout=StringIO())

    def test_the_command_fails_without_keys(self):
        with pytest.raises(CommandError, match="No profile of IDEMPOTENCY has ENCRYPTION_KEYS"):
            call_command("idempotency_rekey")


class TestChecks:
    def ids(self):
        return [message.id.rpartition(".")[2] for message in check_settings(None)]

    def test_good_keys_pass(self):
        with keys(NEW, OLD):
            assert self.ids() == []

    def test_a_malformed_key_is_named_by_its_place_and_not_shown(self):
        with keys(NEW, "not-a-fernet-key"):
            assert self.ids() == ["E012"]
            assert "entry 1 is no Fernet key" in check_settings(None)[0].msg
            assert "not-a-fernet-key" not in str(check_settings(None)[0])

    def test_without_cryptography_keys_are_an_error(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "cryptography.fernet", None)
        with keys(NEW):
            assert self.ids() == ["E013"]

    def test_a_fault_in_the_setting_does_not_show_a_key(self):
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": NEW}}):
            assert self.ids() == ["E003"]
            assert NEW not in str(check_settings(None)[0])
