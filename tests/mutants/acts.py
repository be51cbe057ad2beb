"""What is taken out of the acts of staff and of their approvals, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

RECORDS = "tests/resolution/test_records.py"
INCIDENTS = "tests/resolution/test_incidents.py"
RACES = "tests/resolution/test_races.py"
PAYLOADS = "tests/resolution/test_payloads.py"
COMMANDS = "tests/resolution/test_staff_commands.py"
APPROVALS = "tests/test_approvals.py"

in_acts = partial(edit, "resolution/acts.py")
in_records = partial(edit, "resolution/records.py")
in_incidents = partial(edit, "resolution/incidents.py")
in_payloads = partial(edit, "resolution/payloads.py")
in_grants = partial(edit, "resolution/grants.py")
in_approvals = partial(edit, "approvals.py")

MUTANTS = [
    OnSQLite(
        "a release needs the claim that was shown",
        (in_records('    if row["claim"] != claim:\n', "    if False:\n"),),
        (RECORDS,),
        only="another_claim",
    ),
    OnSQLite(
        "only what is in flight is released",
        (
            in_records('if row["state"] != State.PROCESSING.value:', "if False:"),
            in_records(', "state": State.PROCESSING.value}', "}"),
        ),
        (RECORDS,),
        only="in_flight or completed_stays",
    ),
    Mutant(
        "a release asks again under the lock: the state",
        (in_records(', "state": State.PROCESSING.value}', "}"), in_records("**as_seen, token=0,", "**as_seen,")),
        (RACES,),
        only="no_longer_in_flight",
    ),
    Mutant(
        "a release asks again under the lock: the claim",
        (in_records(', "claim": row["claim"], "state"', ', "state"'),),
        (RACES,),
        only="no_longer_in_flight",
    ),
    Mutant(
        "a release does not go past a lock",
        (
            in_records("records.select_for_update(nowait=True)", "records"),
            in_records("ours._raw_delete(records.db)", "1"),
        ),
        (RECORDS,),
        only="living_owner",
    ),
    OnSQLite(
        "a release leaves what was just claimed alone",
        (in_records(", claimed_at__lte=ago(records, GUARD)", ""),),
        (RECORDS,),
        only="a_moment_ago",
    ),
    OnSQLite(
        "a release leaves what may have taken effect alone",
        (
            in_records('    if row["lease_until"] is not None or row["token"] > 0:\n', "    if False:\n"),
            in_records('token=0, lease_until=None, operation=""', 'operation=""'),
        ),
        (RECORDS,),
        only="may_have_taken_effect",
    ),
    OnSQLite(
        "a release leaves operations alone",
        (
            in_records(
                'if row["operation"]:\n        raise WrongState(OF_AN_OPERATION.format(do=RESUMED))',
                "if False:\n        pass",
            ),
        ),
        (RECORDS,),
        only="gone_on_with",
    ),
    OnSQLite(
        "a release keeps the request in an incident",
        (
            in_records(
                "if not incidents.together(records.db, left, lambda: ours._raw_delete(records.db)):",
                "if not ours._raw_delete(records.db):",
            ),
        ),
        (RECORDS,),
        only="leaves_an_incident",
    ),
    OnSQLite(
        "what a view has answered is kept under encryption",
        (edit("resolution/unknowns.py", "sealed(body, policy.encryption_keys)", "(body, '')"),),
        (RECORDS,),
        only="encrypted",
    ),
    OnSQLite(
        "a view: never happened, not before a day has passed",
        (in_records("elif not held.has_rested():", "elif False:"),),
        (RECORDS,),
        only="refused_for_a_day",
    ),
    OnSQLite(
        "what happened to an operation is for its call to say",
        (in_records('        if held.row["operation"]:\n            raise', "        if False:\n            raise"),),
        (RECORDS,),
        only="of_an_operation",
    ),
    OnSQLite(
        "an answer that is kept",
        (in_records("if not 200 <= status < 500 or not policy.keeps_status(status):", "if False:"),),
        (RECORDS,),
        only="no_kept_answer",
    ),
    OnSQLite(
        "an act is in the audit",
        (in_acts("record_event(asked.actor,", "dict(actor=asked.actor, act="),),
        (RECORDS,),
        only="in_the_audit",
    ),
    Mutant(
        "a decision on the incident that was shown",
        (in_incidents('filter(pk=incident_id, counter=said["counter"], healed_at=None)', "filter(pk=incident_id)"),),
        (RACES,),
        only="an_incident_that_moves",
    ),
    OnSQLite(
        "what is closed is decided",
        (
            in_incidents('    if row["healed_at"] is not None:\n', "    if False:\n"),
            in_incidents(', counter=said["counter"], healed_at=None)', ', counter=said["counter"])'),
        ),
        (INCIDENTS,),
        only="what_is_closed",
    ),
    OnSQLite(
        "an act for each kind of incident",
        (in_incidents('    if row["kind"] not in kinds:\n', "    if False:\n"),),
        (INCIDENTS,),
        only="another_kind",
    ),
    OnSQLite(
        "an unknown outcome is recorded, not closed",
        (in_incidents('if row["kind"] == Kind.UNKNOWN and waiting.exists():', "if False:"),),
        (INCIDENTS,),
        only="recorded_first",
    ),
    OnSQLite(
        "of two who take an incident one is told",
        (in_incidents("filter(pk=incident_id, assignee=seen)", "filter(pk=incident_id)"),),
        (INCIDENTS,),
        only="the_second_is_told",
    ),
    OnSQLite(
        "what happens again is undecided",
        (edit("incidents.py", ', "decision": "", "reference": ""}', "}"),),
        (INCIDENTS,),
        only="happens_again_is",
    ),
    OnSQLite(
        "who looks at a payload is on record",
        (
            in_payloads(
                '        record_event(actor, "reveal", using=rows.db, reason=reason, **about)\n', "        pass\n"
            ),
        ),
        (PAYLOADS,),
    ),
    OnSQLite(
        "a payload is shown for a reason",
        (in_payloads("    refuse_empty(reason=reason)\n", ""),),
        (PAYLOADS,),
        only="without_a_reason",
    ),
    OnSQLite(
        "a second person",
        (in_acts("elif needed(asked.act, row, asked.arguments):", "elif False:"),),
        (APPROVALS,),
        only="without_a_second_person",
    ),
    OnSQLite(
        "a second person for money that is named",
        (in_acts("needed(asked.act, row, asked.arguments)", "needed(asked.act, row)"),),
        ("tests/resolution/test_operations.py",),
        only="second_person_under_any_limit",
    ),
    OnSQLite(
        "a second person, above the amount",
        (in_grants("abs(amount) > limit", "False"),),
        (APPROVALS,),
        only="TestRules",
    ),
    OnSQLite(
        "a second person, where the amount is unknown",
        (in_grants("limit is None or amount is None or", "amount is not None and limit is not None and"),),
        (APPROVALS,),
        only="TestRules",
    ),
    OnSQLite(
        "another person",
        (in_approvals("if same_name or actor.id == found.requester_id:", "if False:"),),
        (APPROVALS,),
        only="nobody_approves",
    ),
    *(
        OnSQLite(
            f"the database refuses the same {what}",
            (edit("migrations/0007_events.py", f'models.Q(("{column}", models.F("{other}")), _negated=True),', ""),),
            (APPROVALS,),
            only="database_itself",
        )
        for what, column, other in (
            ("name", "approver", "requester"),
            ("user", "approver_id", "requester_id"),
        )
    ),
    OnSQLite(
        "somebody has approved it",
        (edit("migrations/0007_events.py", 'models.Q(("approver", ""), _negated=True),', ""),),
        (APPROVALS,),
        only="database_itself",
    ),
    OnSQLite(
        "what is approved is what was asked for",
        (in_grants("frozen is None or not among(frozen, digests(asked))", "frozen is None"),),
        (APPROVALS,),
        only="changed_in_the_database or another_record",
    ),
    OnSQLite(
        "an approval is used up",
        (
            in_grants(
                "pk__in=[asked.actor.approval], state=IdempotencyApproval.State.APPROVED", "pk=asked.actor.approval"
            ),
        ),
        (APPROVALS,),
        only="used_once or changed",
    ),
    Mutant(
        "of two who approve one is told",
        (in_approvals("filter(pk=found.pk, state=State.REQUESTED)\n    who", "filter(pk=found.pk)\n    who"),),
        (APPROVALS,),
        only="approved_or_rejected or two_who_approve",
    ),
    OnSQLite(
        "an approval that is late",
        (in_approvals("expires_at__lte=now(alias)).exists()", "pk__lt=0).exists()"),),
        (APPROVALS,),
        only="late",
    ),
    OnSQLite(
        "who approves is logged in",
        (in_approvals("    if not actor.id:\n", "    if False:\n"),),
        (APPROVALS,),
        only="command_line",
    ),
    OnSQLite(
        "what is approved is encrypted",
        (
            in_approvals(
                "sealed(canonical(asked.arguments).encode(), sealing_keys())", 'canonical(asked.arguments).encode(), ""'
            ),
        ),
        (APPROVALS,),
        only="TestEncryption",
    ),
    OnSQLite(
        "approvals change their key",
        (edit("rotation.py", '    (IdempotencyApproval, "arguments", "arguments_key_id"),\n', ""),),
        (APPROVALS,),
        only="TestEncryption",
    ),
    OnSQLite(
        "a command asks for a second person",
        (edit("management/acting.py", "        asked = approvals.request(needs)\n", "        raise\n"),),
        (COMMANDS,),
        only="second_person",
    ),
]
