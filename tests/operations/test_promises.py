"""What a sceptical reader has found to be broken once."""

import sys
import traceback
import types
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import transaction
from django.test import RequestFactory
from django.utils import timezone

from django_idempotency import Respond, RetryLater, operation
from django_idempotency.models import IdempotencyMessage, IdempotencyRecord
from django_idempotency.operations import definitions
from django_idempotency.operations.recovery import Resumed, resume
from tests.bank.models import Payment
from tests.operations.tills import GATEWAY, Died, Gateway, deployed, die, incidents, interrupted, pay, record
from tests.outbox.senders import SEND

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

OTHER = Gateway()


def run(using: Any, key: str = "k") -> Any:
    return using.run(key=key, amount=5)


@operation(name="tests.pay elsewhere")
def pay_elsewhere(op: Any, *, amount: int) -> Any:
    op.phase(kept)
    return Respond(201, op.remote(OTHER.charge, lookup=OTHER.find, amount=amount))


def kept() -> None:
    return None


class TestFunctions:
    def test_a_retry_goes_on_with_the_operation_that_was_begun(self) -> None:
        request = RequestFactory().post(
            "/pay", b"{}", content_type="application/json", headers={"Idempotency-Key": "k"}
        )
        GATEWAY.after = Died()
        die(lambda: pay.respond(request, amount=5))
        again = RequestFactory().post("/pay", b"{}", content_type="application/json", headers={"Idempotency-Key": "k"})
        assert pay_elsewhere.respond(again, amount=5).status_code == 201
        assert (len(GATEWAY.charged), OTHER.charged) == (1, {})

    def test_one_that_cannot_be_imported_keeps_no_other_from_going_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(name: str) -> types.ModuleType:
            raise RuntimeError(name)

        monkeypatch.setattr(definitions, "import_module", refuse)
        interrupted()
        IdempotencyRecord.objects.update(operation="gone.pay", claimed_at=timezone.now() - timedelta(days=1))
        GATEWAY.after = Died()
        with pytest.raises(Died):
            run(pay, "other")
        IdempotencyRecord.objects.filter(key="other").update(lease_until=timezone.now() - timedelta(hours=1))
        assert resume() == Resumed(completed=1, postponed=1)

    def test_a_second_one_in_a_view_is_not_given_the_first_ones_answer(self) -> None:
        request = RequestFactory().post(
            "/pay", b"{}", content_type="application/json", headers={"Idempotency-Key": "k"}
        )
        pay.respond(request, amount=5)
        with pytest.raises(ImproperlyConfigured, match="has answered this request"):
            pay_elsewhere.respond(request, amount=5)


class TestMessages:
    def enqueueing(self, op: Any, *, amount: int) -> Any:
        op.enqueue(SEND, amount)
        return Respond(201, {})

    def test_one_after_the_last_phase_commits_with_the_answer(self) -> None:
        assert run(deployed(self_less(self.enqueueing))) == Respond(201, {})
        assert IdempotencyMessage.objects.count() == 1

    def test_a_key_that_is_used_again_sends_other_messages(self) -> None:
        for _ in range(2):
            run(deployed(self_less(self.enqueueing)))
            IdempotencyRecord.objects.all().delete()
        assert IdempotencyMessage.objects.count() == 2

    def test_none_inside_a_phase(self) -> None:
        def function(op: Any, *, amount: int) -> Any:
            def inner() -> None:
                op.enqueue(SEND, amount)

            op.phase(inner)
            return Respond(201, {})

        with pytest.raises(ImproperlyConfigured, match="inside another one"):
            run(deployed(function))
        assert IdempotencyMessage.objects.count() == 0


class TestAnswers:
    def test_an_ordinary_answer_after_a_charge_is_not_the_end(self) -> None:
        def deny() -> None:
            raise PermissionDenied

        def function(op: Any, *, amount: int) -> Any:
            op.remote(GATEWAY.charge, lookup=GATEWAY.find, amount=amount)
            op.phase(deny)

        with pytest.raises(RetryLater):
            run(deployed(function))
        assert incidents() == [("failed", "PermissionDenied")]

    @pytest.mark.parametrize("status", [None, "404"])
    def test_a_status_that_is_no_number_says_nothing(self, status: Any) -> None:
        class Odd(Exception):
            status_code = status

        def function(op: Any, *, amount: int) -> Any:
            raise Odd

        with pytest.raises(Odd):
            run(deployed(function))
        assert incidents() == [("failed", "Odd")]

    def test_a_wrong_one_is_not_quoted(self) -> None:
        with pytest.raises(TypeError, match="not dict") as caught:
            run(deployed(lambda op, amount: {"card": "4111111111111111"}))
        assert "4111" not in str(caught.value)


class TestBoundaries:
    def test_a_phase_writes_to_its_own_database_only(self) -> None:
        def elsewhere() -> None:
            Payment.objects.using("other").create(key="lost", amount=1, nonce="")

        with pytest.raises(ImproperlyConfigured, match="not that of the journal"):
            run(deployed(lambda op, amount: op.phase(elsewhere)))
        assert not Payment.objects.using("other").exists()

    def test_upkeep_is_refused_inside_a_transaction(self) -> None:
        interrupted()
        with transaction.atomic(), pytest.raises(ImproperlyConfigured, match="inside a database transaction"):
            resume()
        assert record().resumes == 0

    def test_steps_are_given_no_verification_codes(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="must not be stored"):
            run(deployed(lambda op, amount: op.phase(kept, cvv="123")))

    def test_no_frame_of_a_failure_shows_the_encryption_keys(self, settings: Any) -> None:
        secret = Fernet.generate_key().decode()
        settings.IDEMPOTENCY = {"default": {"ENCRYPTION_KEYS": [secret]}}

        def fail() -> None:
            raise LookupError

        try:
            run(deployed(lambda op, amount: op.phase(fail)))
        except LookupError:
            frames = traceback.TracebackException(*sys.exc_info(), capture_locals=True)
            own = [frame for frame in frames.stack if "test_promises" not in frame.filename]
            assert not [frame.name for frame in own if secret in str(frame.locals)]
        assert incidents() == [("failed", "LookupError")]


def self_less(method: Any) -> Any:
    """A method as the plain function that an operation is made of."""

    def enqueueing(op: Any, *, amount: int) -> Any:
        return method(op, amount=amount)

    return enqueueing


@pytest.fixture(autouse=True)
def _elsewhere() -> None:
    OTHER.__init__()  # type: ignore[misc]
