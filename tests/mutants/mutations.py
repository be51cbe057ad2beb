"""The mutations: what is taken out of the code, and the quick tests that should notice."""

from dataclasses import dataclass, field
from functools import partial

PACKAGE = "django_idempotency"
CONTRACT = "tests/backends/test_contract.py"
LOCKS = "tests/backends/test_locks.py"
TRANSACTIONS = "tests/backends/test_transactions.py"
HOLES = "tests/test_holes.py"
UPKEEP = "tests/test_maintenance.py"
SESSIONS = "tests/backends/test_sessions.py"
PROTECTIONS = "tests/test_protections.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One exact text in one file of the package, and what stands there instead."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guarantee taken out."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    only: str = field(default="", kw_only=True)
    """pytest's -k: where the tests that should notice are."""
    database: str = field(default="postgresql", kw_only=True)
    """Which the tests are run on."""


# The fastest, for what is the same on every database.
OnSQLite = partial(Mutant, database="sqlite")


def edit(path: str, old: str, new: str) -> Edit:
    return Edit(path=f"{PACKAGE}/{path}", old=old, new=new)


def in_db(module: str, old: str, new: str) -> Edit:
    return edit(f"backends/db/{module}.py", old, new)


def in_engine(old: str, new: str) -> Edit:
    return edit("core/engine.py", old, new)


MUTANTS = [
    Mutant(
        "row lock",
        (
            in_db(
                "postgresql",
                "UPDATE {table} SET token = %s\nWHERE id",
                "SELECT pg_current_xact_id()::text, set_config"
                "('lock_timeout', current_setting('lock_timeout'), true) FROM {table}\nWHERE %s > 0 AND id",
            ),
            in_db(
                "postgresql",
                "RETURNING pg_current_xact_id()::text, "
                "set_config('lock_timeout', current_setting('djidempotency.before'), true)\n",
                "",
            ),
        ),
        (LOCKS,),
        only="row_of_a_running_view",
    ),
    Mutant("owner's wait", (in_db("committed", "PATIENCE = 1.0", "PATIENCE = 0"),), (LOCKS,), only="probes_its_lock"),
    Mutant(
        "age guard when judging",
        (in_engine("if operation.durable or record.now - record.claimed_at < GUARD:", "if operation.durable:"),),
        (CONTRACT,),
        only="younger_than_a_second",
    ),
    Mutant(
        "age guard under the lock",
        (in_db("postgresql", 'statement_timestamp() - %s"', 'statement_timestamp() - %s * 0"'),),
        (LOCKS,),
        only="TestTheTakersLock",
    ),
    Mutant(
        "fingerprint under the lock",
        (in_db("postgresql", " AND fingerprint = %s AND", " AND %s IS NOT NULL AND"),),
        (LOCKS,),
        only="TestTheTakersLock",
    ),
    Mutant(
        "claim under the lock",
        (in_db("postgresql", "id = %s AND claim = %s AND", "id = %s AND %s > 0 AND"),),
        (LOCKS,),
        only="TestTheOwnersLock",
    ),
    Mutant(
        "claim in complete",
        (
            in_db(
                "postgresql",
                "return self.claimed().filter(Q(Durable()), Q(same))",
                'return self.records().filter(Q(Durable()), Q(same), id=self.id, state="processing")',
            ),
        ),
        (CONTRACT,),
        only="overtaken",
    ),
    Mutant(
        "claim in release",
        (
            in_db(
                "postgresql",
                "untouched = self.claimed().filter(",
                'untouched = self.records().filter(id=self.id, state="processing").filter(',
            ),
        ),
        (LOCKS,),
        only="TestRelease",
    ),
    Mutant(
        "state in release",
        (
            in_db(
                "postgresql",
                "untouched = self.claimed().filter(",
                'untouched = self.records().filter(id=self.id, claim=slot("claim")).filter(',
            ),
        ),
        (LOCKS,),
        only="TestRelease",
    ),
    Mutant(
        "token in release",
        (in_db("postgresql", "filter(Q(BoundedWait()), token=0)", "filter(Q(BoundedWait()))"),),
        (LOCKS,),
        only="TestRelease",
    ),
    # A pair: without the second edit the completion would trip over the answer that is not there.
    Mutant(
        "rollback of what is not kept",
        (
            in_db("runs", "            raise NotKept\n", "            pass\n"),
            in_db(
                "runs",
                "    connection = dialect.connection\n    if",
                "    if not snapshot:\n        return\n    connection = dialect.connection\n    if",
            ),
        ),
        (TRANSACTIONS,),
        only="TestKeptAndNotKept",
    ),
    Mutant(
        "reading after COMMIT's exception, committed",
        (in_db("committed", "if run.completed:", "if False:"),),
        (TRANSACTIONS,),
        only="TestFailedCommits or TestHooks",
    ),
    Mutant(
        "reading after COMMIT's exception, joined",
        (in_db("joined", "if run.completed and not", "if False and not"),),
        (TRANSACTIONS,),
        only="TestFailedCommits or TestHooks",
    ),
    # A pair: the locking subquery and the statement round it say the same, and either stops what one process can show;
    # the model checker tells them apart.
    OnSQLite(
        "exact WHERE of purge",
        (
            edit(
                "maintenance/batches.py",
                "free = due.filter(id__in",
                "free = due.model._base_manager.using(due.db).filter(id__in",
            ),
            edit(
                "maintenance/batches.py",
                "return change(due.filter(",
                "return change(due.model._base_manager.using(due.db).filter(",
            ),
        ),
        (UPKEEP,),
        only="TestPurgeAgainstClaims",
    ),
    Mutant(
        "scope in the id",
        (edit("core/keys.py", "for part in (namespace, scope, key))", "for part in (namespace, key))"),),
        (PROTECTIONS, HOLES),
        only="belongs_to_one or hole_4",
    ),
    Mutant(
        "check for a broken transaction",
        (in_db("runs", "if connection.needs_rollback:", "if False:"),),
        (TRANSACTIONS,),
        only="TestMisbehavingViews",
    ),
    Mutant(
        "transaction id in complete",
        (in_db("postgresql", "filter(Q(Durable()), Q(same))", "filter(Q(Durable()))"),),
        (TRANSACTIONS,),
        only="ends_its_transaction",
    ),
    Mutant(
        "microseconds of a claim's times",
        (in_db("postgresql", "datetime.fromtimestamp(seconds, UTC)", "datetime.fromtimestamp(int(seconds), UTC)"),),
        (SESSIONS,),
        only="plain_read",
    ),
    Mutant(
        "advisory gate",
        (in_db("postgresql", 'ALONE = "pg_try_advisory_xact_lock(%s)"', 'ALONE = "(%s > 0 OR true)"'),),
        (LOCKS,),
        only="old_snapshot",
    ),
    Mutant(
        "re-entry",
        (in_db("runs", "running_here=record.claim in RUNNING", "running_here=False"),),
        (CONTRACT,),
        only="its_own_key",
    ),
    Mutant(
        "savepoint inside the caller's transaction",
        (
            in_db(
                "joined",
                "        try:\n            with transaction.atomic(using=self.dialect.alias):",
                "        try:\n            with transaction.atomic(using=self.dialect.alias, savepoint=False):",
            ),
        ),
        (TRANSACTIONS,),
        only="TestInsideTheCallersTransaction",
    ),
    Mutant(
        "expiry by time",
        (in_engine("or (record.expires_at is not None and record.expires_at <= record.now)", ""),),
        (CONTRACT,),
        only="TestExpiry",
    ),
    Mutant(
        "tombstone refuses",
        (in_engine("record.state is State.TOMBSTONE or (", "("),),
        (CONTRACT,),
        only="TestExpiry",
    ),
    Mutant(
        "tombstone's length",
        (in_db("dialects", "claim.operation.retention + claim.operation.tombstone", "claim.operation.retention"),),
        (CONTRACT,),
        only="TestExpiry",
    ),
    Mutant(
        "mismatch before in flight",
        (
            in_engine(
                "    if not fingerprints.comparable(",
                "    if record.state is State.PROCESSING:\n        return _judge_match(operation, record, running_here)\n"
                "    if not fingerprints.comparable(",
            ),
        ),
        (CONTRACT,),
        only="TestMismatch",
    ),
    Mutant(
        "secret in the fingerprint",
        (edit("core/fingerprints.py", "hmac.digest(key, ", 'hmac.digest(b"", '),),
        (PROTECTIONS,),
    ),
    Mutant(
        "authorize before a replay", (edit("services.py", "exchange.authorize()", "pass"),), (HOLES,), only="hole_5"
    ),
    Mutant("no cookie replayed", (edit("http.py", '        "set-cookie",\n', ""),), (PROTECTIONS,), only="cookie"),
    Mutant(
        "refusal round a DRF view",
        (edit("decorators.py", "if drf.is_view(view):", "if False:"),),
        (PROTECTIONS,),
    ),
    Mutant(
        "refusal on a DRF dispatch",
        (edit("decorators.py", "if drf.is_dispatch(args):", "if False:"),),
        (PROTECTIONS,),
    ),
    Mutant(
        "unknown is never run",
        (in_engine("if record.state is State.UNKNOWN or record.token > 0:", "if False:"),),
        (CONTRACT,),
        only="may_have_taken_effect",
    ),
    Mutant(
        "nothing is prepared behind a pooler",
        (
            in_db(
                "sessions",
                'return bool(cursor.fetchone()[0] == getattr(getattr(driver, "info", None), "backend_pid", None))',
                "return True",
            ),
        ),
        (SESSIONS,),
        only="pgbouncer",
    ),
    Mutant(
        "the record is found by its primary key alone",
        (
            in_db("dialects", 'template = "(%(expressions)s) IS TRUE"', 'template = "%(expressions)s"'),
            in_db("postgresql", "(state = '{processing}') IS TRUE", "state = '{processing}'"),
        ),
        (SESSIONS,),
        only="another_index",
    ),
]
