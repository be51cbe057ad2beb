"""
Each address of ours in the admin, asked without each of the permissions that it takes.

The addresses come out of the URLconf: one that is new is in neither table below, and a test says so.
"""

import itertools

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, reverse

from django_idempotency import approvals, bulk, resolution
from django_idempotency.admin.act_forms import PAGES
from django_idempotency.core.acts import Act
from django_idempotency.models import (
    IdempotencyApproval,
    IdempotencyBulk,
    IdempotencyBulkRow,
    IdempotencyIncident,
    IdempotencyRecord,
)
from django_idempotency.resolution import NeedsApproval
from tests.desk.situations import HOUR, answered
from tests.desk.situations import incident as incident_of
from tests.resolution.people import BOB, events
from tests.support.records import stored

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.desk.urls")]

APP = "django_idempotency"
RECORD, INCIDENT = f"{APP}_idempotencyrecord", f"{APP}_idempotencyincident"
APPROVAL, BULK, ROLLUP = f"{APP}_idempotencyapproval", f"{APP}_idempotencybulk", f"{APP}_idempotencyrollup"
SEE_RECORD, SEE_INCIDENT = "view_idempotencyrecord", "view_idempotencyincident"
SEE_APPROVAL, SEE_ROLLUP = "view_idempotencyapproval", "view_idempotencyrollup"
NOBODY = ("nobody",)
"""What no permission is enough for."""

# By the name of the address: the permissions that it takes, each of them.
PAGES_OF_OURS = {
    f"{ROLLUP}_changelist": (SEE_ROLLUP,),
    f"{RECORD}_changelist": (SEE_RECORD,),
    f"{RECORD}_change": (SEE_RECORD,),
    f"{RECORD}_history": (SEE_RECORD,),
    f"{INCIDENT}_changelist": (SEE_INCIDENT,),
    f"{INCIDENT}_change": (SEE_INCIDENT,),
    f"{INCIDENT}_history": (SEE_INCIDENT,),
    f"{APPROVAL}_changelist": (SEE_APPROVAL,),
    f"{APPROVAL}_change": (SEE_APPROVAL,),
    f"{APPROVAL}_history": (SEE_APPROVAL,),
    f"{BULK}_changelist": (f"{SEE_RECORD} {SEE_INCIDENT}",),
    f"{BULK}_change": (SEE_RECORD,),
    f"{BULK}_history": (SEE_RECORD,),
    **{f"{model}_add": NOBODY for model in (RECORD, INCIDENT, APPROVAL, BULK)},
    **{f"{model}_delete": NOBODY for model in (RECORD, INCIDENT, APPROVAL, BULK)},
}
POSTS = {
    f"{RECORD}_export": (SEE_RECORD, "export"),
    f"{RECORD}_unmask": (SEE_RECORD, "view_payload"),
    f"{INCIDENT}_unmask": (SEE_INCIDENT, "view_payload"),
    f"{INCIDENT}_assign": (SEE_INCIDENT, "resolve replay release"),
    f"{INCIDENT}_reopen": (SEE_INCIDENT, "resolve"),
    f"{APPROVAL}_approve": (SEE_APPROVAL, "approve"),
    f"{APPROVAL}_reject": (SEE_APPROVAL, "approve"),
    f"{BULK}_begin": (SEE_RECORD, "release"),
    f"{BULK}_go-on": (SEE_RECORD, "release"),
    f"{BULK}_stop": (SEE_RECORD, "release"),
}
BY_ACT = {f"{RECORD}_act": SEE_RECORD, f"{INCIDENT}_act": SEE_INCIDENT}
OURS = {
    SEE_RECORD,
    SEE_INCIDENT,
    SEE_APPROVAL,
    SEE_ROLLUP,
    *(["view_payload", "replay", "resolve", "release", "approve", "export"]),
}
"""Django lets who may change a thing see it, too: nobody is given that of ours."""
ADDRESSES = {**PAGES_OF_OURS, **POSTS}
GIVEN = {"seen": 1, "reason": "r", "evidence": "e", "act": "release", "about": "record", "format": "csv"}


def names():
    """Of all addresses below our app's in the admin; a redirect to one of them has none."""
    return {name for path, name in walked(admin.site.get_urls()) if path.startswith(f"{APP}/")} - {None}


def walked(patterns, before=""):
    for pattern in patterns:
        path = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from walked(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            yield path, pattern.name


@pytest.fixture
def of_model():
    """One of each, by the name of its model in addresses."""
    record = answered(HOUR, request_body=b'{"amount": "12.00"}', key="key-of-a-customer")
    dead = stored("processing")
    run = bulk.begin(Act.RELEASE, [dead], {dead.pk: dead.claim}, reason="r", actor=BOB, using="default")
    return {RECORD: record, INCIDENT: incident_of(record, "failed"), APPROVAL: asked_for(), BULK: run, ROLLUP: None}


def asked_for():
    dead = stored("processing")
    with (
        override_settings(IDEMPOTENCY={"default": {"APPROVALS": {"release": None}}}),
        pytest.raises(NeedsApproval) as needs,
    ):
        resolution.release(dead.pk, claim=dead.claim, reason="dead", actor=BOB)
    return approvals.request(needs.value)


def state():
    """All that an act could change."""
    columns = {
        IdempotencyRecord: ("id", "state", "claim", "token"),
        IdempotencyIncident: ("id", "healed_at", "decision", "assignee"),
        IdempotencyApproval: ("id", "state", "approver"),
        IdempotencyBulk: ("id", "stopped_at"),
        IdempotencyBulkRow: ("id", "state"),
    }
    rows = {model: sorted(model.objects.values_list(*names), key=str) for model, names in columns.items()}
    return rows, events()


def address(name, of_model, *more):
    model, _, kind = name.rpartition("_")
    alone = kind in ("changelist", "add", "export", "begin")
    return reverse(f"admin:{name}", args=[] if alone else [of_model[model].pk, *more])


def everybody_but(*withheld):
    """A member of staff, logged in, with all permissions of ours except these."""
    user = User.objects.create_user(f"user-{next(NUMBERS)}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=OURS.difference(withheld)))
    client = Client()
    client.force_login(user)
    return client


NUMBERS = itertools.count(1)


def test_no_address_is_forgotten():
    assert names() == {*ADDRESSES, *BY_ACT}


@pytest.mark.parametrize("name", ADDRESSES)
def test_without_one_of_its_permissions_an_address_gives_nothing(of_model, name):
    where, before = address(name, of_model), state()
    for withheld in ADDRESSES[name]:
        client = everybody_but(*withheld.split())
        for answer in (client.get(where), client.post(where, GIVEN)):
            assert refused(answer, name), (withheld, answer.status_code)
            assert "key-of-a-customer" not in shown(answer)
    assert state() == before


def refused(answer, name):
    # What one may not see is not there: Django sends whoever asks for such a thing to the index.
    if answer.status_code == 302:
        return answer.headers["Location"] == reverse("admin:index")
    return answer.status_code == 403 or (name in POSTS and answer.status_code in (404, 405))


def shown(answer):
    return answer.getvalue().decode()


@pytest.mark.parametrize("name", [name for name in PAGES_OF_OURS if PAGES_OF_OURS[name] != NOBODY])
def test_with_them_all_a_page_is_shown(of_model, name):
    assert everybody_but().get(address(name, of_model)).status_code == 200


@pytest.mark.parametrize("act", PAGES)
@pytest.mark.parametrize("name", BY_ACT)
def test_without_one_of_its_permissions_an_act_has_no_page_and_is_not_done(of_model, name, act):
    where, before = address(name, of_model, str(act)), state()
    for withheld in (BY_ACT[name], *PAGES[act].permissions):
        client = everybody_but(withheld)
        answers = [client.get(where), client.post(where, GIVEN)]
        # What is no act on such a thing is not there for anybody.
        assert {answer.status_code for answer in answers} <= {403, 404}
        assert everybody_but().get(where).status_code == 404 or {answer.status_code for answer in answers} == {403}
    assert state() == before


@pytest.mark.parametrize("name", [*ADDRESSES, *BY_ACT])
@pytest.mark.parametrize("who", ["somebody", "a customer", "staff without any permission"])
def test_who_is_nobody_here_gets_nowhere(of_model, name, who):
    act = {f"{RECORD}_act": ["release"], f"{INCIDENT}_act": ["close"]}.get(name, [])
    where, before = address(name, of_model, *act), state()
    client = Client()
    if who != "somebody":
        client.force_login(User.objects.create_user("eve", is_staff=who != "a customer"))
    for answer in (client.get(where), client.post(where, GIVEN)):
        if who == "staff without any permission":
            assert refused(answer, name)
        else:
            assert answer.headers["Location"].startswith("/admin/login/")
    assert state() == before


@pytest.mark.parametrize(("model", "see"), [(RECORD, SEE_RECORD), (INCIDENT, SEE_INCIDENT)])
def test_without_one_of_its_permissions_an_action_is_neither_offered_nor_done(of_model, rf, model, see):
    model_admin = next(found for found in admin.site._registry.values() if found.opts.label_lower == label(model))
    where, before = address(f"{model}_changelist", of_model), state()
    offered = {action.__name__: action for action in model_admin.actions}
    assert offered
    for name, action in offered.items():
        ticked = {"action": name, "_selected_action": [str(of_model[model].pk)], "index": 0}
        for withheld in action.allowed_permissions:
            client = everybody_but(withheld)
            assert f'value="{name}"' not in shown(client.get(where))
            assert "idem-reason" not in shown(client.post(where, ticked))
        assert f'value="{name}"' in shown(everybody_but().get(where))
        assert everybody_but(see).post(where, ticked).status_code == 403
    assert state() == before


def label(model):
    return model.replace(f"{APP}_", f"{APP}.")


BUTTONS = {
    "export": (f"{RECORD}_changelist", f"{RECORD}_export"),
    "view_payload": (f"{RECORD}_change", f"{RECORD}_unmask"),
    "approve": (f"{APPROVAL}_change", f"{APPROVAL}_approve"),
    "release": (f"{BULK}_change", f"{BULK}_stop"),
    "resolve": (f"{INCIDENT}_change", f"{INCIDENT}_act", "close"),
    "replay": (f"{RECORD}_change", f"{RECORD}_act", "show-answer"),
}


@pytest.mark.parametrize("codename", BUTTONS)
def test_a_button_is_only_where_it_works(of_model, codename):
    page, target, *more = BUTTONS[codename]
    button = address(target, of_model, *more)
    assert button in shown(everybody_but().get(address(page, of_model)))
    assert button not in shown(everybody_but(codename).get(address(page, of_model)))


def test_the_index_names_only_what_may_be_seen(of_model):
    models = {SEE_RECORD: RECORD, SEE_INCIDENT: INCIDENT, SEE_APPROVAL: APPROVAL, SEE_ROLLUP: ROLLUP}
    for page in (reverse("admin:index"), reverse("admin:app_list", args=[APP])):
        for withheld, model in models.items():
            link = reverse(f"admin:{model}_changelist")
            assert f'href="{link}"' in shown(everybody_but().get(page))
            assert f'href="{link}"' not in shown(everybody_but(withheld).get(page))


class TestBulkActsOnIncidents:
    """Whoever may see incidents alone can do several at once, too; and nobody else sees what they were."""

    @pytest.fixture
    def run(self, of_model):
        found = of_model[INCIDENT]
        seen = {found.pk: found.counter}
        return bulk.begin(Act.CLOSE, [found], seen, reason="r", actor=BOB, using="default")

    def test_without_the_permission_to_see_incidents_it_is_not_there(self, of_model, run):
        client = everybody_but(SEE_INCIDENT)
        page = address(f"{BULK}_change", {BULK: run})
        assert client.get(page).status_code == 302
        assert page not in shown(client.get(reverse(f"admin:{BULK}_changelist")))
        assert client.post(address(f"{BULK}_stop", {BULK: run})).status_code == 404

    def test_without_the_permission_to_see_requests_it_is_done(self, of_model):
        client = everybody_but(SEE_RECORD)
        given = {"act": "close", "about": "incident", "row": [f"{of_model[INCIDENT].pk}:1"], "reason": "r"}
        begun = client.post(reverse(f"admin:{BULK}_begin"), given)
        page = begun.headers["Location"]
        assert page in shown(client.get(reverse(f"admin:{BULK}_changelist")))
        run = IdempotencyBulk.objects.latest("pk")
        assert client.post(address(f"{BULK}_go-on", {BULK: run})).status_code == 302
        assert "1 done" in shown(client.get(page))
