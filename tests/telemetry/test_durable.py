"""What is told of durable operations: the same as of views, by the operation's own profile."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory

from django_idempotency import Respond, operation, signals
from django_idempotency.operations.recovery import resume
from tests.operations.tills import Died, lapse
from tests.telemetry.instruments import Instruments

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told():
    return Instruments()


def step(amount):
    return amount


@operation(name="tests.telemetry")
def pay(op, *, amount):
    return Respond(201, {"amount": op.phase(step, amount=amount)})


@operation(name="tests.dying")
def die(op, *, amount):
    raise Died


def post(call, key="key-1"):
    request = RequestFactory().post("/pay", b"amount=5", content_type="text/plain", headers={"Idempotency-Key": key})
    request.user = AnonymousUser()
    return call.respond(request, amount=5)


def test_a_run_and_a_replay_are_counted_by_profile(told):
    assert [post(pay).status_code for _ in range(2)] == [201, 201]
    assert told.counted("idempotency.requests") == {"completed": 1, "replayed": 1}
    assert len(told.points("idempotency.duration")) == 1


def test_a_retry_that_takes_over_is_counted(told):
    with pytest.raises(Died):
        post(die)
    lapse()
    with pytest.raises(Died):
        post(die)
    assert sum(told.counted("idempotency.takeovers", by="profile").values()) == 1


def test_observers_hear_of_the_claim_with_the_operation_as_sender():
    heard = []

    def receive(sender, operation, attempt, **_):
        heard.append((sender, operation.key, attempt))

    signals.claimed.connect(receive)
    post(pay)
    post(pay)
    assert heard == [(pay, "key-1", 1)]
    assert resume().completed == 0
