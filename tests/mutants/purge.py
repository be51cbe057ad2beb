"""Purge: the exact statement, the walk from batch to batch, and the way that it makes for others."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

UPKEEP = "tests/test_maintenance.py"
JOURNALS = "tests/test_journals.py"
PACE = "tests/maintenance/test_pace.py"
POSTGRESQL = "tests/maintenance/test_postgresql.py"
LEFTOVERS = "tests/maintenance/test_leftovers.py"
WALKING = "tests/maintenance/test_walking.py"
CACHE = "tests/redis/test_cache_removals.py"

in_statement = partial(edit, "maintenance/postgresql.py")
in_pace = partial(edit, "maintenance/pace.py")
in_batches = partial(edit, "maintenance/batches.py")
in_leftovers = partial(edit, "maintenance/leftovers.py")
in_purging = partial(edit, "maintenance/purging.py")

LOCK = "rows.select_for_update(skip_locked=True)[:size]"

MUTANTS = [
    # All at once: a row's place is not its next version's, what is locked is asked again, and so is what is changed. Each
    # stops what can be shown.
    Mutant(
        "exact WHERE of purge in one statement",
        (
            in_statement('template = "ctid"\n', 'template = "id"\n'),
            in_statement('template = "ctid = ANY', 'template = "id = ANY'),
            in_statement(LOCK, "rows[:size]"),
            in_statement("Q(Chosen()), Q(Unindexed(due))", "Q(Chosen())"),
        ),
        (WALKING,),
        only="for_longer",
    ),
    Mutant(
        "purge waits for nobody",
        (in_statement(LOCK, "rows.select_for_update()[:size]"),),
        (UPKEEP,),
        only="without_waiting",
    ),
    Mutant(
        "the journal goes in the same statement",
        (in_statement("FROM changed WHERE operation > ''", "FROM changed WHERE operation > '~'"),),
        (JOURNALS,),
        only="the_journal_goes",
    ),
    Mutant(
        "a batch is found from where the last one ended, not behind it",
        (in_statement("Q(due_at__gte=batch.last)", "Q(due_at__gt=batch.last)"),),
        (UPKEEP, WALKING),
        only="same_moment or of_a_moment",
    ),
    Mutant(
        "the caller's transaction keeps its settings",
        (in_statement("            if ours:\n", "            if True:\n"),),
        (POSTGRESQL,),
        only="caller",
    ),
    Mutant(
        "a batch does not wait for the disk",
        (in_statement("; SET LOCAL synchronous_commit = off", ""),),
        (POSTGRESQL,),
        only="disk",
    ),
    Mutant(
        "a batch is read committed",
        (in_statement('"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; ', '"'),),
        (POSTGRESQL,),
        only="isolation",
    ),
    Mutant(
        "others at work are seen",
        (in_statement("state = 'active' OR state_change", "state_change"),),
        (POSTGRESQL,),
        only="long_statement",
    ),
    Mutant(
        "others who come and go are seen",
        (in_statement(" OR state_change > clock_timestamp() - interval '1 second'", ""),),
        (POSTGRESQL,),
        only="just_asked",
    ),
    Mutant(
        "sessions that only stand open are not others",
        (in_statement("state_change > clock_timestamp() - interval '1 second'", "true"),),
        (POSTGRESQL,),
        only="stands_open",
    ),
    Mutant(
        "no rest inside the caller's transaction",
        (in_statement("    if not connection.get_autocommit():\n        return False\n", ""),),
        (POSTGRESQL,),
        only="looked_for",
    ),
    Mutant("the purge rests", (in_statement("time.sleep(pace.rest)", "time.sleep(0)"),), (POSTGRESQL,), only="rests"),
    Mutant(
        "a purged answer leaves the cache, in one statement",
        (in_statement("if step.answers and cached(records.db) else", "if False else"),),
        (CACHE,),
        only="TestPurge",
    ),
    OnSQLite(
        "a purged answer leaves the cache",
        (in_purging("if done and step.answers:", "if False:"),),
        (CACHE,),
        only="TestPurge",
    ),
    OnSQLite(
        "a walk goes past what is held",
        (
            in_batches(
                'Q(due_at__gt=last["due_at"]) | Q(due_at=last["due_at"], id__gt=last["id"])',
                'Q(due_at__gt=last["due_at"])',
            ),
        ),
        (WALKING,),
        only="TestWalked",
    ),
    OnSQLite(
        "no approval goes before its time",
        (in_leftovers("expires_at__lte=now(alias) - kept()", "expires_at__lte=now(alias)"),),
        (LEFTOVERS,),
        only="TestApprovals",
    ),
    OnSQLite(
        "no bulk act goes before its time",
        (in_leftovers("requested_at__lte=now(alias) - kept()", "requested_at__lte=now(alias)"),),
        (LEFTOVERS,),
        only="TestBulkActs",
    ),
    OnSQLite(
        "a bulk act goes with its rows",
        (in_leftovers("bulk_id__in=chosen", "bulk_id__in=[]"),),
        (LEFTOVERS,),
        only="with_their_rows",
    ),
    OnSQLite(
        "a short memory of keys is no short memory of staff",
        (in_leftovers("max(LEAST, *(", "max(timedelta(0), *("),),
        (LEFTOVERS,),
        only="short_memory",
    ),
    OnSQLite(
        "a journal with a record stays",
        (in_leftovers("gone = looked_at - set(records", "gone = looked_at or set(records"),),
        (LEFTOVERS,),
        only="TestJournals",
    ),
    OnSQLite(
        "no journal goes in part",
        (in_leftovers("return gone - set(_younger", "return gone or set(_younger"),),
        (LEFTOVERS,),
        only="in_part",
    ),
    OnSQLite(
        "a new operation keeps its steps",
        (in_leftovers("_older(alias).filter(record_id__in=list", "_steps(alias).filter(record_id__in=list"),),
        (LEFTOVERS,),
        only="keeps_its_steps",
    ),
    OnSQLite(
        "each run looks somewhere else",
        (
            in_leftovers("Q(record_id__gt=uuid4())", "Q()"),
            in_leftovers("            onwards = Q(record_id__gt=found[-1])", "            pass"),
        ),
        (LEFTOVERS,),
        only="few_runs",
    ),
    OnSQLite("rest beside others", (in_pace("if beside_others else 0.0", "if False else 0.0"),), (PACE,)),
    OnSQLite(
        "no rest alone", (in_pace("min(seconds * REST, LONGEST_REST) if beside_others else 0.0", "seconds"),), (PACE,)
    ),
    OnSQLite("small batches beside others", (in_pace("BESIDE_OTHERS if beside_others else ALONE", "ALONE"),), (PACE,)),
]
