"""One act on several: what was chosen and no more, each by itself, shown before, and stopped on demand."""

import sys
from decimal import Decimal
from threading import Barrier, Thread

import pytest
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_idempotency import bulk
from django_idempotency.core.acts import Act
from django_idempotency.models import (
    IdempotencyApproval,
    IdempotencyBulk,
    IdempotencyBulkRow,
    IdempotencyEvent,
    IdempotencyIncident,
    IdempotencyRecord,
)
from django_idempotency.tasks import carry_out_bulk
from tests.desk.conftest import VIEW
from tests.desk.situations import HOUR, SCRIPT, answered
from tests.desk.situations import incident as incident_of
from tests.resolution.people import ADA, events
from tests.support.records import stored

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "admin:django_idempotency_idempotencyrecord_changelist"
BEGIN = "admin:django_idempotency_idempotencybulk_begin"


def dead(amount: str = "5", currency: str = "EUR", **columns):
    return stored("processing", amount=Decimal(amount), currency=currency, **columns)


def page_of(run, kind="change"):
    return reverse(f"admin:django_idempotency_idempotencybulk_{kind}", args=[run.pk])


def chosen(*records, action="bulk_release", **more):
    return {"action": action, "_selected_action": [str(record.pk) for record in records], "index": 0, **more}


def rows_of(*records):
    return [f"{record.pk}:{record.claim}" for record in records]


def begun(records, act=Act.RELEASE, actor=ADA):
    seen = {record.pk: record.claim for record in records}
    return bulk.begin(act, records, seen, reason="deploy 7 has died", actor=actor, using="default")


def states(run):
    return list(IdempotencyBulkRow.objects.filter(bulk=run).order_by("pk").values_list("state", flat=True))


def died(monkeypatch, run):
    """Carry it out in a process that ends when the first row's act is done, before that is written down."""
    with monkeypatch.context() as patched:
        patched.setattr(bulk, "_finish", lambda *args: sys.exit())
        with pytest.raises(SystemExit):
            bulk.carry_out(run.pk, seconds=9, using="default")


@pytest.fixture
def on_call(staff_client):
    return staff_client(*VIEW, "release")


class TestPreview:
    def test_it_says_what_would_be_done_with_the_money_and_why_the_rest_is_refused(self, on_call):
        fit = [dead(), dead("7.50", "eur"), dead("100", "USD")]
        answered = stored("completed")
        shown = on_call.post(reverse(LIST), chosen(*fit, answered)).content.decode()
        assert "3 can be done now." in shown
        assert "12.50 EUR, 100.00 USD" in shown
        assert "there is nothing to free" in shown
        assert str(answered.pk) + ":" not in shown
        assert (events(), IdempotencyRecord.objects.count()) == ([], 4)

    def test_only_what_is_ticked_is_meant_however_much_the_list_holds(self, on_call):
        one, other = dead(), dead()
        shown = on_call.post(reverse(LIST), chosen(one, select_across=1)).content.decode()
        assert str(one.pk) in shown
        assert f"{other.pk}:" not in shown

    def test_more_than_the_cap_are_not_taken(self, on_call, monkeypatch):
        monkeypatch.setattr(bulk, "MOST", 2)
        records = [dead() for _ in range(3)]
        shown = on_call.post(reverse(LIST), chosen(*records)).content.decode()
        assert "1 has gone, or was beyond 2." in shown
        given = {"act": "release", "about": "record", "row": rows_of(*records), "reason": "x"}
        assert "Choose one at least, and 2 at most." in on_call.post(reverse(BEGIN), given).content.decode()
        assert not IdempotencyBulk.objects.exists()

    def test_a_second_person_is_announced(self, on_call):
        with override_settings(IDEMPOTENCY={"default": {"APPROVALS": {"release": None}}}):
            shown = on_call.post(reverse(LIST), chosen(dead())).content.decode()
        assert "1 of them needs a second person" in shown

    def test_what_clients_have_sent_is_escaped(self, on_call):
        shown = on_call.post(reverse(LIST), chosen(dead(key=SCRIPT, path=SCRIPT, currency="<b>"))).content.decode()
        assert "<script>alert" not in shown
        assert "<b>" not in shown

    def test_without_the_permission_there_is_no_action_and_no_way(self, staff_client):
        record = dead()
        client = staff_client(*VIEW, "replay", "resolve")
        assert "bulk_release" not in client.get(reverse(LIST)).content.decode()
        client.post(reverse(LIST), chosen(record))
        given = {"act": "release", "about": "record", "row": rows_of(record), "reason": "x"}
        assert client.post(reverse(BEGIN), given).status_code == 403
        assert not IdempotencyBulk.objects.exists()

    @pytest.mark.parametrize("given", [{"act": "happened"}, {"act": "close"}, {"about": "user"}, {"act": ""}])
    def test_what_is_no_such_act_is_not_there(self, on_call, given):
        asked = {"act": "release", "about": "record", "row": rows_of(dead()), "reason": "x", **given}
        assert on_call.post(reverse(BEGIN), asked).status_code == 404


class TestRun:
    def test_each_row_is_done_by_itself_and_audited_by_itself(self, on_call):
        records = [dead(), dead()]
        begin = on_call.post(
            reverse(BEGIN), {"act": "release", "about": "record", "row": rows_of(*records), "reason": "deploy 7"}
        )
        run = IdempotencyBulk.objects.get()
        assert begin.headers["Location"] == page_of(run)
        assert events() == []
        on_call.post(page_of(run, "go-on"))
        assert states(run) == ["done", "done"]
        assert events("act", "actor", "reason", "address") == [("release", "ada", "deploy 7", "127.0.0.1")] * 2
        shown = on_call.get(page_of(run)).content.decode()
        assert "2 done" in shown
        assert page_of(run, "go-on") not in shown

    def test_a_row_that_has_moved_since_it_was_shown_is_refused_and_the_others_are_done(self):
        records = [dead(), dead(), dead()]
        run = begun(records)
        IdempotencyRecord.objects.filter(pk=records[0].pk).update(claim=10_000)
        IdempotencyRecord.objects.filter(pk=records[1].pk).update(state="completed")
        assert bulk.carry_out(run.pk, seconds=9, using="default") is False
        assert states(run) == ["refused", "refused", "done"]
        assert IdempotencyEvent.objects.count() == 1
        assert "changed since" in IdempotencyBulkRow.objects.order_by("pk")[0].said

    def test_it_needs_a_reason(self, on_call):
        given = {"act": "release", "about": "record", "row": rows_of(dead()), "reason": " "}
        assert "errornote" in on_call.post(reverse(BEGIN), given).content.decode()
        assert not IdempotencyBulk.objects.exists()

    def test_what_needs_a_second_person_is_asked_for_row_by_row(self):
        with override_settings(IDEMPOTENCY={"default": {"APPROVALS": {"release": {"EUR": 10}}}}):
            run = begun([dead("5"), dead("50")])
            bulk.carry_out(run.pk, seconds=9, using="default")
        assert states(run) == ["done", "asked"]
        assert IdempotencyApproval.objects.get().pk == IdempotencyBulkRow.objects.get(state="asked").approval_id

    def test_one_that_breaks_stops_no_other(self, monkeypatch):
        records = [dead(), dead()]
        real = bulk.ACTS[Act.RELEASE]

        def breaks(found, **said):
            if found == records[0].pk:
                raise RuntimeError
            return real(found, **said)

        monkeypatch.setitem(bulk.ACTS, Act.RELEASE, breaks)
        run = begun(records)
        bulk.carry_out(run.pk, seconds=9, using="default")
        assert states(run) == ["failed", "done"]

    def test_once_stopped_no_other_row_is_begun(self, on_call, staff_user):
        run = begun([dead(), dead()])
        assert bulk.carry_out(run.pk, seconds=0, using="default") is True
        on_call.post(page_of(run, "stop"))
        bulk.carry_out(run.pk, seconds=9, using="default")
        assert states(run) == ["done", "waiting"]
        assert "Stopped by ada" in on_call.get(page_of(run)).content.decode()

    def test_a_row_whose_process_dies_is_as_it_was_and_is_done_once(self, monkeypatch):
        run = begun([dead(), dead()])
        died(monkeypatch, run)
        assert (states(run), events(), IdempotencyRecord.objects.count()) == (["waiting"] * 2, [], 2)
        assert bulk.carry_out(run.pk, seconds=9, using="default") is False
        assert (states(run), events()) == (["done"] * 2, ["release"] * 2)

    def test_nor_is_anybody_asked_twice(self, monkeypatch):
        with override_settings(IDEMPOTENCY={"default": {"APPROVALS": {"release": None}}}):
            run = begun([dead()])
            died(monkeypatch, run)
            bulk.carry_out(run.pk, seconds=9, using="default")
        assert IdempotencyApproval.objects.count() == 1

    def test_what_is_sent_is_not_begun_again_and_said_to_be_left(self, monkeypatch, on_call):
        monkeypatch.setitem(bulk.ACTS, Act.REPLAY, lambda *args, **said: None)
        run = begun([dead(), dead()], Act.REPLAY)
        died(monkeypatch, run)
        assert bulk.carry_out(run.pk, seconds=9, using="default") is False
        assert states(run) == ["begun", "done"]
        assert "its process has died" in on_call.get(page_of(run)).content.decode()

    def test_two_who_carry_it_out_at_once_do_each_row_once(self, monkeypatch):
        run, done = begun([dead() for _ in range(6)]), []
        barrier, real = Barrier(2), bulk.ACTS[Act.RELEASE]

        def release(found, **said):
            done.append(found)
            real(found, **said)

        def work():
            barrier.wait()
            bulk.carry_out(run.pk, seconds=30, using="default")
            connections.close_all()

        monkeypatch.setitem(bulk.ACTS, Act.RELEASE, release)
        threads = [Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert states(run) == ["done"] * 6
        assert (len(done), len({*done}), len({*events("record_id")})) == (6, 6, 6)

    def test_nobody_goes_on_in_the_name_of_another(self, staff_client, on_call):
        run = begun([dead()])
        other = staff_client(*VIEW, "release", name="eve")
        assert other.post(page_of(run, "go-on")).status_code == 403
        assert page_of(run, "go-on") not in other.get(page_of(run)).content.decode()
        assert states(run) == ["waiting"]

    @pytest.mark.parametrize("kind", ["go-on", "stop"])
    def test_it_takes_the_permission_of_the_act(self, staff_client, kind):
        run = begun([dead()])
        client = staff_client(*VIEW, "replay", "resolve")
        assert page_of(run, kind) not in client.get(page_of(run)).content.decode()
        assert client.post(page_of(run, kind)).status_code == 403
        assert staff_client("release", name="eve").post(page_of(run, kind)).status_code == 403
        assert staff_client("release", name="joe").get(page_of(run)).status_code == 403


class TestIncidents:
    def test_several_are_closed_from_the_inbox_each_as_it_was_seen(self, staff_client):
        client = staff_client(*VIEW, "resolve")
        first, second, moved = (incident_of(answered(HOUR), "failed") for _ in range(3))
        ticked = {"action": "bulk_close", "_selected_action": [first.pk, second.pk, moved.pk], "index": 0}
        inbox = reverse("admin:django_idempotency_idempotencyincident_changelist")
        assert "bulk_close" in client.get(inbox).content.decode()
        shown = client.post(inbox, ticked).content.decode()
        assert f'name="row" value="{first.pk}:1"' in shown
        IdempotencyIncident.objects.filter(pk=moved.pk).update(counter=2)
        rows = [f"{one.pk}:1" for one in (first, second, moved)]
        client.post(reverse(BEGIN), {"act": "close", "about": "incident", "row": rows, "reason": "a test of ours"})
        run = IdempotencyBulk.objects.get()
        client.post(page_of(run, "go-on"))
        assert states(run) == ["done", "done", "refused"]
        assert IdempotencyIncident.objects.filter(decision="close").count() == 2

    def test_without_the_permission_there_is_no_action(self, staff_client):
        found = incident_of(answered(HOUR), "failed")
        client = staff_client(*VIEW, "replay", "release")
        shown = client.get(reverse("admin:django_idempotency_idempotencyincident_changelist")).content.decode()
        assert "bulk_close" not in shown
        given = {"act": "close", "about": "incident", "row": [f"{found.pk}:1"], "reason": "x"}
        assert client.post(reverse(BEGIN), given).status_code == 403


class TestCelery:
    def test_where_the_settings_say_so_a_worker_does_it(self, on_call, monkeypatch):
        asked = []
        monkeypatch.setattr(carry_out_bulk, "delay", lambda *args, **named: asked.append((args, named)))
        given = {"act": "release", "about": "record", "row": rows_of(dead()), "reason": "x"}
        on_call.post(reverse(BEGIN), given)
        assert asked == []
        with override_settings(IDEMPOTENCY={"default": {"BULK_IN_CELERY": True}}):
            on_call.post(reverse(BEGIN), {**given, "row": rows_of(dead())})
            run = IdempotencyBulk.objects.latest("pk")
            shown = on_call.get(page_of(run)).content.decode()
        assert asked == [((run.pk,), {"database": "default"})]
        assert 'http-equiv="refresh"' in shown

    def test_the_task_does_all_and_hands_on_what_takes_too_long(self, monkeypatch):
        asked = []
        monkeypatch.setattr(carry_out_bulk, "delay", lambda *args, **named: asked.append(args))
        run = begun([dead(), dead()])
        assert carry_out_bulk(run.pk, database="default", seconds=0) is True
        assert asked == [(run.pk,)]
        assert carry_out_bulk(run.pk, database="default") is False
        assert states(run) == ["done", "done"]


def test_a_page_goes_on_by_itself_only_for_whom_it_may(on_call):
    of_another = begun([dead()])
    on_call.post(reverse(BEGIN), {"act": "release", "about": "record", "row": rows_of(dead()), "reason": "x"})
    theirs = IdempotencyBulk.objects.latest("pk")
    assert "bulk.js" in on_call.get(page_of(theirs)).content.decode()
    assert "bulk.js" not in on_call.get(page_of(of_another)).content.decode()


def test_the_list_s_queries_do_not_grow_with_it(on_call, django_assert_num_queries):
    page = reverse("admin:django_idempotency_idempotencybulk_changelist")
    for _ in range(2):
        begun([dead(), dead()])
    with CaptureQueriesContext(connections["default"]) as few:
        on_call.get(page)
    for _ in range(5):
        begun([dead()])
    with django_assert_num_queries(len(few)):
        assert "2 not begun" in on_call.get(page).content.decode()
