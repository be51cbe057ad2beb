"""What an application hears of each request, and that no receiver can break one."""

import logging

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import RequestFactory

from django_idempotency import Kept, idempotent, signals
from django_idempotency.backends import MemoryBackend
from django_idempotency.core.keys import record_id
from django_idempotency.exceptions import KeyInvalid, KeyReused, TransactionBroken
from tests.bank.models import Payment

pytestmark = pytest.mark.django_db(transaction=True)

OF_REQUESTS = ("claimed", "completed", "released", "replayed", "rejected", "missing")


@idempotent(required=False)
def pay(request):
    """Make a payment and end as the header says."""
    Payment.objects.create(nonce="")
    end = request.headers.get("X-End", "paid")
    if end == "raise":
        raise RuntimeError("a bug in the view")
    if end == "commit":
        connection.cursor().execute("COMMIT")
    if end == "kept":
        raise Kept(HttpResponse(status=503))
    return HttpResponse(end, status=400 if end == "invalid" else 201)


def post(body=b"amount=5", *, key="0123456789", end="paid"):
    request = RequestFactory().post("/pay", body, content_type="text/plain", headers={"X-End": end})
    request.user = AnonymousUser()
    if key is not None:
        request.META["HTTP_IDEMPOTENCY_KEY"] = key
    return pay(request)


@pytest.fixture
def heard():
    """Every signal of a request: its name and its arguments."""
    found, receivers = [], []
    for name in OF_REQUESTS:

        def receiver(name=name, **arguments):
            found.append((name, arguments))

        getattr(signals, name).connect(receiver)
        receivers.append((getattr(signals, name), receiver))
    yield found
    for signal, receiver in receivers:
        signal.disconnect(receiver)


def names(heard):
    return [name for name, _ in heard]


class TestWhatIsHeard:
    def test_of_a_first_request_its_claim_and_its_completion(self, heard):
        answer = post()
        assert names(heard) == ["claimed", "completed"]
        assert heard[0][1]["attempt"] == 1
        assert heard[1][1]["response"] is answer

    def test_of_a_retry_its_replay(self, heard):
        post()
        heard.clear()
        answer = post()
        assert names(heard) == ["replayed"]
        assert heard[0][1]["response"] is answer

    def test_of_what_is_not_kept_its_release_with_the_answer(self, heard):
        answer = post(end="invalid")
        assert names(heard) == ["claimed", "released"]
        assert (heard[1][1]["response"], heard[1][1]["error"]) == (answer, None)

    def test_of_a_bug_its_release_with_the_error(self, heard):
        with pytest.raises(RuntimeError) as raised:
            post(end="raise")
        assert names(heard) == ["claimed", "released"]
        assert (heard[1][1]["response"], heard[1][1]["error"]) == (None, raised.value)

    def test_of_a_kept_answer_its_completion(self, heard):
        post(end="kept")
        assert names(heard) == ["claimed", "completed"]

    def test_of_a_refusal_its_error(self, heard):
        post()
        heard.clear()
        post(b"amount=6")
        post(key="a b")
        assert names(heard) == ["rejected", "rejected"]
        assert [type(arguments["error"]) for _, arguments in heard] == [KeyReused, KeyInvalid]
        assert [arguments["operation"] is None for _, arguments in heard] == [False, True]

    def test_of_a_request_without_a_key_that_it_ran_unprotected(self, heard):
        post(key=None)
        assert names(heard) == ["missing"]
        assert heard[0][1]["request"].path == "/pay"

    def test_sender_request_and_operation_come_with_each(self, heard):
        post()
        for _, arguments in heard:
            assert arguments["sender"] is pay
            assert arguments["request"].path == "/pay"
            operation = arguments["operation"]
            assert operation.id == record_id("default", "anonymous", "0123456789")
            assert (operation.namespace, operation.scope, operation.key) == ("default", "anonymous", "0123456789")
            assert (operation.method, operation.path) == ("POST", "/pay")

    def test_a_safe_request_is_not_worth_a_signal(self, heard):
        request = RequestFactory().get("/pay")
        assert pay(request).status_code == 201
        assert heard == []


class TestInAnOuterTransaction:
    @pytest.mark.parametrize(("end", "last"), [("paid", "completed"), ("invalid", "released")])
    def test_the_outcome_is_heard_after_its_commit(self, heard, end, last):
        with transaction.atomic():
            post(end=end)
            assert names(heard) == ["claimed"]
        assert names(heard) == ["claimed", last]

    def test_nothing_is_completed_where_it_is_rolled_back(self, heard):
        with transaction.atomic():
            post()
            transaction.set_rollback(True)
        assert names(heard) == ["claimed"]


def fail():
    raise RuntimeError("a broken observer")


def spoil_the_transaction():
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM nowhere")


def connected(act):
    """Let every signal find a receiver that does this."""

    def receiver(**arguments):
        act()

    for name in OF_REQUESTS:
        getattr(signals, name).connect(receiver)
    yield
    for name in OF_REQUESTS:
        getattr(signals, name).disconnect(receiver)


@pytest.fixture
def broken():
    yield from connected(fail)


@pytest.fixture
def spoil():
    """Receivers whose own statement fails, and with it, on PostgreSQL, the transaction that it is in."""
    yield from connected(spoil_the_transaction)


class TestWithoutAutocommit:
    @pytest.mark.parametrize(("end", "status"), [("paid", 201), ("invalid", 400)])
    def test_nobody_hears_of_the_end_and_the_client_gets_its_answer(self, heard, end, status):
        transaction.set_autocommit(False)
        try:
            assert post(end=end).status_code == status
            transaction.commit()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        assert names(heard) == ["claimed"]
        assert Payment.objects.count() == (status == 201)


class TestReceiversThatRaise:
    def test_they_break_no_payment_and_no_replay(self, broken):
        first, again = post(), post()
        assert (first.status_code, again["Idempotent-Replayed"]) == (201, "true")
        assert Payment.objects.count() == 1

    def test_they_break_no_release_and_no_refusal(self, broken):
        assert post(end="invalid").status_code == 400
        with pytest.raises(RuntimeError, match="a bug in the view"):
            post(end="raise")
        assert post(key=" ").status_code == 400
        assert post(key=None).status_code == 201
        assert post().status_code == 201

    def test_they_break_nothing_after_an_outer_commit(self, broken):
        with transaction.atomic():
            post()
        assert post()["Idempotent-Replayed"] == "true"

    def test_one_that_breaks_does_not_keep_another_from_hearing(self, broken, heard):
        post()
        assert names(heard) == ["claimed", "completed"]

    def test_what_fails_in_the_database_fails_nothing_else(self, spoil):
        with transaction.atomic():
            assert post().status_code == 201
            assert post()["Idempotent-Replayed"] == "true"
            assert post(key=" ").status_code == 400
            assert post(key=None).status_code == 201
        assert Payment.objects.count() == 2

    def test_they_are_logged(self, broken, caplog):
        post()
        assert "a broken observer" in caplog.text


class TestOtherStores:
    def test_a_store_that_is_no_database_lets_hear_the_same(self, heard, settings):
        settings.IDEMPOTENCY = {"default": {"BACKEND": "django_idempotency.backends.MemoryBackend"}}
        MemoryBackend.clear()
        post()
        post()
        post(b"amount=6")
        post(key="another", end="invalid")
        assert names(heard) == ["claimed", "completed", "replayed", "rejected", "claimed", "released"]


class TestUnknownOutcomes:
    def test_a_view_that_commits_on_its_own_is_not_said_to_be_released(self, heard):
        with pytest.raises(TransactionBroken):
            post(end="commit")
        assert names(heard) == ["claimed"]
        assert post(end="commit").status_code == 409
        assert names(heard) == ["claimed", "rejected"]


class TestLog:
    def test_a_refusal_is_logged_with_a_shortened_key_and_no_body(self, caplog):
        caplog.set_level(logging.INFO, logger="django_idempotency")
        post(b"card=4111")
        post(b"card=4222")
        assert "Refused key-reused for key 0123…" in caplog.text
        assert "0123456789" not in caplog.text
        assert "card" not in caplog.text

    def test_one_without_a_key_is_logged_without(self, caplog):
        caplog.set_level(logging.INFO, logger="django_idempotency")
        post(key=" ")
        assert "Refused key-invalid for key -" in caplog.text
