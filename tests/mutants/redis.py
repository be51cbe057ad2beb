"""What is taken out of RedisBackend, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import OnSQLite, edit

BACKEND = "tests/redis/test_backend.py"
FAULTS = "tests/redis/test_backend_faults.py"
VIEWS = "tests/redis/test_backend_views.py"
CHECKS = "tests/redis/test_backend_checks.py"
CONTRACT = "tests/backends/test_contract.py"

in_scripts = partial(edit, "backends/redis/scripts.py")
in_leases = partial(edit, "backends/redis/leases.py")
in_records = partial(edit, "backends/redis/records.py")
in_backend = partial(edit, "backends/redis/__init__.py")
in_connections = partial(edit, "backends/redis/connections.py")

MUTANTS = [
    OnSQLite(
        "a claim in Redis finds the key free",
        (in_scripts("if seen[1] and not (seen[8] and tonumber(seen[8]) <= now) then", "if seen[7] then"),),
        (CONTRACT,),
        only="redis and TestRunsOnce",
    ),
    OnSQLite(
        "a claim in Redis recognises itself",
        (
            in_scripts(
                "if seen[1] == 'processing' and seen[2] == ARGV[1] then\n    return {", "if false then\n    return {"
            ),
        ),
        (BACKEND,),
        only="recognises_its_own_number",
    ),
    OnSQLite(
        "a takeover in Redis recognises itself",
        (
            in_scripts(
                "if seen[1] == 'processing' and seen[2] == ARGV[1] then\n    return tonumber",
                "if false then\n    return tonumber",
            ),
        ),
        (BACKEND,),
        only="recognises_its_own_number",
    ),
    OnSQLite(
        "writes in Redis compare the claim",
        (in_scripts("if seen[2] == ARGV[1] and seen[3] == ARGV[2] then", "if seen[3] == ARGV[2] then"),),
        (BACKEND,),
        only="compares_the_number",
    ),
    OnSQLite(
        "writes in Redis compare the token",
        (in_scripts("if seen[2] == ARGV[1] and seen[3] == ARGV[2] then", "if seen[2] == ARGV[1] then"),),
        (BACKEND,),
        only="compares_it",
    ),
    OnSQLite(
        "a release in Redis compares claim and token",
        (
            in_scripts(
                "if not free or seen[2] ~= ARGV[1] or not (seen[3] == ARGV[2] or never_ran) then",
                "if not free then",
            ),
        ),
        (BACKEND,),
        only="compares",
    ),
    OnSQLite(
        "a release in Redis compares the state",
        (in_scripts("if not free or seen[2]", "if seen[2]"),),
        (BACKEND,),
        only="written_down_before",
    ),
    OnSQLite(
        "a completion in Redis compares the state",
        (
            in_scripts(
                "if not held({{processing = true}}) then", "if not held({{processing = true, unknown = true}}) then"
            ),
        ),
        (BACKEND,),
        only="written_down_before",
    ),
    OnSQLite(
        "a lost record is put back",
        (in_scripts("    if redis.call('EXISTS', KEYS[1]) == 1 then\n", "    if true then\n"),),
        (BACKEND,),
        only="puts_it_back",
    ),
    OnSQLite(
        "a lost record is not put back over another claim",
        (in_scripts("    if redis.call('EXISTS', KEYS[1]) == 1 then\n", "    if false then\n"),),
        (BACKEND,),
        only="not_put_back or bring_back",
    ),
    OnSQLite(
        "a token outlives its release",
        (in_scripts("'token', seen[3], 'claim', seen[2])\n", "'token', 0, 'claim', seen[2])\n"),),
        (BACKEND,),
        only="grows_with_each_claim",
    ),
    OnSQLite(
        "a token outlives its record",
        (in_scripts("redis.call('HINCRBY', KEYS[1], 'token', 1)\nredis.call('HSET'", "1\nredis.call('HSET'"),),
        (BACKEND,),
        only="survives_the_end",
    ),
    OnSQLite(
        "a claim in Redis never expires",
        (in_scripts("    redis.call('PERSIST', KEYS[1])\n", ""),),
        (BACKEND,),
        only="key_that_was_released",
    ),
    OnSQLite(
        "a lapse in Redis asks for the time again",
        (
            in_scripts(
                "if seen[1] == 'processing' and tonumber(seen[4]) <= now then", "if seen[1] == 'processing' then"
            ),
        ),
        (BACKEND,),
        only="extended_meanwhile",
    ),
    OnSQLite(
        "of two takeovers in Redis one runs",
        (in_scripts("if not left or seen[2] ~= ARGV[3] or seen[3] ~= ARGV[4] then", "if seen[2] == 'nobody' then"),),
        (BACKEND,),
        only="two_takeovers",
    ),
    OnSQLite(
        "a lease in Redis that ran out is written down first",
        (in_leases("return verdict if self._lapse(operation, record) else Again.UNCLEAR", "return verdict"),),
        (BACKEND,),
        only="written_down_before",
    ),
    OnSQLite(
        "a lost answer is no free key",
        (in_records("State.TOMBSTONE if completed and snapshot is None else ", ""),),
        (BACKEND,),
        only="answer_alone",
    ),
    OnSQLite(
        "a script whose reply was lost is sent again",
        (
            in_leases(
                "it again.\n            return script.run(self.cache, keys, arguments)", "it again.\n            raise"
            ),
        ),
        (FAULTS,),
        only="makes_no_difference",
    ),
    OnSQLite(
        "a claim of which nothing was heard is freed",
        (in_leases("            self.unheard.add(claim)\n", ""),),
        (FAULTS,),
        only="nothing_was_heard_frees",
    ),
    OnSQLite(
        "what never ran is free even in doubt",
        (in_scripts("(seen[1] == 'unknown' and never_ran)", "false"),),
        (FAULTS,),
        only="found_it_in_doubt",
    ),
    OnSQLite(
        "errors that the cache hides are seen",
        (in_connections("return get_redis_connection(alias)", "return caches[alias]"),),
        (FAULTS,),
        only="hides_none",
    ),
    OnSQLite(
        "nothing is claimed in Redis inside a transaction",
        (in_leases("        refuse_transaction(IN_TRANSACTION)\n", ""),),
        (BACKEND, VIEWS),
        only="inside_a_transaction",
    ),
    OnSQLite(
        "nothing is claimed in Redis without autocommit",
        (edit("backends/transactions.py", "            if _autocommit(connection):\n", "            if True:\n"),),
        (VIEWS,),
        only="without_autocommit",
    ),
    OnSQLite(
        "a release in Redis says so again",
        (in_scripts("if not seen[1] and seen[2] == ARGV[1] and seen[3] == ARGV[2] then", "if false then"),),
        (BACKEND,),
        only="release_says_so_again",
    ),
    OnSQLite(
        "a lapse in Redis says so again",
        (in_scripts("return redis.call('HGET', KEYS[1], 'state') == 'unknown' and 1 or 0", "return 0"),),
        (BACKEND,),
        only="lapse_says_so_again",
    ),
    OnSQLite(
        "an unknown outcome in Redis stays untold until it is told",
        (in_scripts("'state', 'unknown', 'tell_at', now + {TELLING})\nend", "'state', 'unknown')\nend"),),
        (FAULTS,),
        only="NobodyWasTold",
    ),
    OnSQLite(
        "a doubt in Redis stays untold until it is told",
        (in_scripts("'state', 'unknown', 'tell_at', now + {TELLING})\nreturn", "'state', 'unknown')\nreturn"),),
        (FAULTS,),
        only="NobodyWasTold",
    ),
    OnSQLite(
        "an unknown outcome in Redis that nobody was told of is told",
        (in_leases("        if untold:\n", "        if False:\n"),),
        (FAULTS,),
        only="NobodyWasTold",
    ),
    OnSQLite(
        "an unknown outcome in Redis is told once",
        (in_leases("                self._run(scripts.TOLD, keys, fence)\n", "                pass\n"),),
        (FAULTS,),
        only="NobodyWasTold",
    ),
    OnSQLite(
        "an incident that was not written is not said to be",
        (edit("incidents.py", "        return False\n    return True\n", "    return True\n"),),
        (FAULTS,),
        only="was_away_is_told_later",
    ),
    OnSQLite(
        "a cluster is not asked again and again",
        (edit("backends/redis/clusters.py", '        if "retry" not in params:\n', "        if False:\n"),),
        ("tests/redis/test_cluster.py",),
        only="two_time_outs or waited_for_once",
    ),
    OnSQLite(
        "a cluster is begun past a node that is away",
        (
            edit(
                "backends/redis/clusters.py",
                "(startup_nodes=others, **params)",
                "(startup_nodes=others, **FIRST, **params)",
            ),
            edit(
                "backends/redis/clusters.py",
                "class Cluster",
                'FIRST = {"retry": Retry(NoBackoff(), 0)}\n\n\nclass Cluster',
            ),
        ),
        ("tests/redis/test_cluster.py",),
        only="a_dead_node or begins_meanwhile",
    ),
    OnSQLite(
        "the sentinels' own retries are warned of",
        (edit("replays/checks.py", '"retry" not in kwargs or any(', "any("),),
        ("tests/redis/test_cache_checks.py",),
        only="TestSentinels",
    ),
    OnSQLite(
        "the sentinels' own time-outs are warned of",
        (edit("replays/checks.py", '"retry" not in kwargs or any(_waits(kwargs))', '"retry" not in kwargs'),),
        ("tests/redis/test_cache_checks.py",),
        only="TestSentinels",
    ),
    OnSQLite(
        "an erasure says that Redis keeps what it has",
        (edit("management/commands/idempotency_erase.py", "unreached.warn(self, ", "print("),),
        ("tests/redis/test_commands.py",),
    ),
    OnSQLite(
        "a rekeying says that Redis keeps what it has",
        (
            edit(
                "management/commands/idempotency_rekey.py",
                '        unreached.warn(self, options["verbosity"], advice, encrypted=True)\n',
                "",
            ),
        ),
        ("tests/redis/test_commands.py",),
    ),
    OnSQLite(
        "a model of a module is seen under RedisBackend",
        (edit("backends/redis/checks.py", " and inspect.ismodule(found):", " and False:"),),
        (CHECKS,),
        only="TestViews",
    ),
    OnSQLite(
        "Django's own Model is none of the project's",
        (edit("backends/redis/checks.py", " and value is not Model:", ":"),),
        (CHECKS,),
        only="TestViews",
    ),
    OnSQLite(
        "hearts of Redis have a thread of their own",
        (edit("heartbeats.py", "OF_REDIS = Pulse()", "OF_REDIS = PULSE"),),
        ("tests/operations/test_heartbeats.py", VIEWS),
        only="redis_that_hangs or extended_while",
    ),
    OnSQLite(
        "after a failure the outcome is unknown",
        (in_backend("ending.unknown = not (ending.expected or claim.operation.rerun)", "ending.unknown = False"),),
        (CONTRACT, VIEWS),
        only="(redis and exception_frees) or anything_else or in_doubt",
    ),
    OnSQLite(
        "a raised answer frees the key in Redis",
        (in_backend("not (ending.expected or claim", "not (claim"),),
        (VIEWS,),
        only="raised_frees",
    ),
    OnSQLite(
        "a view under RedisBackend has a heartbeat",
        (in_backend("        with heart.beating():\n            snapshot", "        if heart:\n            snapshot"),),
        (VIEWS,),
        only="extended_while",
    ),
    OnSQLite(
        "a store that the view could not reach is not ours",
        (in_backend("if isinstance(error, StoreUnavailable):", "if False:"),),
        (VIEWS,),
        only="could_not_reach",
    ),
    OnSQLite(
        "a heartbeat knows its record's place",
        (in_leases("return claim.keys if isinstance(claim, Placed) else", "return"),),
        (BACKEND,),
        only="own_place",
    ),
    OnSQLite(
        "eviction is checked",
        (in_connections('str(node.info("memory")["maxmemory_policy"])', '"noeviction"'),),
        (CHECKS,),
        only="when_it_is_full",
    ),
]
