"""A key that the view's own callable takes from the request, and what it matches."""

import json

import pytest
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings

from django_idempotency import idempotent, signals
from django_idempotency.core.policies import Policy
from django_idempotency.http import Exchange
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment
from tests.support.records import HOUR
from tests.webhooks.views import endpoint, event_id

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.webhooks.urls")]


def deliver(event="evt_1", path="/events", *, headers=None, client=None, **more):
    """Deliver an event, whose body may be another each time."""
    body = event if isinstance(event, bytes) else json.dumps({"id": event, **more})
    return (client or Client()).post(path, body, content_type="application/json", headers=headers)


def send(view, body=b"{}", **headers):
    request = RequestFactory().post("/hook", body, content_type="application/json", headers=headers)
    return view(request)


def expire(**columns):
    """Move every record's answer into the past."""
    for record in IdempotencyRecord.objects.all():
        past = {"expires_at": record.completed_at - HOUR, **columns}
        IdempotencyRecord.objects.filter(pk=record.pk).update(**past)


def created():
    return HttpResponse(status=201)


class TestMatching:
    def test_a_redelivered_event_runs_once_and_gets_the_first_answer(self):
        first, again = deliver(amount=5), deliver(amount=5)
        assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert Payment.objects.count() == 1

    @pytest.mark.parametrize(
        "other", [{"attempt": 2, "amount": 7}, {"path": "/events?attempt=2"}], ids=["body", "query"]
    )
    def test_a_second_delivery_that_differs_is_the_same_event(self, other):
        first, again = deliver(amount=5), deliver(**other)
        assert (again.status_code, again.content) == (200, first.content)
        assert Payment.objects.count() == 1

    def test_a_new_secret_key_makes_no_mismatch_of_a_redelivery(self):
        deliver()
        with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[]):
            assert deliver().status_code == 200
        assert Payment.objects.count() == 1

    def test_other_events_are_other_keys(self):
        assert [deliver(f"evt_{number}").status_code for number in range(3)] == [200] * 3
        assert Payment.objects.count() == 3

    def test_one_event_delivered_to_two_endpoints_is_taken_by_both(self):
        deliver(path="/events")
        assert "Idempotent-Replayed" not in deliver(path="/other/events").headers
        assert Payment.objects.count() == 2

    def test_a_client_cannot_claim_an_event_through_a_view_that_takes_the_header(self):
        plain = idempotent(lambda request: created())
        assert send(plain, **{"Idempotency-Key": "evt_1"}).status_code == 201
        assert send(endpoint(lambda request: "evt_1", lambda request: created())).status_code == 201
        assert IdempotencyRecord.objects.filter(key="evt_1").count() == 2

    def test_the_header_of_clients_is_not_asked(self):
        deliver(headers={"Idempotency-Key": "mine"})
        assert deliver(headers={"Idempotency-Key": "another"}).headers["Idempotent-Replayed"] == "true"
        assert list(IdempotencyRecord.objects.values_list("key", "scope")) == [("evt_1", "anonymous@/events")]

    def test_two_tenants_of_one_endpoint_are_told_apart_by_scope(self):
        view = endpoint(event_id, scope=lambda request: request.headers["X-Tenant"])
        answers = [send(view, b'{"id": "evt_1"}', **{"X-Tenant": name}) for name in ("acme", "other", "acme")]
        assert ["Idempotent-Replayed" in answer for answer in answers] == [False, False, True]

    def test_safe_methods_are_not_asked_for_an_id(self):
        view = endpoint(lambda request: 1 / 0, lambda request: created())
        assert view(RequestFactory().get("/hook")).status_code == 201

    def test_what_the_view_returns_to_say_not_now_or_raises_frees_the_id(self):
        assert deliver(status=503).status_code == 503
        assert deliver(then="raise", client=Client(raise_request_exception=False)).status_code == 500
        assert deliver().status_code == 200
        assert Payment.objects.count() == 1


class TestLateDeliveries:
    @pytest.mark.parametrize("columns", [{}, {"state": "tombstone", "status": None, "body": None}], ids=str)
    def test_after_its_answer_has_expired_an_event_is_acknowledged_and_not_run(self, columns):
        deliver(status=201)
        expire(**columns)
        late = deliver()
        assert (late.status_code, late.content) == (200, b"")
        assert late.headers["Idempotent-Replayed"] == "true"
        assert late.headers["Idempotent-Replay-Body"] == "omitted"
        assert late.headers["Cache-Control"] == "no-store"
        assert Payment.objects.count() == 1

    def test_a_late_delivery_is_signalled_as_a_replay(self):
        seen = []

        def receive(sender, operation, response, **kwargs):
            seen.append((operation.key, response.status_code))

        deliver()
        expire()
        signals.replayed.connect(receive)
        try:
            deliver()
        finally:
            signals.replayed.disconnect(receive)
        assert seen == [("evt_1", 200)]

    def test_an_event_of_unknown_outcome_is_not_acknowledged(self):
        deliver()
        IdempotencyRecord.objects.update(state="unknown", status=None, expires_at=None, forget_at=None)
        answer = deliver()
        assert (answer.status_code, answer.json()["code"]) == (409, "outcome-unknown")


class TestTaking:
    def problem(self, key, body=b"{}", **choices):
        answer = send(endpoint(key, **choices), body)
        assert not IdempotencyRecord.objects.exists()
        assert not Payment.objects.exists()
        return answer.status_code, json.loads(answer.content)["code"]

    @pytest.mark.parametrize("found", [None, ""])
    def test_no_id_is_a_missing_key(self, found):
        assert self.problem(lambda request: found) == (400, "key-missing")

    def test_the_refusal_speaks_of_the_id_and_not_of_a_header(self):
        detail = json.loads(send(endpoint(lambda request: None)).content)["detail"]
        assert "id that this endpoint takes" in detail
        assert "header" not in detail.lower()

    def test_without_an_id_an_endpoint_that_does_not_require_one_runs_unprotected(self):
        assert [deliver(path="/optional").status_code for _ in range(2)] == [200, 200]
        assert Payment.objects.count() == 2

    @pytest.mark.parametrize(
        "body", [b"{}", b"[]", b"3", b'"evt_1"', b"null", b"not json", b"\xff\xfe", b"", b"[" * 100_000]
    )
    def test_a_body_without_the_id_is_an_invalid_key_or_body_and_nothing_is_stored(self, body):
        status, code = self.problem(event_id, body)
        assert (status, code in ("key-invalid", "body-invalid")) == (400, True)

    @pytest.mark.parametrize("found", [7, True, False, 0, ["evt_1"], {}, b"evt_1"], ids=repr)
    def test_an_id_that_is_no_text_is_invalid(self, found):
        assert self.problem(lambda request: found) == (400, "key-invalid")

    @pytest.mark.parametrize("found", ["x" * 256, "evt\n1", "evt\0", "ä", "\x7f"], ids=ascii)
    def test_the_rules_of_keys_hold(self, found):
        assert self.problem(lambda request: found) == (400, "key-invalid")

    @pytest.mark.parametrize("found", ["x" * 255, 'a "quoted", spaced id', '"quoted"', "id_1"])
    def test_an_id_is_taken_as_it_is(self, found):
        send(endpoint(lambda request: found, lambda request: created()))
        assert IdempotencyRecord.objects.get().key == found

    def test_the_rules_for_clients_keys_do_not_bind_a_sender_of_events(self):
        rules = {"STRICT_KEYS": True, "MIN_KEY_LENGTH": 20, "UUID_KEYS": True}
        with override_settings(IDEMPOTENCY={"default": rules}):
            assert deliver().status_code == 200

    @pytest.mark.parametrize("error", [PermissionDenied, ZeroDivisionError])
    def test_what_else_the_callable_raises_comes_out_as_it_is(self, error):
        def refuse(request):
            raise error

        with pytest.raises(error):
            send(endpoint(refuse))
        assert not IdempotencyRecord.objects.exists()

    def test_the_log_names_the_callable_and_holds_nothing_of_the_body(self, caplog):
        self.problem(lambda request: int(json.loads(request.body)["secret"]), b'{"secret": "4242 4242"}')
        self.problem(lambda request: json.loads(request.body)["pan"]["4242"]["x"], b'{"pan": {"4242": 1}}')
        assert "<lambda>" in caplog.text
        assert "4242" not in caplog.text

    def test_a_body_larger_than_max_request_is_refused_before_it_is_read(self):
        with override_settings(IDEMPOTENCY={"default": {"MAX_REQUEST": 5}}):
            assert self.problem(lambda request: 1 / 0, b"x" * 6) == (413, "body-too-large")

    def test_djangos_own_limit_is_an_answer(self):
        with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=5):
            assert self.problem(event_id, b"x" * 6) == (413, "body-too-large")

    def test_a_dotted_path_names_the_callable(self):
        view = endpoint("tests.webhooks.views.event_id", lambda request: created())
        assert send(view, b'{"id": "evt_9"}').status_code == 201
        assert IdempotencyRecord.objects.get().key == "evt_9"

    def test_a_fingerprint_beside_a_key_is_refused_at_import(self):
        with pytest.raises(ImproperlyConfigured, match="key alone"):
            idempotent(key=event_id, fingerprint=["/sent_at"])

    def test_a_path_of_any_bytes_makes_a_scope_that_databases_take(self):
        request = RequestFactory().post("/")
        request.path = "/hooks/\0/ä\n"
        operation = Exchange(request, Policy(key=event_id)).operation("evt_1")
        assert operation.scope == "anonymous@/hooks/%00/%C3%A4%0A"
