"""`idempotency_replay`: a shell round the acts."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.http import JsonResponse

from tests.resolution.people import events
from tests.resolution.retries import failed, incident, mismatched, payments, post
from tests.resolution.shop import TILL

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.urls("tests.resolution.shop"),
]

SAID = {"by": "ada", "reason": "ticket 812"}


def command(found, **options):
    out = StringIO()
    call_command("idempotency_replay", str(found), **{**SAID, **options}, stdout=out)
    return out.getvalue()


def test_it_runs_a_request_again_by_the_number_of_its_incident(buyer):
    assert command(failed(buyer)).startswith('201: it ran, its answer is kept\n{"payment": 5')
    assert payments() == [("k", 5)]
    assert TILL.seen[0]["by"] == "ada"


def test_it_runs_a_request_again_by_the_id_of_its_record(buyer):
    failed(buyer)
    assert "it ran" in command(incident().record_id)


def test_it_says_by_its_exit_code_that_it_has_failed_again(buyer):
    number = failed(buyer)
    TILL.breaks()
    with pytest.raises(CommandError, match="not kept") as raised:
        command(number)
    assert (raised.value.returncode, payments()) == (2, [])


def test_it_masks_the_answer_of_what_was_run(buyer, monkeypatch):
    """Whoever may run it again has given no reason to see what it holds; and a terminal keeps what it has shown."""
    number = failed(buyer)
    monkeypatch.setattr(
        "tests.resolution.shop.charge", lambda *_: JsonResponse({"token": "s3cret", "payment": 5}, status=201)
    )
    assert command(number) == '201: it ran, its answer is kept\n{"token":"[masked]","payment":5}\n'


def test_it_rolls_a_dry_run_back(buyer):
    assert command(failed(buyer, "/try"), dry_run=True).startswith("201: it ran, nothing is kept")
    assert payments() == []


def test_it_runs_what_was_refused(buyer):
    command(mismatched(buyer), refused=True)
    assert [amount for _, amount in payments()] == [5, 6]


def test_it_shows_a_stored_answer(buyer):
    failed(buyer)
    post(buyer)
    assert command(incident().record_id, stored=True).startswith("201: it was answered before, its answer is kept")
    assert events() == ["show-answer"]


@pytest.mark.parametrize("missing", ["by", "reason"])
def test_it_wants_to_know_who_and_why(buyer, missing):
    number = failed(buyer)
    with pytest.raises(CommandError, match=missing):
        command(number, **{missing: ""})
    assert (events(), payments()) == ([], [])


def test_it_says_what_is_in_the_way(buyer):
    number = failed(buyer)
    with pytest.raises(CommandError, match="has been changed"):
        command(number, seen=7)


def test_it_does_not_take_what_is_neither(buyer):
    with pytest.raises(CommandError, match="id"):
        command("k")
