"""What is taken out of traces and metrics, and of what makes an upgrade safe, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit, in_engine

REQUESTS = "tests/telemetry/test_requests.py"
BACKLOG = "tests/telemetry/test_backlog.py"
MIGRATIONS = "tests/deploys/test_migrations.py"
RENAMED = "tests/deploys/test_renamed_profiles.py"
KEYS = "tests/core/test_keys.py"
FINGERPRINTS = "tests/core/test_fingerprints.py"
LEASES = "tests/asgi/test_leases.py"

in_telemetry = partial(edit, "telemetry.py")
in_keys = partial(edit, "core/keys.py")

MUTANTS = [
    OnSQLite(
        "no raw key in a span",
        (in_telemetry('salted_hmac("django_idempotency.telemetry", key, algorithm="sha256").hexdigest()[:16]', "key"),),
        (REQUESTS,),
        only="never_told or no_key_no_scope",
    ),
    OnSQLite(
        "the hash of a key needs the secret",
        (
            in_telemetry(
                'salted_hmac("django_idempotency.telemetry", key, algorithm="sha256").hexdigest()[:16]',
                '__import__("hashlib").sha256(key.encode()).hexdigest()[:16]',
            ),
        ),
        (REQUESTS,),
        only="keyed",
    ),
    OnSQLite(
        "no time series for each request",
        (
            in_telemetry(
                'labels = {"idempotency.outcome": outcome,',
                'labels = {"idempotency.operation_id": str(operation and operation.id), '
                '"idempotency.outcome": outcome,',
            ),
        ),
        (REQUESTS,),
        only="time_series",
    ),
    Mutant(
        "a first attempt is no takeover",
        (in_telemetry("        if attempt > 1:\n", "        if attempt:\n"),),
        (REQUESTS,),
        only="takes_over or time_series",
    ),
    OnSQLite(
        "each request is timed for itself",
        (in_telemetry("[operation.id] = time", "[0] = time"),),
        (REQUESTS,),
        only="one_another",
    ),
    OnSQLite(
        "no hash that nobody reads",
        (in_telemetry("    if not span.is_recording():\n        return\n", ""),),
        (REQUESTS,),
        only="hashed",
    ),
    OnSQLite(
        "no query in the scraper's thread",
        (
            in_telemetry(
                "                self._reader.start()\n",
                "                self._read()\n                self._reader = None\n",
            ),
        ),
        (BACKLOG,),
        only="transaction",
    ),
    OnSQLite(
        "few queries, however often it is scraped",
        (in_telemetry(" and time.monotonic() - self._read_at >= FRESH", ""),),
        (BACKLOG,),
        only="serves_for_a_while",
    ),
    OnSQLite(
        "one reader of the backlog at a time",
        (in_telemetry("            if not running and ", "            if "),),
        (BACKLOG,),
        only="hangs",
    ),
    OnSQLite(
        "no number where none can be read",
        (in_telemetry("                self._found = {}\n", ""),),
        (BACKLOG,),
        only="cannot_be_counted",
    ),
    OnSQLite(
        "the oldest of several databases",
        (in_telemetry("max(age, (timezone.now()", "((timezone.now()"),),
        (BACKLOG,),
        only="several",
    ),
    OnSQLite(
        "counters begin at nought",
        (in_telemetry("    requests.start_at_nought(profiles())\n", ""),),
        (REQUESTS,),
        only="time_series",
    ),
    OnSQLite("counted once, however often installed", (in_telemetry("@cache\n", ""),), (REQUESTS,), only="twice"),
    OnSQLite(
        "a new column has a default of the database",
        (
            edit(
                "migrations/0002_stored_requests_and_leases.py",
                'name="currency",\n            field=models.CharField(db_default="", default="", max_length=16)',
                'name="currency",\n            field=models.CharField(default="", max_length=16)',
            ),
        ),
        (MIGRATIONS,),
    ),
    OnSQLite(
        "a renamed profile keeps its namespace",
        (
            edit(
                "conf.py",
                'Policy(**{"profile": profile, "namespace": profile, **chosen})',
                'Policy(**{**chosen, "profile": profile, "namespace": profile})',
            ),
        ),
        (RENAMED,),
    ),
    OnSQLite(
        "the record's id, from release to release",
        (in_keys("for part in (namespace, scope, key)", "for part in (key, namespace, scope)"),),
        (KEYS,),
        only="release_to_release",
    ),
    OnSQLite(
        "the version, from release to release",
        (edit("core/fingerprints.py", 'VERSION = b"\\x01"', 'VERSION = b"\\x02"'),),
        (FINGERPRINTS,),
        only="release_to_release",
    ),
    OnSQLite(
        "the fingerprint, from release to release",
        (edit("core/fingerprints.py", 'b"django_idempotency.fingerprint" + ', ""),),
        (FINGERPRINTS,),
        only="release_to_release",
    ),
    OnSQLite(
        "a lease is judged before the token",
        (in_engine("    if record.lease_until is not None:\n", "    if False:\n"),),
        (LEASES,),
    ),
]
