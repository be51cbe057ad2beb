"""A dry run: the answer that would come, and nothing else. Only of views that say they can be taken back."""

from dataclasses import replace as changed

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.http import HttpResponse

from django_idempotency import idempotent, operation, resolution
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from django_idempotency.resolution import NotSent, WrongState
from django_idempotency.resolution.sending import prepared
from django_idempotency.signals import claimed, completed
from tests.bank.models import Payment
from tests.resolution.people import events
from tests.resolution.retries import SAID, failed, incident, last_event, payments, replay
from tests.resolution.shop import TILL

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.urls("tests.resolution.shop"),
]


def dry_run(found):
    return resolution.dry_run(found, **SAID)


def test_it_shows_the_answer_and_leaves_no_trace(buyer, user):
    number = failed(buyer, "/try")
    told = []

    def receive(signal, **said):
        told.append(signal)

    claimed.connect(receive)
    completed.connect(receive)
    answer = dry_run(number)
    assert (answer.status, answer.body, answer.kept) == (201, b'{"payment": 5, "to": "testserver"}', False)
    assert TILL.seen == [{"user": user.pk, "by": "ada", "dry": True, "auth": None}]
    assert (payments(), TILL.hooks, told) == ([], [], [])
    assert not IdempotencyRecord.objects.exists()
    assert (incident().counter, incident().healed_at) == (1, None)


def test_the_key_is_as_free_as_before(buyer):
    number = failed(buyer, "/try")
    dry_run(number)
    assert replay(number).kept
    assert payments() == [("k", 5)]


def test_it_claims_nothing(buyer):
    number = failed(buyer, "/try")
    TILL.does = lambda: 500 if IdempotencyRecord.objects.exists() else 201
    assert dry_run(number).status == 201


def test_what_a_view_writes_to_another_database_is_taken_back_too(buyer):
    number = failed(buyer, "/try")
    TILL.does = lambda: Payment.objects.using("other").create(key="k", nonce="") and 201
    assert dry_run(number).status == 201
    assert not Payment.objects.using("other").exists()


def test_a_view_that_raises_leaves_no_incident(buyer):
    number = failed(buyer, "/try")
    TILL.breaks()
    assert dry_run(number).status == 500
    assert (incident().counter, payments()) == (1, [])


def test_it_is_audited(buyer):
    dry_run(failed(buyer, "/try"))
    assert events() == ["dry-run", "dry-run-ended"]
    assert last_event()["status"] == 201


def test_a_view_that_does_not_say_so_is_refused(buyer):
    number = failed(buyer)
    with pytest.raises(WrongState, match="dry_run=True"):
        dry_run(number)
    assert (TILL.seen, events()) == ([], [])


def test_the_decorator_itself_refuses_a_view_that_does_not_say_so(buyer, monkeypatch):
    """Where one method of a view says so, another one's request is not run."""
    number = failed(buyer)
    monkeypatch.setattr("django_idempotency.resolution.replays.prepared", with_a_dry_rule)
    with pytest.raises(NotSent, match="dry_run=True"):
        dry_run(number)
    assert (TILL.seen, payments()) == ([], [])


def with_a_dry_rule(subject, asked, *, dry_run=False):
    ready, policies = prepared(subject, asked, dry_run=dry_run)
    return ready, [changed(policy, dry_run=True) for policy in policies]


def test_what_was_changed_is_not_tried_either(buyer):
    number = failed(buyer, "/try")
    IdempotencyIncident.objects.update(request_body=b'{"amount": 500}')
    with pytest.raises(NotSent, match="another request"):
        dry_run(number)
    assert TILL.seen == []


def test_a_coroutine_and_an_operation_cannot_say_so():
    async def view(request):
        return HttpResponse()

    with pytest.raises(ImproperlyConfigured, match="coroutine"):
        idempotent(dry_run=True)(view)
    with pytest.raises(TypeError, match="dry_run"):
        operation(dry_run=True)


def test_no_connection_is_left_open(buyer):
    number = failed(buyer, "/try")
    inside = []
    TILL.does = lambda: inside.extend(connections.all()) or 201
    dry_run(number)
    assert all(connection.connection is None for connection in inside)
    assert not transaction.get_connection().in_atomic_block
