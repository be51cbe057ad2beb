"""Acts at the command line: shells round the functions, in the name of whoever says so."""

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.test import override_settings

from django_idempotency import approvals
from django_idempotency.models import IdempotencyApproval, IdempotencyRecord
from django_idempotency.permissions import GROUPS
from django_idempotency.resolution.refusals import Moved
from tests.resolution.people import events
from tests.support.records import stored

pytestmark = pytest.mark.django_db

BECAUSE = ("--reason=its worker was killed", "--by=ada")
HAPPENED = ("--happened=201", '--body={"payment": 7}', "--reference=payment 7", "--evidence=line 7", "--by=ada")


def run(name: str, *arguments: Any, **options: Any) -> str:
    out = StringIO()
    call_command(name, *map(str, arguments), stdout=out, **options)
    return out.getvalue()


class TestRelease:
    def test_without_a_claim_the_record_is_shown_with_its_own(self) -> None:
        dead = stored("processing", key="k\x1b[2J")
        lines = dict(line.split(maxsplit=1) for line in run("idempotency_release", dead.pk).splitlines())
        assert (lines["claim"], lines["state"], lines["key"]) == (str(dead.claim), "processing", "k\\x1b[2J")
        assert IdempotencyRecord.objects.exists()

    def test_it_is_released_in_the_name_of_whoever_says_so(self) -> None:
        dead = stored("processing")
        assert run("idempotency_release", dead.pk, f"--claim={dead.claim}", *BECAUSE) == "released\n"
        ((act, actor, user, address, reason),) = events("act", "actor", "actor_id", "address", "reason")
        assert (act, actor, user, reason) == ("release", "ada", "", "its worker was killed")
        assert address.startswith("command line, ")
        assert not IdempotencyRecord.objects.exists()

    def test_nothing_is_told_at_verbosity_0(self) -> None:
        dead = stored("processing")
        assert run("idempotency_release", dead.pk, f"--claim={dead.claim}", *BECAUSE, verbosity=0) == ""

    @pytest.mark.parametrize(
        ("claim", "said", "fault"),
        [
            (0, BECAUSE, "changed since it was read"),
            (None, ("--reason=dead",), "by must not be empty"),
            (None, ("--by=ada",), "reason must not be empty"),
        ],
    )
    def test_what_is_refused_is_an_error(self, claim: int | None, said: tuple[str, ...], fault: str) -> None:
        dead = stored("processing")
        with pytest.raises(CommandError, match=fault):
            run("idempotency_release", dead.pk, f"--claim={dead.claim if claim is None else claim}", *said)
        assert (IdempotencyRecord.objects.count(), events()) == (1, [])

    def test_what_is_not_there_is_not_shown(self) -> None:
        with pytest.raises(CommandError, match="There is no record"):
            run("idempotency_release", "5b2e4c0a-1f63-5d0e-9a57-0c7f6c2b8d11")

    def test_what_needs_a_second_person_is_asked_for(self) -> None:
        dead = stored("processing")
        rules = {"APPROVALS": {"release": None}}
        with override_settings(IDEMPOTENCY={"default": rules}), pytest.raises(CommandError) as raised:
            run("idempotency_release", dead.pk, f"--claim={dead.claim}", *BECAUSE)
        asked = IdempotencyApproval.objects.get()
        assert f"approval {asked.pk} was asked for" in str(raised.value)
        assert (asked.requester, asked.state, IdempotencyRecord.objects.count()) == ("ada", "requested", 1)

    def test_what_moves_while_a_second_person_is_asked_for_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dead = stored("processing")

        def moves(needs: Any) -> None:
            raise Moved from needs

        monkeypatch.setattr(approvals, "request", moves)
        rules = {"APPROVALS": {"release": None}}
        with override_settings(IDEMPOTENCY={"default": rules}), pytest.raises(CommandError, match="has been changed"):
            run("idempotency_release", dead.pk, f"--claim={dead.claim}", *BECAUSE)


class TestResolve:
    def test_the_record_of_a_view_is_shown(self) -> None:
        out = run("idempotency_resolve", stored("unknown", token=1).pk)
        lines = dict(line.split(maxsplit=1) for line in out.splitlines())
        assert (lines["method"], lines["path"], lines["state"], lines["token"]) == ("POST", "/pay", "unknown", "1")

    def test_that_it_has_happened_is_recorded_with_the_answer(self) -> None:
        found = stored("unknown")
        assert run("idempotency_resolve", found.pk, *HAPPENED) == "recorded\n"
        answered = IdempotencyRecord.objects.get()
        assert (answered.status, bytes(answered.body)) == (201, b'{"payment": 7}')
        assert events("act", "evidence") == [("happened", "line 7")]


class TestGroups:
    def members(self) -> dict[str, set[str]]:
        return {group.name: set(group.permissions.values_list("codename", flat=True)) for group in Group.objects.all()}

    def test_groups_are_made_and_a_second_time_nothing_changes(self) -> None:
        out = run("idempotency_groups")
        assert len(out.splitlines()) == len(GROUPS)
        made = self.members()
        assert made == {name: set(permissions) for name, permissions in GROUPS.items()}
        assert run("idempotency_groups", verbosity=0) == ""
        assert self.members() == made

    def test_what_somebody_has_added_stays(self) -> None:
        group = Group.objects.create(name="Idempotency support")
        group.permissions.add(Permission.objects.get(codename="view_user"))
        run("idempotency_groups")
        assert self.members()["Idempotency support"] == {"view_user", *GROUPS["Idempotency support"]}

    def test_who_may_act_may_not_approve(self) -> None:
        run("idempotency_groups")
        for name, permissions in self.members().items():
            assert ("approve" in permissions) is (name == "Idempotency approvers")
            assert not permissions & {"add_idempotencyrecord", "change_idempotencyrecord", "delete_idempotencyrecord"}

    def test_every_permission_of_the_desk_belongs_to_some_group(self) -> None:
        run("idempotency_groups")
        declared = {name for name, _ in IdempotencyRecord._meta.permissions}
        assert declared == {"view_payload", "replay", "resolve", "release", "approve", "export"}
        assert declared <= set.union(*self.members().values())
        user = User.objects.create_user("grace")
        user.groups.add(Group.objects.get(name="Idempotency on-call"))
        assert user.has_perm("django_idempotency.release")
        assert not user.has_perm("django_idempotency.resolve")

    def test_before_migrate_there_is_nothing_to_give(self) -> None:
        Permission.objects.filter(codename="release").delete()
        with pytest.raises(CommandError, match="There is no permission release"):
            run("idempotency_groups")
        assert not Group.objects.exists()
