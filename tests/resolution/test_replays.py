"""A request that staff runs again: under its own key, as its own principal, once, or refused before anything is claimed."""

import json
import uuid
from datetime import timedelta
from threading import get_ident
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.test.client import MULTIPART_CONTENT
from django.utils import timezone
from django.utils.translation import get_language, override

from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from django_idempotency.resolution import Moved, NotFound, NotSent, TooLate, Unreadable, WrongState
from tests.bank.models import Payment
from tests.resolution.people import events
from tests.resolution.retries import FERNET, failed, incident, last_event, payments, post, replay
from tests.resolution.shop import TILL

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.resolution.shop")]


class TestReplay:
    def test_a_failed_request_runs_under_its_own_key_as_its_own_principal(self, buyer, user):
        answer = replay(failed(buyer))
        assert (answer.status, answer.ran, answer.kept) == (201, True, True)
        assert payments() == [("k", 5)]
        assert TILL.seen == [{"user": user.pk, "by": "ada", "dry": False, "auth": None}]

    def test_the_clients_next_retry_gets_its_answer(self, buyer):
        answer = replay(failed(buyer))
        retry = post(buyer)
        assert (retry["Idempotent-Replayed"], retry.content) == ("true", answer.body)
        assert len(payments()) == 1

    def test_a_record_that_is_gone_is_found_by_its_id(self, buyer):
        failed(buyer)
        assert replay(incident().record_id).kept

    def test_the_incident_heals_and_the_receivers_are_told(self, buyer, heard):
        number = failed(buyer)
        replay(number)
        assert incident().healed_at
        assert [(said["how"], said["incident"]["id"], said["reason"]) for said in heard] == [
            ("replay", number, "ticket 812")
        ]

    def test_it_is_audited_before_and_after(self, buyer):
        number = failed(buyer)
        TILL.does = lambda: TILL.hooks.extend(events()) or 201
        replay(number)
        assert TILL.hooks[0] == "replay"
        assert events() == ["replay", "replay-ended"]
        assert last_event() == {"status": 201, "ran": True, "kept": True, "record": str(incident().record_id)}

    def test_a_view_that_fails_again_counts_and_frees_the_key(self, buyer):
        number = failed(buyer)
        TILL.breaks()
        answer = replay(number)
        assert (answer.status, answer.ran, answer.kept) == (500, True, False)
        assert (incident().counter, incident().healed_at) == (2, None)
        assert payments() == []
        assert not IdempotencyRecord.objects.exists()

    def test_an_answer_that_is_not_kept_frees_the_key(self, buyer):
        number = failed(buyer)
        TILL.does = lambda: 400
        answer = replay(number)
        assert (answer.status, answer.ran, answer.kept) == (400, True, False)
        assert not IdempotencyRecord.objects.exists()

    def test_a_path_comes_back_as_it_was_sent(self, buyer):
        assert replay(failed(buyer, "/desk?to=b%C3%BCro&x=%2F")).kept

    def test_a_form_comes_back_with_the_key_in_its_field(self, buyer):
        form = {"content_type": "application/x-www-form-urlencoded", "headers": {"Idempotency-Key": "k"}}
        assert replay(failed(buyer, "/pay", "amount=5&idempotency_key=k", **form)).kept
        assert payments() == [("k", 5)]

    def test_a_key_of_any_characters_comes_back(self, buyer):
        number = failed(buyer, headers={"Idempotency-Key": '"a \\"b\\\\, c"'})
        assert replay(number).kept
        assert payments() == [('a "b\\, c', 5)]

    def test_its_host_comes_back(self, buyer):
        answer = replay(failed(buyer, headers={"Host": "shop.example"}))
        assert json.loads(answer.body)["to"] == "shop.example"

    def test_a_delivered_event_runs_under_the_id_that_it_brings(self, buyer):
        assert replay(failed(buyer, "/delivered", {"event": "e1", "amount": 5})).kept
        assert payments() == [("e1", 5)]

    def test_a_coroutine_that_may_run_again_does(self, buyer):
        assert replay(failed(buyer, "/coroutine")).kept
        assert payments() == [("k", 5)]
        assert TILL.seen[0]["by"] == "ada"

    def test_the_language_of_its_path_is_not_that_of_whoever_asks(self, buyer, settings):
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
        with override("en"):
            number = failed(buyer, "/de/pay")
        with override("fr"):
            assert replay(number).kept
            assert get_language() == "fr"

    def test_under_atomic_requests_a_failure_is_counted_too(self, buyer, monkeypatch):
        number = failed(buyer)
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        TILL.breaks()
        assert replay(number).status == 500
        assert (incident().counter, payments()) == (2, [])
        TILL.works()
        assert replay(number).kept

    def test_a_view_that_calls_another_one_with_its_request_runs_whole(self, buyer, settings):
        settings.IDEMPOTENCY = {"default": {}, "inner": {}}
        TILL.breaks()
        post(buyer, "/outer")
        TILL.works()
        replay(IdempotencyIncident.objects.get(namespace="default").pk)
        assert payments() == [("k", 5)]
        assert sorted(IdempotencyRecord.objects.values_list("namespace", flat=True)) == ["default", "inner"]

    def test_an_anonymous_request_stays_anonymous(self):
        replay(failed(Client(raise_request_exception=False)))
        assert TILL.seen[0]["user"] is None

    def test_no_page_has_to_vouch_for_it(self, buyer, settings):
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.csrf.CsrfViewMiddleware"]
        assert replay(failed(buyer)).kept

    def test_it_says_what_is_encrypted(self, buyer, settings):
        settings.IDEMPOTENCY = {"default": {"ENCRYPTION_KEYS": [FERNET]}}
        data = {"amount": 5, "card_number": "4111111111111111"}
        assert replay(failed(buyer, data=data)).kept

    def test_all_of_it_runs_in_a_thread_of_its_own(self, buyer):
        """So what middleware keeps for a thread, such as a language, stays that of whoever asks."""
        threads: list[int] = []
        number = failed(buyer)
        TILL.does = lambda: threads.append(get_ident()) or 201
        replay(number)
        assert threads != [get_ident()]


class TestPrincipal:
    def test_a_callable_says_who_it_is_and_with_what(self, buyer, settings):
        by_name = {
            "SCOPE": lambda request: f"name:{request.user.username}",
            "PRINCIPAL": "tests.resolution.shop.user_of",
        }
        settings.IDEMPOTENCY = {"default": by_name}
        assert replay(failed(buyer)).kept

    def test_one_that_is_deleted_is_refused(self, buyer, user):
        number = failed(buyer)
        user.delete()
        with pytest.raises(WrongState, match="Nobody has the scope"):
            replay(number)
        assert events() == []

    def test_one_that_is_closed_is_refused(self, buyer, user):
        number = failed(buyer)
        User.objects.update(is_active=False)
        with pytest.raises(WrongState, match="Nobody has the scope"):
            replay(number)

    def test_a_scope_that_nobody_knows_is_refused(self, buyer, settings):
        settings.IDEMPOTENCY = {"default": {"SCOPE": lambda request: "tenant 5"}}
        number = failed(buyer)
        with pytest.raises(WrongState, match="PRINCIPAL does not know it"):
            replay(number)

    def test_another_one_is_refused_before_anything_is_claimed(self, buyer, settings):
        other = User.objects.create_user("bob")
        number = failed(buyer)
        settings.IDEMPOTENCY = {"default": {"PRINCIPAL": lambda scope: other}}
        with pytest.raises(NotSent, match="another client"):
            replay(number)
        assert (TILL.seen, events()) == ([], ["replay", "replay-ended"])
        assert last_event() == {"error": "NotSent"}

    def test_middleware_has_not_the_last_word_on_who_it_is(self, buyer, user, settings):
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.resolution.test_replays.everybody_is_anonymous"]
        number = failed(Client(raise_request_exception=False))
        IdempotencyIncident.objects.update(scope=f"user:{user.pk}")
        with pytest.raises(NotSent, match="another client"):
            replay(number)
        IdempotencyIncident.objects.update(scope="anonymous")
        assert replay(number).kept


def everybody_is_anonymous(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        request.user = AnonymousUser()
        return get_response(request)

    return middleware


def everybody_waits(get_response: Any) -> Any:
    return lambda request: HttpResponse(status=503)


class TestRefusals:
    def refused(self, number: Any, kind: Any = WrongState, match: str | None = None, **said: Any) -> None:
        with pytest.raises(kind, match=match):
            replay(number, **said)
        assert TILL.seen == []
        assert payments() == []

    def test_a_stored_request_that_was_changed(self, buyer):
        number = failed(buyer)
        IdempotencyIncident.objects.update(request_body=b'{"amount": 500}')
        self.refused(number, NotSent, "another request")
        assert events() == ["replay", "replay-ended"]

    def test_a_stored_request_of_a_coroutine_that_was_changed(self, buyer):
        number = failed(buyer, "/coroutine")
        IdempotencyIncident.objects.update(request_body=b'{"amount": 500}')
        self.refused(number, NotSent, "another request")

    def test_a_fingerprint_of_another_secret_that_is_honoured_is_the_same_request(self, buyer, settings):
        number = failed(buyer)
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another one", [settings.SECRET_KEY]
        assert replay(number).kept

    def test_what_the_view_reads_and_nobody_has_stored(self, buyer):
        self.refused(failed(buyer, "/channel", headers={"X-Channel": "shop"}), NotSent, "reads more")

    def test_a_request_that_would_run_without_its_key(self, buyer, settings):
        number = failed(buyer, "/optional")
        IdempotencyIncident.objects.update(method="GET")
        self.refused(number, NotSent, "under another key")

    def test_a_masked_body(self, buyer):
        self.refused(failed(buyer, data={"amount": 5, "password": "x"}), match="masked")

    def test_a_form_with_files(self, buyer):
        TILL.breaks()
        buyer.post("/pay", {"amount": 5}, content_type=MULTIPART_CONTENT, headers={"Idempotency-Key": "k"})
        TILL.seen.clear()
        self.refused(incident().pk, match="multipart form")

    def test_what_was_not_stored(self, buyer, settings):
        settings.IDEMPOTENCY = {"default": {"STORE_REQUEST": False}}
        self.refused(failed(buyer), match="not stored")

    def test_what_is_encrypted_under_a_key_that_is_lost(self, buyer, settings):
        settings.IDEMPOTENCY = {"default": {"ENCRYPTION_KEYS": [FERNET]}}
        number = failed(buyer)
        settings.IDEMPOTENCY = {"default": {}}
        self.refused(number, Unreadable)

    def test_what_has_completed(self, buyer):
        number = failed(buyer)
        post(buyer)
        Payment.objects.all().delete()
        TILL.seen.clear()
        self.refused(number, match="has completed")
        self.refused(incident().record_id, match="has completed")

    def test_what_is_healed(self, buyer):
        number = failed(buyer)
        IdempotencyIncident.objects.update(healed_at=timezone.now())
        self.refused(number, match="closed already")

    def test_what_is_older_than_a_key_is_remembered(self, buyer):
        number = failed(buyer)
        almost = timedelta(days=33) - timedelta(minutes=1)
        IdempotencyIncident.objects.update(last_seen=timezone.now() - timedelta(days=33))
        self.refused(number, TooLate)
        IdempotencyIncident.objects.update(last_seen=timezone.now() - almost)
        assert replay(number).kept

    def test_what_has_happened_again_since_it_was_shown(self, buyer):
        number = failed(buyer)
        IdempotencyIncident.objects.update(counter=2)
        self.refused(number, Moved, seen=1)
        assert replay(number, seen=2).kept

    def test_a_mismatch(self, buyer):
        post(buyer)
        post(buyer, data={"amount": 6})
        with pytest.raises(WrongState, match="another way"):
            replay(incident("mismatch").pk)

    def test_a_path_without_an_idempotent_view(self, buyer):
        number = failed(buyer)
        for path in ("/bare", "/gone"):
            IdempotencyIncident.objects.update(path=path)
            self.refused(number, match="No idempotent view")

    def test_a_view_that_keeps_its_keys_elsewhere(self, buyer, settings):
        number = failed(buyer)
        IdempotencyIncident.objects.update(namespace="events")
        self.refused(number, match="No idempotent view")

    def test_what_something_in_front_of_the_view_answers(self, buyer, settings):
        number = failed(buyer)
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.resolution.test_replays.everybody_waits"]
        self.refused(number, NotSent, "answered 503")

    def test_what_is_asked_for_inside_a_transaction(self, buyer):
        number = failed(buyer)
        with transaction.atomic(), pytest.raises(ImproperlyConfigured, match="inside a database transaction"):
            replay(number)
        assert events() == []

    def test_nothing_under_this_id(self):
        self.refused(uuid.uuid4(), NotFound)
        self.refused(17, NotFound)

    def test_several_requests_under_one_key(self, buyer):
        failed(buyer)
        TILL.breaks()
        post(buyer, data={"amount": 6})
        TILL.seen.clear()
        self.refused(IdempotencyIncident.objects.all()[0].record_id, match="Several")

    def test_without_a_reason(self, buyer):
        number = failed(buyer)
        with pytest.raises(ValueError, match="reason"):
            replay(number, reason=" ")
        assert (TILL.seen, events()) == ([], [])
