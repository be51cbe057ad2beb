"""What is taken out of upkeep and staff's acts on durable operations, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

RESOLUTION = "tests/test_resolution.py"
JOURNALS = "tests/test_journals.py"
CHECKS = "tests/test_checks.py"
ADMIN = "tests/test_admin.py"

in_resolution = partial(edit, "resolution.py")
in_journals = partial(edit, "journals.py")

MUTANTS = [
    OnSQLite(
        "only what is unknown is resolved",
        (
            in_resolution('if row["state"] != State.UNKNOWN.value:', "if False:"),
            in_resolution(", state=State.UNKNOWN.value)", ")"),
        ),
        (RESOLUTION,),
        only="only_what_is_unknown or second_word",
    ),
    Mutant(
        "the fence of a person's act",
        (
            in_resolution(
                'id=row["id"], claim=row["claim"], token=row["token"], state=State.UNKNOWN.value', 'id=row["id"]'
            ),
        ),
        (RESOLUTION,),
        only="two_at_once",
    ),
    OnSQLite(
        "a person's act raises the token",
        (
            in_resolution('token=F("token") + 1, resumes=0', "resumes=0"),
            edit("operations/recovery.py", 'attempt=row["token"] + 1)', 'attempt=row["token"])'),
        ),
        (RESOLUTION,),
        only="zombie",
    ),
    OnSQLite(
        "a word on what has been at work since",
        (in_resolution('if token is not None and token != row["token"]:', "if False:"),),
        (RESOLUTION,),
        only="at_work_since",
    ),
    OnSQLite(
        "an outcome needs a call without a result",
        (in_resolution("steps[-1].kind is not Kind.REMOTE or steps[-1].finished", "False"),),
        (RESOLUTION,),
        only="without_a_call",
    ),
    OnSQLite(
        "an approval of what was asked",
        (in_resolution("if None not in (value, found[name]) and value != found[name]:", "if False:"),),
        (RESOLUTION,),
        only="TestMoney",
    ),
    OnSQLite(
        "evidence",
        (in_resolution("        if not text.strip():", "        if False:"),),
        (RESOLUTION,),
        only="without_evidence",
    ),
    OnSQLite(
        "never happened: not before the gateway has forgotten the key",
        (in_resolution("requested_at__lte=ago(self.records, ttl)", "requested_at__isnull=False"),),
        (RESOLUTION,),
        only="TestNeverHappened",
    ),
    OnSQLite(
        "never happened: not before a day has passed",
        (in_resolution("lease_until__lte=ago(self.records, SETTLED)", "lease_until__isnull=False"),),
        (RESOLUTION,),
        only="TestNeverHappened",
    ),
    OnSQLite(
        "never happened closes for good",
        (in_resolution("            state=State.COMPLETED.value,\n", "            resume_at=None,\n"),),
        (RESOLUTION,),
        only="for_good",
    ),
    OnSQLite(
        "a resolved operation has all its attempts",
        (in_resolution('token=F("token") + 1, resumes=0', 'token=F("token") + 1'),),
        (RESOLUTION,),
        only="attempts_again",
    ),
    OnSQLite(
        "a resolved operation is due at once",
        (in_resolution("self.store.postpone(self.claim, timedelta(0))", "self.store.postpone(self.claim, SETTLED)"),),
        (RESOLUTION,),
        only="TestOutcomes",
    ),
    OnSQLite(
        "its incident is closed",
        (in_resolution('        _close_incidents(records.db, row["id"])\n', ""),),
        (RESOLUTION,),
        only="incident",
    ),
    OnSQLite(
        "told after the commit",
        (in_resolution("        transaction.on_commit(tell, using=records.db, robust=True)\n", "        tell()\n"),),
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
        "secrets of an operation in the admin",
        (
            edit(
                "admin.py",
                "masking.data(masking.json(bytes(stored).decode()))",
                "__import__('json').loads(bytes(stored))",
            ),
        ),
        (ADMIN,),
        only="TestOperations",
    ),
]
