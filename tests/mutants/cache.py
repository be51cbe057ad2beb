"""What is taken out of the replay cache and of the limit of live keys, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

CACHE = ("tests/redis/test_cache.py",)
VIEWS = ("tests/redis/test_cache_views.py",)
FAULTS = ("tests/redis/test_cache_faults.py",)
REMOVALS = ("tests/redis/test_cache_removals.py",)
LIVE = ("tests/redis/test_live_keys.py",)

in_cache = partial(edit, "replays/cache.py")
in_entries = partial(edit, "replays/entries.py")
in_fills = partial(edit, "replays/fills.py")
in_removals = partial(edit, "replays/removals.py")
in_breakers = partial(edit, "replays/breakers.py")
in_live_keys = partial(edit, "replays/live_keys.py")

ON_COMMIT = "                    transaction.on_commit(fill, using=store.alias, robust=True)\n"

MUTANTS = [
    OnSQLite(
        "cached: filled after the caller's transaction",
        (
            in_cache(ON_COMMIT, "                    fill()\n"),
            in_cache("        if not store.connection.in_atomic_block:\n", "        if True:\n"),
        ),
        CACHE,
        only="transaction or rolled_back",
    ),
    OnSQLite(
        "cached: nothing put inside a transaction",
        (in_cache("        if not store.connection.in_atomic_block:\n", "        if True:\n"),),
        CACHE,
        only="hooks_run_by_a_test",
    ),
    OnSQLite(
        "cached: never what a request has computed itself",
        (in_cache("            case Replay():\n", "            case Replay() | Completed():\n"),),
        CACHE,
        only="computed_itself",
    ),
    OnSQLite(
        "cached: put only with the permission",
        (in_fills("if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end\n", ""),),
        REMOVALS,
        only="whoever_dies_when or before_its_erasure",
    ),
    OnSQLite(
        "cached: one permission at a time",
        (in_fills("number, nx=True, px=PERMITTED", "number, px=PERMITTED"),),
        REMOVALS,
        only="whoever_dies_when or one_fills",
    ),
    OnSQLite(
        "cached: read after the permission was given",
        (
            in_fills(
                "    permission = permit(at)\n    record = read() if permission else None\n",
                "    record = read()\n    permission = permit(at)\n",
            ),
        ),
        CACHE,
        only="TestFillingInOrder",
    ),
    OnSQLite(
        "cached: a barrier before the commit",
        (in_removals('        pipeline.set(at.permission, "barrier", px=BARRIER)\n', ""),),
        REMOVALS,
        only="whoever_dies_when or before_its_erasure",
    ),
    OnSQLite(
        "cached: taken out before the commit",
        (in_removals("    blocked()\n", ""),),
        REMOVALS,
        only="dies_right_after",
    ),
    OnSQLite(
        "cached: taken out once more after the commit",
        (in_removals("    transaction.on_commit(blocked, using=database, robust=True)\n", ""),),
        REMOVALS,
        only="longer_transaction",
    ),
    OnSQLite(
        "cached: taken out when it is erased",
        (edit("erasure.py", "                removals.forget(rows.db, exact)\n", ""),),
        REMOVALS,
        only="TestErasure",
    ),
    OnSQLite(
        "cached: taken out when a person decides",
        (edit("resolution/acts.py", "            removals.forget(using, [asked.record_id])\n", "            pass\n"),),
        REMOVALS,
        only="whatever_a_person",
    ),
    OnSQLite(
        "cached: a removal goes on without Redis",
        (
            in_removals(
                "            except StoreUnavailable as exc:\n", "            except ZeroDivisionError as exc:\n"
            ),
        ),
        FAULTS,
        only="erased",
    ),
    OnSQLite(
        "cached: an entry ends with its answer",
        (in_fills("math.min(tonumber(ARGV[3]) - held, tonumber(ARGV[5]))", "tonumber(ARGV[5])"),),
        CACHE,
        only="TestFilling",
    ),
    OnSQLite(
        "cached: an entry ends after ten minutes",
        (in_fills("math.min(tonumber(ARGV[3]) - held, tonumber(ARGV[5]))", "tonumber(ARGV[3]) - held"),),
        CACHE,
        only="ten_minutes",
    ),
    OnSQLite(
        "cached: the time since it was read is taken off",
        (in_fills("tonumber(ARGV[3]) - held", "tonumber(ARGV[3])"),),
        CACHE,
        only="taken_off",
    ),
    OnSQLite(
        "cached: the fingerprint is compared",
        (in_cache("        verdict = judge(operation, record)\n", "        verdict = Replay(record.snapshot)\n"),),
        CACHE,
        only="mismatch",
    ),
    OnSQLite(
        "cached: an entry is one record's",
        (in_entries("        if owner != operation.id.hex:\n", "        if False:\n"),),
        CACHE,
        only="another",
    ),
    OnSQLite(
        "cached: each database has its own",
        (in_fills('f":{database}")', '"")'),),
        CACHE,
        only="each_database",
    ),
    OnSQLite(
        "cached: nothing in clear under keys",
        (in_entries("    if (under == IN_CLEAR) is bool(keys):\n", "    if under != IN_CLEAR and not keys:\n"),),
        CACHE,
        only="cannot_be_read",
    ),
    OnSQLite(
        "cached: encrypted",
        (in_entries('sealed(head.encode() + b"\\n" + body, keys)', 'sealed(head.encode() + b"\\n" + body, ())'),),
        CACHE,
        only="in_clear",
    ),
    OnSQLite(
        "cached: what cannot be read is a miss",
        (in_entries("    except (KeyLost, ValueError, TypeError):\n", "    except KeyLost:\n"),),
        CACHE,
        only="no_entry_of_ours",
    ),
    Mutant(
        "cached: a hint refuses the same request only",
        (in_cache("if same and not operation.patient else None", "if not operation.patient else None"),),
        CACHE,
        only="judged_by_the_database",
    ),
    OnSQLite(
        "cached: a hint is not for who waits",
        (in_cache("if same and not operation.patient else None", "if same else None"),),
        CACHE,
        only="who_waits",
    ),
    OnSQLite(
        "cached: a hint is not extended",
        (in_cache("entry, nx=True, px=fills.HINTED", "entry, px=fills.HINTED"),),
        CACHE,
        only="not_extended or in_place_of_an_answer",
    ),
    OnSQLite(
        "cached: a failing Redis is a miss",
        (in_breakers("    except StoreUnavailable as exc:\n", "    except ZeroDivisionError as exc:\n"),),
        FAULTS,
        only="TestFaults",
    ),
    OnSQLite(
        "cached: a failing Redis is left alone",
        (in_breakers("        self.until = now + PAUSE\n        if now", "        if now"),),
        FAULTS,
        only="TestBreaker",
    ),
    OnSQLite(
        "live keys: there is a limit",
        (in_live_keys(">= tonumber(ARGV[3])", "> tonumber(ARGV[3])"),),
        LIVE,
        only="TestLimit",
    ),
    OnSQLite(
        "live keys: what is counted comes in",
        (
            in_live_keys("if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end\n", ""),
            in_cache(" and store.read(operation) is None", ""),
        ),
        LIVE,
        only="in_use_already or forgetful",
    ),
    OnSQLite(
        "live keys: what the database knows comes in",
        (in_cache(" and store.read(operation) is None", ""),),
        LIVE,
        only="never_refused",
    ),
    OnSQLite(
        "live keys: what has ended makes room",
        (in_live_keys("redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)\n", ""),),
        LIVE,
        only="has_ended",
    ),
    OnSQLite(
        "live keys: what is released makes room",
        (
            in_cache(
                "            case Released() | Refused(KeyExpired()):\n", "            case Refused(KeyExpired()):\n"
            ),
            in_cache("            case _ if new:\n", "            case _ if False:\n"),
        ),
        LIVE,
        only="is_released",
    ),
    OnSQLite(
        "live keys: what comes to nothing makes room",
        (in_cache("            case _ if new:\n", "            case _ if False:\n"),),
        LIVE,
        only="comes_to_nothing or no_new_key",
    ),
    OnSQLite(
        "live keys: what is not kept counts for a minute",
        (in_live_keys("PENDING = timedelta(minutes=1)", "PENDING = timedelta(days=1)"),),
        LIVE,
        only="minute_at_most or rolled_back",
    ),
    OnSQLite(
        "live keys: what is kept counts for its life",
        (in_cache("            case Completed() | Claim():\n", "            case Claim():\n"),),
        LIVE,
        only="minute_at_most",
    ),
    OnSQLite(
        "live keys: a retry that cannot ask makes no room",
        (in_cache("if new or not isinstance(exc, StoreUnavailable):", "if True:"),),
        LIVE,
        only="makes_no_room",
    ),
    OnSQLite(
        "live keys: a released lease makes room",
        (edit("backends/db/leases.py", "        if released and self.replays:\n", "        if False:\n"),),
        LIVE,
        only="coroutine",
    ),
    OnSQLite(
        "live keys: one scope's",
        (in_live_keys('keys.record_id(operation.namespace, operation.scope, "")', 'keys.record_id("", "", "")'),),
        LIVE,
        only="each_scope",
    ),
]
