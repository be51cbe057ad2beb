"""assert_runs_once is silent about right views, and says of each wrong one what is wrong with it."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client, override_settings

from django_idempotency.testing import assert_runs_once
from tests.bank.models import Payment
from tests.settings import HAVE_DRF
from tests.testing import views

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

RIGHT = ["/right", "/optional", *(["/drf"] if HAVE_DRF else [])]


def fault(send: Any, effects: Callable[[], int], **options: Any) -> tuple[str, str]:
    """Return what it says of a wrong view, and the anchor of the documentation that it leads to."""
    with pytest.raises(AssertionError) as caught:
        assert_runs_once(send, effects=effects, **options)
    message, _, anchor = str(caught.value).partition("\nRead on: ")
    return message, anchor.partition("#")[2]


@pytest.fixture
def atomic_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request in a transaction of the project's own."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)


class TestRightViews:
    @pytest.mark.parametrize("path", RIGHT)
    def test_a_right_view_passes(self, to, effects, path):
        assert_runs_once(to(path), effects=effects)
        # Twice, at once, and with a crash before and after the commit.
        assert effects() == 4

    def test_it_passes_under_atomic_requests(self, to, effects, atomic_requests):
        assert_runs_once(to("/right"), effects=effects)
        assert effects() == 4

    @override_settings(IDEMPOTENCY={"default": {"CLAIM": "joined"}})
    def test_it_passes_with_a_joined_claim(self, to, effects):
        assert_runs_once(to("/right"), effects=effects)
        assert effects() == 4

    def test_a_gateway_that_is_sent_a_derived_key_is_called_again_and_charges_once(self, to):
        assert_runs_once(to("/with-a-derived-key"), effects=lambda: len(views.CHARGES))
        assert len(views.CHARGES) == 4

    def test_it_passes_on_a_live_server(self, live_server, effects):
        def send(key: str) -> httpx.Response:
            headers = {"Idempotency-Key": key}
            return httpx.post(f"{live_server.url}/right", json={"amount": 5}, headers=headers, trust_env=False)

        assert_runs_once(send, effects=effects)
        assert effects() == 4

    def test_the_key_may_be_anywhere_in_the_request(self, effects):
        def send(key: str) -> Any:
            return Client().post("/webhook", {"id": key, "amount": 5}, "application/json")

        assert_runs_once(send, effects=effects)
        assert effects() == 4

    def test_what_the_header_and_the_marker_are_called_is_up_to_the_project(self, effects):
        def send(key: str) -> Any:
            return Client().post("/right", {"amount": 5}, "application/json", headers={"X-Key": key})

        with override_settings(IDEMPOTENCY={"default": {"HEADER": "X-Key", "REPLAYED_HEADER": "X-Again"}}):
            assert_runs_once(send, effects=effects)
        assert effects() == 4


class TestWrongViews:
    def test_a_view_without_the_decorator(self, to, effects):
        message, anchor = fault(to("/unprotected"), effects)
        assert message.startswith("The repeat took effect again: effects() rose by 2, where one request alone makes 1")
        assert "Is @idempotent on the method" in message
        assert anchor == "ran-again"

    def test_a_test_that_sends_no_key(self, effects):
        def send(key: str) -> Any:
            return Client().post("/optional", {"amount": 5}, "application/json")

        message, anchor = fault(send, effects)
        assert "does send() send the key that it is given?" in message
        assert anchor == "ran-again"

    def test_a_test_that_sends_no_key_to_a_view_that_requires_one(self, effects):
        def send(key: str) -> Any:
            return Client().post("/right", {"amount": 5}, "application/json")

        message, anchor = fault(send, effects)
        assert message.startswith(
            "The first request took no effect: effects() went from 0 to 0, and the answer was 400"
        )
        assert "key-missing" in message
        assert anchor == "no-effect"

    def test_an_answer_that_is_not_kept(self, to, effects):
        message, anchor = fault(to("/refusing"), effects)
        assert '400 {"error": "amount"}' in message
        assert anchor == "no-effect"

    def test_an_answer_that_is_not_kept_with_an_effect_that_is(self, to, elsewhere):
        message, anchor = fault(to("/in-another-database-and-refusing"), elsewhere)
        assert "An answer with status 400 may not be kept" in message
        assert anchor == "ran-again"

    def test_a_test_that_sends_another_request_each_time(self, effects):
        def send(key: str) -> Any:
            return Client().post("/right", {"amount": effects()}, "application/json", headers={"Idempotency-Key": key})

        message, anchor = fault(send, effects)
        assert message.startswith("The repeat got another answer than the first request: 422")
        assert anchor == "another-answer"

    def test_an_answer_from_something_else(self, to, effects):
        assert fault(to("/unmarked"), effects)[1] == "no-replay"

    def test_an_effect_beside_the_view(self, to, effects):
        def send(key: str) -> Any:
            Payment.objects.create()
            return to("/right")(key)

        message, anchor = fault(send, effects)
        assert "The repeat was a replay, so the effect comes from outside the view" in message
        assert anchor == "ran-again"

    def test_a_race(self, to, effects):
        message, anchor = fault(to("/racing"), effects)
        assert message.startswith("4 requests at once under one key, and one more: effects() rose by 4")
        assert anchor == "at-once"

    def test_different_answers_to_requests_at_once(self, to, effects):
        counts = iter(range(100))

        def send(key: str) -> Any:
            answer = to("/right")(key)
            # Those of the first round are as they were.
            if next(counts) > 1:
                answer.content = answer.content.replace(b"}", b" }" * next(counts))
            return answer

        message, anchor = fault(send, effects)
        assert message.startswith("4 requests at once got different answers")
        assert anchor == "at-once"

    def test_requests_at_once_that_leave_nobody_with_the_answer(self, to, effects):
        answers = []

        def send(key: str) -> Any:
            answers.append(to("/right")(key))
            # The seventh comes after two, one after the other, and four at once.
            return answers[-1] if len(answers) < 7 else HttpResponse(status=409)

        message, anchor = fault(send, effects)
        assert "one more, which should have got the answer, got 409" in message
        assert anchor == "at-once"

    @pytest.mark.parametrize(("path", "count"), [("/charging-twice", "gateway"), ("/in-another-database", "elsewhere")])
    def test_an_effect_outside_the_transaction(self, to, elsewhere, path, count):
        counts = {"gateway": lambda: len(views.CHARGES), "elsewhere": elsewhere}
        message, anchor = fault(to(path), counts[count])
        assert message.startswith("The process died before the commit, and the request was sent again")
        assert "where one request alone makes 1; 1 outlived the crash." in message
        assert "What the dead attempt did is still there" in message
        assert anchor == "outside-the-transaction"

    def test_an_effect_that_is_put_off_until_after_the_commit(self, to, effects):
        message, anchor = fault(to("/after-the-commit"), effects)
        assert message.startswith("The process died after the commit")
        assert "What is put off with on_commit is lost" in message
        assert anchor == "lost"

    def test_a_mark_that_stops_the_retry(self, to, effects):
        message, anchor = fault(to("/remembered"), effects)
        assert message.startswith("The process died before the commit")
        assert "keeps the retry from doing the work" in message
        assert anchor == "lost"

    def test_an_exception_of_the_test_itself_comes_out(self, to, effects):
        keys = []

        def send(key: str) -> Any:
            keys.append(key)
            # The third is the one whose process is to die, and never comes so far.
            return to("/right")(key) if len(keys) < 3 else 1 // 0

        with pytest.raises(ZeroDivisionError):
            assert_runs_once(send, effects=effects, parallel=0)

    def test_a_retry_that_fails_where_the_first_attempt_did_not(self, to):
        message, anchor = fault(to("/charged-already"), lambda: len(views.CHARGES))
        assert "The retry got 500" in message
        assert anchor == "no-answer"


class TestWhereItCannotBeShown:
    @pytest.mark.django_db(transaction=False)
    @pytest.mark.parametrize("options", [{}, {"parallel": 0}, {"crashes": False}])
    def test_a_test_case_is_told_apart(self, to, effects, options):
        message, anchor = fault(to("/right"), effects, **options)
        assert message.startswith("This test runs inside a transaction")
        assert "TransactionTestCase" in message
        assert anchor == "test-case"
        assert effects() == 0

    @pytest.mark.django_db(transaction=False)
    def test_a_test_case_shows_the_repeat(self, to, effects):
        assert_runs_once(to("/right"), effects=effects, parallel=0, crashes=False)
        assert effects() == 1
        assert fault(to("/unprotected"), effects, parallel=0, crashes=False)[1] == "ran-again"

    @override_settings(IDEMPOTENCY={"default": {"BACKEND": "django_idempotency.backends.MemoryBackend"}})
    def test_no_crash_is_staged_where_nothing_commits_together(self, to, effects, idempotency_memory):
        message, anchor = fault(to("/right"), effects)
        assert message.startswith("The crash could not be staged")
        assert anchor == "no-crash"
        assert_runs_once(to("/right"), effects=effects, crashes=False)

    @override_settings(IDEMPOTENCY={"default": {"BACKEND": "django_idempotency.backends.MemoryBackend"}})
    def test_an_answer_that_is_kept_where_the_effect_is_not(self, to, effects, idempotency_memory, atomic_requests):
        message, anchor = fault(to("/right"), effects, parallel=0)
        assert "Something that the dead attempt left behind, in a cache or in memory" in message
        assert anchor == "lost"
