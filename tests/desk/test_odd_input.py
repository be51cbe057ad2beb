"""What no page of ours has written, and no address or form must answer with an error of the server's for."""

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from django_idempotency import resolution
from django_idempotency.models import IdempotencyApproval, IdempotencyBulk, IdempotencyStep
from tests.desk.conftest import VIEW
from tests.desk.situations import HOUR, answered, incident, operation
from tests.resolution.people import ADA, events
from tests.support.records import stored

pytestmark = pytest.mark.django_db(transaction=True)

RECORD = "admin:django_idempotency_idempotencyrecord"
INCIDENT = "admin:django_idempotency_idempotencyincident"


def unknown():
    return stored("unknown")


class TestLists:
    @pytest.mark.parametrize("zone", ["+20:00", "-23:59", "+15:59:59.999999"])
    @pytest.mark.parametrize("way", ["older", "newer"])
    def test_a_position_may_be_of_any_zone(self, staff_client, way, zone):
        answered(HOUR)
        position = f"2026-01-01T00:00:00{zone}~0~00000000-0000-0000-0000-000000000000"
        assert staff_client(*VIEW).get(reverse(f"{RECORD}_changelist"), {way: position}).status_code == 200

    @pytest.mark.parametrize("asked", [{"scope": "a\0"}, {"namespace": "\0"}, {"scope": "\0", "q": "key-1"}])
    def test_nothing_has_a_name_with_a_nul(self, staff_client, asked):
        answered(HOUR)
        client = staff_client(*VIEW, "export")
        assert client.get(reverse(f"{RECORD}_changelist"), asked).context["cl"].result_list == []
        export = reverse(f"{RECORD}_export", query=asked)
        assert client.post(export, {"format": "json"}).getvalue() == b'{"requests": [\n], "more": false}\n'

    def test_nor_does_anybody_see_to_an_incident_under_one(self, staff_client):
        found = incident(answered(HOUR), "failed")
        page = reverse(f"{INCIDENT}_assign", args=[found.pk])
        assert staff_client(*VIEW, "resolve").post(page, {"seen": "bob\0"}).status_code == 409
        assert events() == []


class TestBulk:
    @pytest.mark.parametrize(
        "row", ["{id}:9999999999999999999", "{upper}:1", "{hex}:1", f"{'9' * 30}:1", "x:1", " {id}:1", "{id}:-1"]
    )
    def test_a_row_that_no_preview_has_written_is_none(self, staff_client, row):
        one = stored("processing")
        written = row.format(id=one.pk, upper=str(one.pk).upper(), hex=one.pk.hex)
        given = {"act": "release", "about": "record", "row": [written], "reason": "x"}
        shown = staff_client(*VIEW, "release").post(reverse("admin:django_idempotency_idempotencybulk_begin"), given)
        assert "Choose one at least" in shown.content.decode()
        assert not IdempotencyBulk.objects.exists()

    @pytest.mark.parametrize("rows", [["{id}:1", "0{id}:1"], [f"{'9' * 30}:1", "{id}:1"]])
    def test_nor_is_an_incident_done_twice(self, staff_client, rows):
        found = incident(answered(HOUR), "failed")
        given = {"act": "close", "about": "incident", "row": [row.format(id=found.pk) for row in rows], "reason": "x"}
        staff_client(*VIEW, "resolve").post(reverse("admin:django_idempotency_idempotencybulk_begin"), given)
        assert [row.incident_id for row in IdempotencyBulk.objects.get().rows.all()] == [found.pk]


class TestJson:
    @pytest.mark.parametrize("text", ["[" * 200_000, "1" * 5000, "NaN", '{"amount": 1e999}', "{"])
    @pytest.mark.parametrize(
        ("make", "act", "field"), [(operation, "returned", "result"), (unknown, "happened", "body")]
    )
    def test_what_is_none_is_refused_and_shown_again(self, staff_client, make, act, field, text):
        record = make()
        given = {"seen": record.token, "evidence": "x", "status": 201, "reference": "x", field: text}
        shown = staff_client(*VIEW, "resolve").post(reverse(f"{RECORD}_act", args=[record.pk, act]), given)
        assert shown.context["form"].errors == {field: ["This is no JSON."]}
        assert events() == []

    def test_a_call_may_have_returned_nothing(self, staff_client):
        record = operation()
        given = {"seen": record.token, "evidence": "x", "result": "null"}
        done = staff_client(*VIEW, "resolve").post(reverse(f"{RECORD}_act", args=[record.pk, "returned"]), given)
        assert done.status_code == 302
        assert bytes(IdempotencyStep.objects.get(position=1).result) == b"null"


@pytest.mark.parametrize("changed", [{"act": "gone"}, {"arguments": b"["}])
def test_an_approval_that_nobody_could_have_asked_for_has_a_page_and_cannot_be_granted(staff_client, changed):
    moment = timezone.now()
    asked = {"act": "close", "arguments": b"{}", "digest": "x", "state": "requested", "incident_id": 7, **changed}
    times = {"requested_at": moment, "expires_at": moment + HOUR}
    found = IdempotencyApproval.objects.create(requester="bob", requester_id="-8", **asked, **times)
    client, name = staff_client("view_idempotencyapproval", "approve"), "admin:django_idempotency_idempotencyapproval"
    assert client.get(reverse(f"{name}_change", args=[found.pk])).context["may_approve"] is None
    assert client.post(reverse(f"{name}_approve", args=[found.pk])).status_code == 409
    assert not events()


class TestCommands:
    @pytest.mark.parametrize(("make", "option"), [(operation, "returned"), (unknown, "happened")])
    def test_what_is_json_to_python_alone_is_refused(self, make, option):
        record = make()
        said = {"returned": ["--returned", "NaN"], "happened": ["--happened", "201", "--body", "[Infinity]"]}[option]
        with pytest.raises(CommandError, match="must be JSON"):
            call_command("idempotency_resolve", str(record.pk), *said, "--evidence", "x", "--by", "ada")
        assert events() == []

    def test_nor_does_the_act_take_it(self):
        with pytest.raises(ValueError, match="not JSON compliant"):
            resolution.happened(unknown().pk, status=201, body="NaN", reference="x", evidence="x", actor=ADA)

    def test_no_gateway_has_approved_less_than_nothing(self):
        with pytest.raises(ValueError, match="must not be negative"):
            resolution.approved(operation().pk, reference="x", amount=-5, currency="EUR", evidence="x", actor=ADA)
        assert events() == []
