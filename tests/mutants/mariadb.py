"""What is taken out of the code for MariaDB, and the tests on MariaDB that should notice."""

from functools import partial

from tests.mutants.mutations import CONTRACT, TRANSACTIONS, UPKEEP, Mutant, edit, in_db

MARIADB = "tests/backends/test_mariadb.py"
BROKEN = "tests/backends/test_mariadb_transactions.py"
STATEMENTS = "tests/backends/test_statements.py"

OnMariaDB = partial(Mutant, database="mariadb")

ON_MARIADB = [
    OnMariaDB(
        "the lock writes the token, on MariaDB",
        (in_db("mysql", 'records.filter(token=0), {"token": slot("token")}', 'records.filter(token=0), {"token": 0}'),),
        (MARIADB,),
        only="marked_as_started",
    ),
    OnMariaDB(
        "the owner waits, on MariaDB",
        (in_db("mysql", '"wait": 0 if seen else PATIENCE', '"wait": 0'),),
        (MARIADB,),
        only="probes_its_lock",
    ),
    OnMariaDB(
        "a taker does not wait, on MariaDB",
        (in_db("mysql", '"wait": 0 if seen else PATIENCE', '"wait": 6'),),
        (MARIADB,),
        only="finds_an_old_claim",
    ),
    OnMariaDB(
        "an insert does not wait, on MariaDB",
        (in_db("mysql", "self.insert_claim(statement, operation, 0)", "self.insert_claim(statement, operation, 20)"),),
        (MARIADB,),
        only="never_waits_for_a_view",
    ),
    OnMariaDB(
        "no INSERT IGNORE, on MariaDB",
        (
            in_db(
                "mysql",
                "statements.insert(self.connection, row, on_conflict=None)",
                "statements.insert(self.connection, row)",
            ),
        ),
        (MARIADB,),
        only="no_fault_of_the_data",
    ),
    OnMariaDB(
        "read first, on MariaDB",
        (
            in_db(
                "mysql",
                "        if record is not None:\n            return record\n        return self",
                "        return self",
            ),
        ),
        (STATEMENTS,),
        only="replay",
    ),
    OnMariaDB(
        "a duplicate key is read past the snapshot, on MariaDB",
        (in_db("mysql", "{read.sql} LOCK IN SHARE MODE", "{read.sql}"),),
        (MARIADB,),
        only="older_transaction",
    ),
    OnMariaDB(
        "the savepoint is looked for, on MariaDB",
        (in_db("mysql", "return not is_without_savepoint(exc)", "return True"),),
        (BROKEN,),
        only="changes_a_table",
    ),
    OnMariaDB(
        "the savepoint is looked for before the completion, on MariaDB",
        (in_db("mysql", "    intact = same_transaction\n", ""),),
        (TRANSACTIONS,),
        only="ends_its_transaction",
    ),
    OnMariaDB(
        "a deadlock is no broken boundary, on MariaDB",
        (in_db("mysql", "return is_conflict(exc) or (isinstance(exc, Error) and is_held(exc))", "return False"),),
        (BROKEN,),
        only="another_try",
    ),
    OnMariaDB(
        "a started record is not released, on MariaDB",
        (in_db("mysql", "self.claimed().filter(token=0)), PATIENCE)", "self.claimed()), PATIENCE)"),),
        (MARIADB,),
        only="not_released",
    ),
    OnMariaDB(
        "a release does not wait for long, on MariaDB",
        (in_db("mysql", "self.claimed().filter(token=0)), PATIENCE)", "self.claimed().filter(token=0)), 12)"),),
        (MARIADB,),
        only="its_wait_is_bounded",
    ),
    OnMariaDB(
        "age guard under the lock, on MariaDB",
        (in_db("mysql", 'claimed_at__lte=self.now - Slot("guard", DurationField())', "claimed_at__lte=self.now"),),
        (MARIADB,),
        only="age_is_asked_again",
    ),
    OnMariaDB(
        "fingerprint under the lock, on MariaDB",
        (in_db("mysql", 'old.filter(fingerprint=slot("fingerprint"))', "old"),),
        (MARIADB,),
        only="changed_meanwhile",
    ),
    OnMariaDB(
        "an undone transaction of the caller's is raised, on MariaDB",
        (
            in_db(
                "joined",
                "            raise exc.__cause__ if isinstance(exc, Held | Unclear)",
                "            return Again.UNCLEAR if isinstance(exc, Held | Unclear)",
            ),
        ),
        (BROKEN,),
        only="callers_snapshot",
    ),
    OnMariaDB(
        "MySQL's lock wait is put back, on MariaDB",
        (in_db("mysql", "                session.execute(UNBOUND)", "                pass"),),
        (MARIADB,),
        only="views_own_bound",
    ),
    OnMariaDB(
        "times are in the zone of the connection, on MariaDB",
        (
            in_db(
                "mysql",
                'if connection.timezone_name == "UTC":\n            return "UTC',
                'if True:\n            return "UTC',
            ),
        ),
        (MARIADB,),
        only="zone",
    ),
    OnMariaDB(
        "upkeep skips what is held, on MariaDB",
        (edit("maintenance/batches.py", 'if connections[due.db].vendor != "mysql":', "if True:"),),
        (UPKEEP, CONTRACT),
        only="skipped or live_claim",
    ),
    OnMariaDB(
        "upkeep waits for no neighbours, on MariaDB",
        (
            edit(
                "maintenance/batches.py",
                'sum(change(due.filter(id=found)) for found in [*free.values_list("id", flat=True)])',
                'change(due.filter(id__in=[*free.values_list("id", flat=True)]))',
            ),
        ),
        ("tests/maintenance/test_walking.py",),
        only="free_ones_of_a_moment",
    ),
    OnMariaDB(
        "upkeep locks no gaps, on MariaDB",
        (edit("backends/db/batches.py", "SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET @nothing = 0"),),
        (MARIADB,),
        only="hinders_no_new_claim or dry_run",
    ),
]
