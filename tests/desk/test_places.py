"""The desk looks where requests are written to, whatever a router says of reading."""

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from django.urls import reverse

from django_idempotency.models import IdempotencyApproval, IdempotencyBulk, IdempotencyEvent, IdempotencyRecord
from tests.desk.conftest import VIEW
from tests.desk.situations import HOUR, answered, incident
from tests.support.records import stored

pytestmark = pytest.mark.django_db(databases=["default", "other"])
RECORD = "admin:django_idempotency_idempotencyrecord"
REPLICA = override_settings(DATABASE_ROUTERS=["tests.desk.test_places.Replica"])


class Replica:
    """Reads what is ours from another database, as of a moment ago."""

    def db_for_read(self, model, **hints):
        return "other" if model._meta.app_label == "django_idempotency" else None

    def db_for_write(self, model, **hints):
        return "default"


def acts(alias):
    return list(IdempotencyEvent._base_manager.using(alias).values_list("act", flat=True))


@REPLICA
def test_looking_and_exporting_are_recorded_where_requests_are_written(staff_client):
    client = staff_client(*VIEW, "view_payload", "export")
    record = answered(HOUR)
    IdempotencyRecord._base_manager.using("default").get(pk=record.pk).save(using="other")
    assert client.post(reverse(f"{RECORD}_unmask", args=[record.pk]), {"reason": "ticket 1"}).status_code == 200
    client.post(reverse(f"{RECORD}_export"), {"format": "csv"}).getvalue()
    assert (acts("default"), acts("other")) == (["reveal", "export"], [])


@REPLICA
def test_what_a_replica_does_not_have_yet_has_its_page_all_the_same(staff_client):
    client = staff_client(*VIEW)
    found = incident(answered(HOUR), "failed")
    name = "admin:django_idempotency_idempotencyincident"
    assert [row.pk for row in client.get(reverse(f"{name}_changelist")).context["cl"].result_list] == [found.pk]
    assert client.get(reverse(f"{name}_change", args=[found.pk])).status_code == 200


@REPLICA
@pytest.mark.parametrize("model", [IdempotencyApproval, IdempotencyBulk])
def test_so_are_approvals_and_bulk_acts(rf, model):
    from django.contrib import admin

    request = rf.get("/")
    request.user = User(is_superuser=True)
    assert admin.site.get_model_admin(model).get_queryset(request).db == "default"


def test_the_list_is_of_the_database_that_the_profile_names(staff_client):
    client = staff_client(*VIEW)
    with override_settings(IDEMPOTENCY={"default": {"DATABASE": "other"}}):
        record = stored("processing", using="other")
        rows = client.get(reverse(f"{RECORD}_changelist")).context["cl"].result_list
    assert [row.pk for row in rows] == [record.pk]
