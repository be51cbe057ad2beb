"""Without USE_TZ, where no time knows of its zone."""

import pytest
from django.core.exceptions import PermissionDenied
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from django_idempotency import maintenance
from django_idempotency.models import IdempotencyRecord
from django_idempotency.models.records import never
from tests.desk.conftest import VIEW, staff_client, staff_user
from tests.operations import tills
from tests.support.records import HOUR, completed, states, stored

__all__ = ["staff_client", "staff_user"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _naive():
    tills.restore()
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        yield
    tills.restore()


def test_the_purge_goes_through_all_its_steps():
    completed(expired=HOUR, forgotten=-HOUR)
    silent = timezone.now() - 80 * HOUR
    stored("processing", operation="tests.pay", claimed_at=90 * HOUR, lease_until=silent, resume_at=never())
    assert maintenance.purge().shrunk == 2
    assert set(states().values()) == {"tombstone"}


def test_an_operation_that_is_refused_before_anything_was_done_is_left_to_its_client():
    @tills.deployed
    def pay(op, *, amount):
        raise PermissionDenied

    with pytest.raises(PermissionDenied):
        pay.run(key="k", amount=5)
    assert IdempotencyRecord.objects.get().resume_at == never()


@pytest.mark.parametrize(
    ("resume_at", "told"), [(never, "only its client"), (timezone.now, "Upkeep may go on with it.")]
)
def test_its_page_says_so(staff_client, resume_at, told):
    record = stored("processing", operation="tests.pay", lease_until=timezone.now(), resume_at=resume_at())
    page = reverse("admin:django_idempotency_idempotencyrecord_change", args=[record.pk])
    assert told in staff_client(*VIEW).get(page).content.decode()
