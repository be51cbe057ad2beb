"""A staged crash leaves behind what a real one leaves, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from django_idempotency.models import IdempotencyRecord
from django_idempotency.signals import claimed
from django_idempotency.testing.crashes import Crash, crash
from tests.bank.models import Payment
from tests.settings import TEST_DATABASE
from tests.testing import views

pytestmark = pytest.mark.django_db(transaction=True)


def die(send: Callable[[str], Any], moment: Any) -> None:
    with crash(moment) as staged, pytest.raises(Crash):
        send("key-1")
    assert staged.happened


class TestWhatIsLeft:
    def test_before_the_commit_the_effects_are_gone_and_a_committed_claim_stays(self, to):
        die(to("/right"), "before")
        assert Payment.objects.count() == 0
        # A joined claim, SQLite's only one, goes with the effects.
        left = [] if TEST_DATABASE == "sqlite" else ["processing"]
        assert list(IdempotencyRecord.objects.values_list("state", flat=True)) == left

    def test_after_the_commit_effects_and_answer_are_there(self, to):
        die(to("/right"), "after")
        assert Payment.objects.count() == 1
        assert IdempotencyRecord.objects.get().state == "completed"

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_nobody_calls_the_hooks_of_the_dead(self, to, moment):
        die(to("/mailing-after-the-commit"), moment)
        with transaction.atomic():
            Payment.objects.create()
        assert views.CHARGES == {}
        assert to("/mailing-after-the-commit")("key-2").status_code == 201
        assert views.CHARGES == {"mail": "key-2"}

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_the_living_go_on_with_their_connection(self, to, moment):
        receivers = list(claimed.receivers)
        die(to("/right"), moment)
        assert "commit" not in vars(connection)
        assert connection.execute_wrappers == []
        assert claimed.receivers == receivers
        assert to("/right")("key-2").status_code == 201

    def test_where_no_view_starts_nothing_dies(self, to):
        with crash("before") as staged:
            assert to("/right")("").status_code == 400
            Payment.objects.create()
        assert not staged.happened
        assert Payment.objects.count() == 1

    def test_a_request_that_is_not_kept_does_not_come_to_its_commit(self, to):
        with crash("before") as staged:
            assert to("/refusing")("key-1").status_code == 400
        assert not staged.happened
        assert "commit" not in vars(connection)
        with transaction.atomic():
            Payment.objects.create()
        assert Payment.objects.count() == 1
