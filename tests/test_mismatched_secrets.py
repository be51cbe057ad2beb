"""Fingerprints made under another secret or by another release: a rotation of SECRET_KEY, and two releases side by side."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.utils import timezone

from django_idempotency import idempotent
from django_idempotency.core import fingerprints
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment

pytestmark = pytest.mark.django_db


@idempotent
def pay(request):
    return HttpResponse(str(Payment.objects.create(nonce="").pk), status=201)


def post(body=b'{"amount": 5}', *, key="abc"):
    headers = {"Idempotency-Key": key}
    request = RequestFactory().post("/pay", body, content_type="application/json", headers=headers)
    request.user = AnonymousUser()
    return pay(request)


def code(response):
    return json.loads(response.content)["code"]


OLD = {"SECRET_KEY": "old"}
ROTATED = {"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": ["old"]}
TWICE = {"SECRET_KEY": "newer", "SECRET_KEY_FALLBACKS": ["new", "old"]}
FORGOTTEN = {"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": []}
BYTES = {"SECRET_KEY": b"old", "SECRET_KEY_FALLBACKS": []}


class TestRotation:
    @pytest.mark.parametrize("now", [OLD, ROTATED, TWICE, BYTES], ids=["same", "rotated", "rotated twice", "as bytes"])
    def test_a_retry_is_replayed_under_a_secret_that_is_still_honoured(self, now):
        with override_settings(**OLD):
            first = post()
        with override_settings(**now):
            again = post()
        assert (again.content, again["Idempotent-Replayed"]) == (first.content, "true")
        assert Payment.objects.count() == 1

    def test_a_changed_payload_is_noticed_all_the_same(self):
        with override_settings(**OLD):
            post()
        with override_settings(**ROTATED):
            assert code(post(b'{"amount": 6}')) == "key-reused"

    def test_new_records_are_made_under_the_new_secret(self):
        with override_settings(**ROTATED):
            post()
        with override_settings(**FORGOTTEN):
            assert post()["Idempotent-Replayed"] == "true"

    def test_under_a_secret_that_nobody_honours_it_is_refused_and_never_run_again(self):
        with override_settings(**OLD):
            post()
        with override_settings(**FORGOTTEN):
            assert code(post()) == "key-reused"
        assert Payment.objects.count() == 1

    def test_a_worker_that_was_not_restarted_yet_does_not_run_it_again(self):
        """new worker: runs; old worker, without the new secret: refuses; new worker: replays."""
        with override_settings(**ROTATED):
            post()
        with override_settings(**OLD):
            assert code(post()) == "key-reused"
        with override_settings(**ROTATED):
            assert post()["Idempotent-Replayed"] == "true"
        assert Payment.objects.count() == 1


def as_another_release(monkeypatch, version=b"\x02"):
    monkeypatch.setattr(fingerprints, "VERSION", version)


class TestTwoReleases:
    def test_what_a_newer_release_made_is_409_and_to_be_tried_again(self, monkeypatch):
        with monkeypatch.context() as patch:
            as_another_release(patch)
            post()
        answer = post()
        assert (answer.status_code, code(answer), answer["Retry-After"]) == (409, "in-flight", "1")
        assert json.loads(answer.content)["retryable"] is True
        assert Payment.objects.count() == 1

    def test_a_changed_payload_is_not_judged_either(self, monkeypatch):
        with monkeypatch.context() as patch:
            as_another_release(patch)
            post()
        assert code(post(b'{"amount": 6}')) == "in-flight"

    def test_either_gives_its_own_answers_while_both_run(self, monkeypatch):
        first = post(key="one")
        with monkeypatch.context() as patch:
            as_another_release(patch)
            other = post(key="two")
            assert post(key="two").content == other.content
            assert code(post(key="one")) == "in-flight"
        assert post(key="one").content == first.content

    def test_one_that_died_under_the_other_release_is_not_taken_over(self, monkeypatch):
        post()
        IdempotencyRecord.objects.update(
            state="processing", token=0, claimed_at=timezone.now() - timedelta(hours=1), expires_at=None, forget_at=None
        )
        with monkeypatch.context() as patch:
            as_another_release(patch)
            assert code(post()) == "in-flight"
        assert Payment.objects.count() == 1

    def test_expired_is_expired_whoever_made_it(self, monkeypatch):
        post()
        IdempotencyRecord.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        with monkeypatch.context() as patch:
            as_another_release(patch)
            assert code(post()) == "key-expired"

    def test_every_record_has_the_version_of_its_maker(self, monkeypatch):
        post(key="one")
        as_another_release(monkeypatch, b"\x03")
        post(key="two")
        versions = {record.key: bytes(record.fingerprint)[:1] for record in IdempotencyRecord.objects.all()}
        assert versions == {"one": b"\x01", "two": b"\x03"}
