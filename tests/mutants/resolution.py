"""What is taken out of upkeep and staff's acts on durable operations, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

RESOLUTION = "tests/resolution/test_operations.py"
JOURNALS = "tests/test_journals.py"
CHECKS = "tests/test_checks.py"

in_unknowns = partial(edit, "resolution/unknowns.py")
in_operations = partial(edit, "resolution/operations.py")
in_journals = partial(edit, "journals.py")

MUTANTS = [
    OnSQLite(
        "only what is unknown is resolved",
        (
            in_unknowns('if row["state"] != State.UNKNOWN.value:', "if False:"),
            in_unknowns(", state=State.UNKNOWN.value)", ")"),
        ),
        (RESOLUTION,),
        only="only_what_is_unknown or second_word",
    ),
    Mutant(
        "the fence of a person's act",
        (
            in_unknowns(
                'id=row["id"], claim=row["claim"], token=row["token"], state=State.UNKNOWN.value', 'id=row["id"]'
            ),
        ),
        (RESOLUTION,),
        only="two_at_once",
    ),
    OnSQLite(
        "a person's act raises the token",
        (
            in_unknowns('token=F("token") + 1, resumes=0', "resumes=0"),
            edit("operations/recovery.py", 'attempt=row["token"] + 1)', 'attempt=row["token"])'),
        ),
        (RESOLUTION,),
        only="zombie",
    ),
    OnSQLite(
        "a word on what has been at work since",
        (in_unknowns('if token is not None and token != row["token"]:', "if False:"),),
        (RESOLUTION,),
        only="at_work_since",
    ),
    OnSQLite(
        "an outcome needs a call without a result",
        (in_operations("steps[-1].kind is not Kind.REMOTE or steps[-1].finished", "False"),),
        (RESOLUTION,),
        only="without_a_call",
    ),
    OnSQLite(
        "an approval of what was asked",
        (in_operations("if None not in (value, found[name]) and value != found[name]:", "if False:"),),
        (RESOLUTION,),
        only="TestMoney",
    ),
    OnSQLite(
        "evidence",
        (edit("audit.py", "        if not text.strip():", "        if False:"),),
        (RESOLUTION,),
        only="without_evidence",
    ),
    OnSQLite(
        "never happened: not before the gateway has forgotten the key",
        (in_operations("requested_at__lte=ago(self.held.records, ttl)", "requested_at__isnull=False"),),
        (RESOLUTION,),
        only="TestNeverHappened",
    ),
    OnSQLite(
        "never happened: not before a day has passed",
        (in_unknowns("Q(lease_until__lte=past)", "Q(lease_until__isnull=False)"),),
        (RESOLUTION,),
        only="TestNeverHappened",
    ),
    OnSQLite(
        "never happened closes for good",
        (in_unknowns("            state=State.COMPLETED.value,\n", "            resume_at=None,\n"),),
        (RESOLUTION,),
        only="for_good",
    ),
    OnSQLite(
        "a resolved operation has all its attempts",
        (in_unknowns('token=F("token") + 1, resumes=0', 'token=F("token") + 1'),),
        (RESOLUTION,),
        only="attempts_again",
    ),
    OnSQLite(
        "a resolved operation is due at once",
        (
            in_operations(
                "self.store.postpone(self.claim, timedelta(0))", "self.store.postpone(self.claim, timedelta(1))"
            ),
        ),
        (RESOLUTION,),
        only="TestOutcomes",
    ),
    OnSQLite(
        "its incident is closed",
        (in_unknowns('        _close_incidents(records.db, row["id"])\n', ""),),
        (RESOLUTION,),
        only="incident",
    ),
    OnSQLite(
        "told after the commit",
        (
            edit(
                "resolution/acts.py",
                "transaction.on_commit(partial(_tell, asked, row), using=using, robust=True)",
                "_tell(asked, row)",
            ),
        ),
        (RESOLUTION,),
        only="told_after",
    ),
    OnSQLite(
        "the journal goes with the record",
        (in_journals("        delete(locked.db, operations.intersection(held))\n", ""),),
        (JOURNALS,),
        only="TestPurge or TestForgotten",
    ),
    OnSQLite(
        "the journal goes with a key that is free again",
        (
            edit(
                "backends/db/runs.py",
                "            journals.delete(dialect.alias, [operation.id])\n",
                "            pass\n",
            ),
        ),
        (JOURNALS,),
        only="TestForgotten",
    ),
    OnSQLite(
        "what a retry takes up is upkeep's",
        (edit("backends/db/leases.py", '        changes["resume_at"] = None\n', ""),),
        (JOURNALS,),
        only="TestNeverBegun",
    ),
    OnSQLite(
        "what has a journal was begun",
        (in_journals("~Exists(steps), due_at__lte", "due_at__lte"),),
        (JOURNALS,),
        only="TestNeverBegun",
    ),
    OnSQLite(
        "what may yet be asked for again is kept",
        (in_journals("due_at__lte=before, lease_until__lte=before", "due_at__isnull=False"),),
        (JOURNALS,),
        only="TestNeverBegun",
    ),
    OnSQLite(
        "an unfinished operation is not erased",
        (
            edit(
                "erasure.py",
                'Q(state=State.PROCESSING.value) | Q(state=State.UNKNOWN.value, operation__gt="")',
                "Q(state=State.PROCESSING.value)",
            ),
        ),
        (JOURNALS,),
        only="TestErase",
    ),
    OnSQLite(
        "steps are erased",
        (edit("erasure.py", "                journals.erase(rows.db, exact)\n", "                pass\n"),),
        (JOURNALS,),
        only="TestErase",
    ),
    OnSQLite(
        "steps change their key",
        (edit("rotation.py", '    (IdempotencyStep, "result", "result_key_id"),\n', ""),),
        (JOURNALS,),
        only="TestRekey",
    ),
    OnSQLite(
        "operations in flight change their key",
        (
            edit(
                "rotation.py",
                'if model is IdempotencyRecord and column != "operation_input":',
                "if model is IdempotencyRecord:",
            ),
        ),
        (JOURNALS,),
        only="TestRekey",
    ),
    OnSQLite(
        "we remember longer than the gateway",
        (edit("operations/boundaries.py", "if key_ttl is not None and key_ttl > remembered:", "if False:"),),
        (JOURNALS,),
        only="TestForgotten",
    ),
    OnSQLite(
        "a check of what the gateway remembers",
        (edit("operations/checks.py", "        if key_ttl > remembered:", "        if False:"),),
        (CHECKS,),
        only="TestOperations",
    ),
    OnSQLite(
        "faulty settings are counted",
        (
            edit(
                "operations/recovery.py",
                "        return _misconfigured(records, row)\n",
                '        return "postponed"\n',
            ),
        ),
        ("tests/operations/test_recovery.py",),
        only="faulty_settings",
    ),
]
