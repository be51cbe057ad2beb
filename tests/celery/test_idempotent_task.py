"""`idempotent_task` in one process: its keys, its results, its errors, and when Celery is to try again."""

import itertools
import json
from contextlib import contextmanager
from datetime import timedelta

import pytest
from celery.exceptions import Ignore, Reject, Retry
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_idempotency import exceptions, tasks
from django_idempotency.erasure import erase
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from django_idempotency.tasks import idempotent_task
from tests.bank.models import Payment
from tests.celery import shop
from tests.support.records import HOUR
from tests.support.threads import elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = (f"tests.task-{number}" for number in itertools.count(1))


@pytest.fixture
def task():
    """Make an idempotent task that pays, and returns what it was called with."""

    def make(function=None, *, key="{order}", **options):
        def pay(order, amount=5, **more):
            Payment.objects.create(key=str(order), amount=amount)
            return [order, amount]

        function = function or pay
        function.__name__ = "pay"  # Celery cannot take a lambda
        return idempotent_task(key=key, name=next(NAMES), **options)(function)

    return make


@contextmanager
def delivered(task, *args, **request):
    """Be a worker that was given this task."""
    task.push_request(called_directly=False, args=args, kwargs={}, delivery_info={}, **request)
    try:
        yield
    finally:
        task.pop_request()


def expired():
    """Let every result expire."""
    now = timezone.now()
    IdempotencyRecord.objects.update(expires_at=now - HOUR, forget_at=now + HOUR)


class TestResults:
    def test_a_second_call_gets_the_result_of_the_first(self, task):
        pay = task()
        assert pay("a") == pay("a") == ["a", 5]
        assert Payment.objects.count() == 1

    def test_the_first_call_gets_its_result_as_the_second_will(self, task):
        pay = task(lambda order: {"pair": (1, 2), 3: order})
        assert pay("a") == pay("a") == {"pair": [1, 2], "3": "a"}

    def test_a_result_of_none_is_a_result(self, task):
        calls = []

        def pay(order):
            calls.append(order)

        pay = task(pay)
        assert (pay("a"), pay("a"), calls) == (None, None, ["a"])

    @pytest.mark.parametrize("result", [{1}, float("nan"), Payment(), {(1, 2): 3}, b"bytes"], ids=str)
    def test_a_result_that_is_no_json_undoes_the_task(self, task, result):
        def pay(order):
            Payment.objects.create(key=order)
            return result

        with pytest.raises(TypeError, match="returns JSON, because duplicates are given the same"):
            task(pay)("a")
        assert (Payment.objects.count(), IdempotencyRecord.objects.count()) == (0, 0)

    def test_a_result_too_large_to_be_kept_undoes_the_task(self, task, settings):
        settings.IDEMPOTENCY = {"default": {"MAX_RESPONSE": 10}}
        with pytest.raises(ValueError, match="more than MAX_RESPONSE"):
            task()("a" * 20)
        assert Payment.objects.count() == 0
        assert task()("a", 1) == ["a", 1]

    def test_a_profile_says_where_and_for_how_long(self, task, settings):
        settings.IDEMPOTENCY = {"jobs": {"RETENTION": timedelta(days=9), "TOMBSTONE": timedelta(0)}}
        task(profile="jobs")("a")
        record = IdempotencyRecord.objects.get()
        assert (record.expires_at - record.completed_at, record.forget_at) == (timedelta(days=9), record.expires_at)

    def test_the_record_tells_the_task(self, task):
        pay = task()
        pay("a")
        record = IdempotencyRecord.objects.get()
        assert (record.namespace, record.scope, record.key) == (f"task:{pay.name}", "task", "a")
        assert (record.method, record.path, record.state, record.body) == ("TASK", pay.name, "completed", b'["a", 5]')

    def test_it_costs_two_statements_and_a_duplicate_one(self, task):
        if connection.vendor != "postgresql":
            pytest.skip("SQLite is asked before the transaction, too")
        pay = task()
        pay("to prepare the statements")
        counts = []
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                pay("a")
            counts.append(len([query for query in queries if query["sql"] not in ("BEGIN", "COMMIT")]))
        assert counts == [2 + 1, 1]

    def test_nobody_sees_a_claim_that_would_be_in_the_way_if_the_worker_died(self, task, settings):
        settings.IDEMPOTENCY = {"default": {"CLAIM": "committed"}}
        seen = []

        def pay(order):
            seen.append(elsewhere(IdempotencyRecord.objects.count))

        task(pay)("a")
        assert (seen, IdempotencyRecord.objects.count()) == ([0], 1)

    def test_two_tasks_do_not_share_their_keys(self, task):
        task()("a")
        task()("a")
        assert Payment.objects.count() == 2

    def test_inside_a_transaction_of_the_caller_s_it_is_undone_with_it(self, task):
        pay = task()
        with transaction.atomic():
            pay("a")
            transaction.set_rollback(True)
        assert (Payment.objects.count(), IdempotencyRecord.objects.count()) == (0, 0)


class TestFailures:
    def test_an_exception_undoes_the_task_and_frees_the_key(self, task):
        def pay(order):
            Payment.objects.create(key=order)
            if Payment.objects.filter(key="fail").exists():
                raise LookupError(order)

        failing = task(pay)
        Payment.objects.create(key="fail")
        with pytest.raises(LookupError):
            failing("a")
        assert (Payment.objects.count(), IdempotencyRecord.objects.count()) == (1, 0)
        Payment.objects.all().delete()
        failing("a")
        assert Payment.objects.count() == 1

    @pytest.mark.parametrize(("called", "again"), [(("a", 5), ("a", 6)), (("a",), ("a", 5, {"note": 1}))])
    def test_other_arguments_under_the_same_key_are_refused(self, task, called, again):
        pay = task(lambda order, amount=5, more=None: None)
        pay(*called)
        with pytest.raises(exceptions.KeyReused):
            pay(*again)

    def test_arguments_are_the_same_by_name_and_by_position(self, task):
        pay = task()
        assert pay("a", 6) == pay(amount=6, order="a") == ["a", 6]

    def test_a_fingerprint_of_an_earlier_secret_is_known(self, task, settings):
        pay = task()
        pay("a")
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
        assert pay("a") == ["a", 5]

    def test_a_call_after_the_retention_is_refused_and_not_run_again(self, task):
        pay = task()
        pay("a")
        expired()
        with pytest.raises(exceptions.KeyExpired):
            pay("a")
        assert Payment.objects.count() == 1

    def test_a_task_that_commits_on_its_own_is_never_run_again(self):
        with pytest.raises(exceptions.TransactionBroken):
            shop.pay("a", then="commit")
        with pytest.raises(exceptions.OutcomeUnknown):
            shop.pay("a", then="commit")
        assert Payment.objects.count() == 1

    @pytest.mark.parametrize("retried", [Exception, exceptions.IdempotencyError])
    def test_a_refusal_is_not_retried_whatever_the_task_retries(self, task, retried):
        pay = task(autoretry_for=(retried,), default_retry_delay=0)
        pay("a")
        with delivered(pay, "a", 6), pytest.raises(exceptions.KeyReused):
            pay.run("a", 6)

    def test_the_task_s_own_exceptions_are_retried_as_it_says(self):
        assert shop.insist.apply(["a"]).get()["amount"] == 2
        assert Payment.objects.count() == 1


class TestForTheStaff:
    def kinds(self):
        return list(IdempotencyIncident.objects.values_list("kind", "error"))

    def test_other_arguments_are_an_incident(self, task):
        pay = task()
        pay("a")
        with pytest.raises(exceptions.KeyReused):
            pay("a", 6)
        assert self.kinds() == [("mismatch", "")]
        incident = IdempotencyIncident.objects.get()
        asked = [json.loads(bytes(body)) for body in (incident.first_body, incident.request_body)]
        assert asked == [{"order": "a"}, {"order": "a", "amount": 6}]

    def test_arguments_are_stored_without_what_must_not_be(self, task, settings):
        settings.IDEMPOTENCY = {"default": {"MASK": ["/note"]}}

        def pay(order, cvc, card, note):
            pass

        task(pay)("a", "123", card={"number": "4111111111111111"}, note="private")
        record = IdempotencyRecord.objects.get()
        stored = json.loads(bytes(record.request_body))
        assert (stored["order"], stored["cvc"], stored["note"]) == ("a", "[dropped]", "[masked]")
        assert b"411111111111" not in bytes(record.request_body)
        assert record.request_whole is False

    def test_arguments_are_not_stored_where_requests_are_not(self, task, settings):
        settings.IDEMPOTENCY = {"default": {"STORE_REQUEST": False}}
        task()("a")
        assert IdempotencyRecord.objects.get().request_body is None

    def test_arguments_that_cannot_be_stored_fail_no_task(self, task, monkeypatch):
        monkeypatch.setattr("django_idempotency.masking.Masking.data", lambda *args: 1 / 0)
        assert task()("a") == ["a", 5]
        assert IdempotencyRecord.objects.get().request_body is None

    def test_a_result_that_was_erased_is_an_honest_error_and_not_made_anew(self, task):
        (pay := task())("a")
        assert erase("task").records == 1
        with pytest.raises(exceptions.KeyExpired):
            pay("a")
        assert Payment.objects.count() == 1

    def test_a_failed_attempt_is_an_incident_that_heals_with_the_next(self, task):
        failures = [LookupError("no such order")]

        def pay(order):
            if failures:
                raise failures.pop()

        failing = task(pay)
        with pytest.raises(LookupError):
            failing("a")
        assert self.kinds() == [("failed", "LookupError")]
        assert tasks.heal_incidents() == {"healed": 0}
        failing("a")
        assert tasks.heal_incidents() == {"healed": 1}

    @pytest.mark.parametrize("end", [Retry(), Ignore(), Reject()], ids=lambda end: type(end).__name__)
    def test_another_attempt_that_the_task_asks_for_is_none(self, task, end):
        def pay(order):
            Payment.objects.create(key=order)
            raise end

        with pytest.raises(type(end)):
            task(pay)("a")
        assert (self.kinds(), Payment.objects.count()) == ([], 0)


class TestEncryption:
    @pytest.fixture
    def key(self):
        return pytest.importorskip("cryptography.fernet").Fernet.generate_key().decode()

    def test_a_result_is_stored_encrypted_and_read_again(self, task, settings, key):
        settings.IDEMPOTENCY = {"default": {"ENCRYPTION_KEYS": [key]}}
        pay = task()
        assert pay("a") == pay("a") == ["a", 5]
        record = IdempotencyRecord.objects.get()
        assert b'["a", 5]' not in bytes(record.body)
        assert b"order" not in bytes(record.request_body)

    def test_a_result_whose_key_is_lost_is_asked_for_again_later_and_not_made_anew(self, task, settings, key):
        settings.IDEMPOTENCY = {"default": {"ENCRYPTION_KEYS": [key]}}
        pay = task()
        pay("a")
        settings.IDEMPOTENCY = {}
        with delivered(pay, "a"), pytest.raises(Retry) as retry:
            pay.run("a")
        assert isinstance(retry.value.exc, exceptions.StoreUnavailable)
        assert Payment.objects.count() == 1


class TestAnotherAttempt:
    @pytest.mark.parametrize(("retries", "seconds"), [(0, 1), (1, 2), (5, 32), (15, 600)])
    def test_a_delivery_while_the_first_is_running_is_sent_again_after_a_growing_pause(self, task, retries, seconds):
        def pay(order):
            with delivered(first, order, retries=retries):
                return first.run(order)

        first = task(pay, max_retries=None)
        with pytest.raises(Retry) as retry:
            first("a")
        assert retry.value.when == seconds
        assert isinstance(retry.value.exc, exceptions.InFlight)

    def test_it_ends_with_the_tasks_own_limit(self, task):
        def pay(order):
            with delivered(first, order, retries=3):
                return first.run(order)

        first = task(pay, max_retries=3)
        with pytest.raises(exceptions.InFlight):
            first("a")

    def test_a_direct_call_is_told_that_the_first_is_running(self, task):
        def pay(order):
            return first(order)

        first = task(pay)
        with pytest.raises(exceptions.InFlight):
            first("a")

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_a_database_that_is_gone_is_asked_again_later(self, task, settings, broken_database):
        settings.IDEMPOTENCY = {"default": {"DATABASE": broken_database}}
        pay = task()
        with delivered(pay, "a"), pytest.raises(Retry) as retry:
            pay.run("a")
        assert isinstance(retry.value.exc, exceptions.StoreUnavailable)
        assert retry.value.when == 5


class TestKeys:
    def test_a_callable_is_given_the_arguments(self, task):
        pay = task(key=lambda order, amount=5: f"{order}-{amount}")
        pay("a")
        pay("a", amount=6)
        assert set(IdempotencyRecord.objects.values_list("key", flat=True)) == {"a-5", "a-6"}

    def test_a_format_string_sees_defaults_and_members(self, task):
        pay = task(key="{order[id]}/{amount:03d}")
        pay({"id": 7})
        assert IdempotencyRecord.objects.get().key == "7/005"

    @pytest.mark.parametrize("key", [None, 7, "", "a" * 256, "a\0b", b"a"])
    def test_a_key_that_is_no_short_text_is_refused_before_anything_runs(self, task, key):
        with pytest.raises(exceptions.KeyInvalid):
            task(key=lambda order: key)("a")
        assert Payment.objects.count() == 0

    def test_none_is_no_key(self, task):
        with pytest.raises(exceptions.KeyInvalid, match="needs order, which is None"):
            task()(None)

    @pytest.mark.parametrize("key", ["{other}", "{0}", "{}", "{order}-{other.id}"])
    def test_a_format_string_over_something_else_is_refused_where_it_is_written(self, task, key):
        with pytest.raises(TypeError, match="the task has no argument"):
            task(key=key)

    def test_a_key_that_is_the_same_for_all_arguments_is_refused(self, task):
        with pytest.raises(TypeError, match="is the same for all arguments"):
            task(key="orders")

    def test_a_name_too_long_for_its_column_is_refused(self):
        @idempotent_task(key="{order}", name="n" * 96)
        def pay(order):
            Payment.objects.create(key=order)

        with pytest.raises(ImproperlyConfigured, match="95 characters at most"):
            pay("a")


class TestOptions:
    def test_a_message_is_acknowledged_once_the_task_has_ended(self, task):
        pay = task()
        assert (pay.acks_late, pay.reject_on_worker_lost) == (True, True)

    def test_the_project_may_say_otherwise(self, task):
        pay = task(reject_on_worker_lost=False, acks_late=False, rate_limit="9/m")
        assert (pay.acks_late, pay.reject_on_worker_lost, pay.rate_limit) == (False, False, "9/m")

    def test_a_bound_task_finds_itself(self, task):
        def pay(self, order):
            return [self.name, order]

        bound = task(pay, bind=True)
        assert bound("a") == bound("a") == [bound.name, "a"]

    @pytest.mark.parametrize("bind", [False, True])
    def test_wrong_arguments_are_refused_before_anything_is_sent(self, task, bind):
        pay = task((lambda self, order: None) if bind else (lambda order: None), bind=bind)
        with pytest.raises(TypeError, match="too many positional arguments"):
            pay.delay("a", "b")
        pay.delay("a")
