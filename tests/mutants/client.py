"""What is taken out of the client, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import OnSQLite, edit

WIRE = ("tests/client/test_transports.py",)
INTENTS = ("tests/client/test_intents.py",)
STORES = ("tests/client/test_stores.py",)

in_attempts = partial(edit, "client/attempts.py")
in_answers = partial(edit, "client/answers.py")
in_intents = partial(edit, "client/intents.py")
in_servers = partial(edit, "client/servers.py")
in_stores = partial(edit, "client/stores.py")
in_transports = partial(edit, "client/transports.py")

MUTANTS = [
    OnSQLite(
        "client: no secret in the key",
        (in_intents('keys.record_id("client", namespace', "keys.record_id(settings.SECRET_KEY, namespace"),),
        INTENTS,
    ),
    OnSQLite(
        "client: the namespace in the key", (in_intents('"client", namespace, stated', '"client", "", stated'),), WIRE
    ),
    OnSQLite(
        "client: no amounts in an intent",
        (in_intents("isinstance(part, bool) or not isinstance(part, str | int | UUID)", "False"),),
        INTENTS,
    ),
    OnSQLite("client: no empty id", (in_intents('    if part == "":', "    if False:"),), INTENTS),
    OnSQLite(
        "client: the same key in each attempt",
        (in_attempts("server.key_value(self.asked.key)", 'server.key_value(f"{self.asked.key}-{self.count}")'),),
        WIRE,
        only="HonourKeys",
    ),
    OnSQLite(
        "client: a streamed body is refused",
        (in_intents("    if streamed:", "    if False:"),),
        WIRE,
        only="cannot_be_sent_again",
    ),
    OnSQLite(
        "client: one server",
        (in_intents("    if not server.serves(request.url):", "    if False:"),),
        WIRE,
        only="declared",
    ),
    OnSQLite(
        "client: no key of the caller's own",
        (in_intents("    if server.key_header in request.headers:", "    if False:"),),
        WIRE,
        only="callers_own",
    ),
    OnSQLite(
        "client: without an intent once",
        (in_intents("    if stated is None or", "    stated = stated or '[]'\n    if"),),
        WIRE,
        only="WithoutAnIntent",
    ),
    OnSQLite(
        "client: a safe method has no key",
        (in_intents(" or request.method in SAFE_METHODS", ""),),
        WIRE,
        only="safe_method",
    ),
    OnSQLite(
        "client: other parameters are refused here",
        (in_attempts("    if not asked.same(stored):", "    if False:"),),
        WIRE,
        only="other_parameters",
    ),
    OnSQLite(
        "client: the path is a parameter",
        (in_intents("url.netloc, url.raw_path,", "url.netloc,"),),
        WIRE,
        only="parameters",
    ),
    OnSQLite(
        "client: the method is a parameter",
        (in_intents("(request.method.encode(), url.scheme", "(url.scheme"),),
        WIRE,
        only="parameters",
    ),
    OnSQLite(
        "client: JSON as it is meant",
        (in_intents("return fingerprints.canonical_json(content)", "return content"),),
        WIRE,
        only="another_order",
    ),
    OnSQLite(
        "client: earlier secrets are honoured",
        (in_intents("[settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]", "[settings.SECRET_KEY]"),),
        WIRE,
        only="earlier_secret",
    ),
    OnSQLite("client: the stored URL is masked", (in_intents("+ stored_path(path)", "+ path"),), INTENTS),
    OnSQLite(
        "client: no keys, no retry",
        (in_attempts("not self.rules.server.honours_keys or isinstance", "isinstance"),),
        WIRE,
        only="WithoutKeys",
    ),
    OnSQLite(
        "client: no keys, sent once for good",
        (in_attempts("    if not new and not rules.server.honours_keys:", "    if False:"),),
        WIRE,
        only="WithoutKeys",
    ),
    OnSQLite(
        "client: what never left is sent again",
        (in_attempts("        if isinstance(outcome, UNSENT):\n            return True\n", ""),),
        WIRE,
        only="certainly",
    ),
    OnSQLite(
        "client: a lost answer is no connection error",
        (in_attempts("httpx.PoolTimeout)", "httpx.PoolTimeout, httpx.ReadTimeout)"),),
        WIRE,
        only="timeout_is_not_sent_again",
    ),
    OnSQLite(
        "client: a timeout is unknown",
        (in_attempts("            if self.in_doubt:\n", "            if False:\n"),),
        WIRE,
        only="Time",
    ),
    OnSQLite(
        "client: an intent stated before is in doubt",
        (in_attempts("self.in_doubt = not new", "self.in_doubt = False"),),
        WIRE,
        only="never_sent",
    ),
    OnSQLite(
        "client: doubt stays",
        (in_attempts("self.in_doubt = self.in_doubt or doubtful", "self.in_doubt = doubtful"),),
        WIRE,
        only="in_front_of_the_keys",
    ),
    OnSQLite(
        "client: a server error is unknown",
        (in_answers("self.status >= 500 or self.status == 408", "self.status == 408"),),
        WIRE,
        only="hammered",
    ),
    OnSQLite(
        "client: what stands in front of the keys",
        (in_answers("self.status not in IN_FRONT_OF_KEYS or", "True or"),),
        WIRE,
        only="in_front_of_the_keys",
    ),
    OnSQLite(
        "client: a replay tells",
        (in_answers(' or "Idempotent-Replayed" in self.response.headers', ""),),
        WIRE,
        only="replayed_refusal",
    ),
    OnSQLite(
        "client: outcome-unknown is unknown",
        (in_answers('{"outcome-unknown", "key-expired"}', '{"key-expired"}'),),
        WIRE,
        only="FinalAnswers",
    ),
    OnSQLite(
        "client: key-expired is unknown",
        (in_answers('{"outcome-unknown", "key-expired"}', '{"outcome-unknown"}'),),
        WIRE,
        only="FinalAnswers",
    ),
    OnSQLite(
        "client: Stripe's mismatch",
        (in_answers('return self.code == "key-reused" or stripes', 'return self.code == "key-reused"'),),
        WIRE,
        only="Stripe",
    ),
    OnSQLite(
        "client: Stripe's advice",
        (in_answers('        if advice in {"true", "false"}:\n            return advice == "true"\n', ""),),
        WIRE,
        only="Stripe",
    ),
    OnSQLite(
        "client: retryable of a problem document",
        (in_answers("        if isinstance(retryable, bool):\n            return retryable\n", ""),),
        WIRE,
        only="not_retryable",
    ),
    OnSQLite(
        "client: Retry-After in seconds",
        (in_answers("            return float(value)", "            return 0"),),
        WIRE,
        only="retry_after",
    ),
    OnSQLite(
        "client: Retry-After as a date",
        (in_answers("        return max(0, (moment", "        return min(0, (moment"),),
        WIRE,
        only="retry_after",
    ),
    OnSQLite("client: jitter", (in_attempts("self.rules.clock.jitter(most)", "most / 2"),), WIRE, only="pauses_grow"),
    OnSQLite(
        "client: pauses have a limit",
        (
            in_attempts(
                "min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.count - 1, 10))", "FIRST_PAUSE * 2 ** (self.count - 1)"
            ),
        ),
        WIRE,
        only="pauses_grow",
    ),
    OnSQLite(
        "client: no pause beyond the deadline",
        (in_attempts("return pause if self._in_time(pause) else None", "return pause"),),
        WIRE,
        only="not_begun",
    ),
    OnSQLite(
        "client: late after a pause",
        (
            in_transports(
                "                rules.clock.sleep(pause)\n            if pause is None or attempts.too_late():",
                "                rules.clock.sleep(pause)\n            if pause is None:",
            ),
        ),
        WIRE,
        only="took_too_long or later_attempt",
    ),
    OnSQLite(
        "client: late after an async pause",
        (
            in_transports(
                "clock.asleep(pause)\n            if pause is None or attempts.too_late():",
                "clock.asleep(pause)\n            if pause is None:",
            ),
        ),
        WIRE,
        only="took_too_long or later_attempt",
    ),
    OnSQLite(
        "client: timeouts within the deadline",
        (in_attempts("left if limit is None else min(limit, left)", "limit or left"),),
        WIRE,
        only="an_attempt_has_no_longer",
    ),
    OnSQLite(
        "client: the life of a key",
        (in_attempts("    if rules.server.forgets(stored.first_sent_at, rules.clock.now()):", "    if False:"),),
        WIRE,
        only="forgotten",
    ),
    OnSQLite(
        "client: the margin before its end",
        (in_servers("now - first_sent_at >= self.key_ttl - MARGIN", "now - first_sent_at >= self.key_ttl"),),
        WIRE,
        only="forgotten",
    ),
    OnSQLite(
        "client: stored before it is sent",
        (
            in_transports(
                "        stored, new = self._store.remember(found.intent)\n"
                "        attempts = Attempts(found, rules, stored, new=new)",
                "        attempts = Attempts(found, rules, found.intent, new=True)",
            ),
        ),
        STORES,
        only="first_byte or cannot_be_stored",
    ),
    OnSQLite(
        "client: stored before it is sent, async",
        (
            in_transports(
                "        stored, new = await self._store.aremember(found.intent)\n"
                "        attempts = Attempts(found, rules, stored, new=new)",
                "        attempts = Attempts(found, rules, found.intent, new=True)",
            ),
        ),
        STORES,
        only="first_byte or cannot_be_stored",
    ),
    OnSQLite(
        "client: not inside a transaction",
        (in_stores("using=using, durable=True", "using=using"),),
        STORES,
        only="rollback",
    ),
    OnSQLite(
        "client: not without autocommit",
        (in_stores("    if not connection.in_atomic_block and not connection.get_autocommit():", "    if False:"),),
        STORES,
        only="autocommit",
    ),
    OnSQLite(
        "client: the first parameters stay",
        (in_stores("manager.using(using).get_or_create(", "manager.using(using).update_or_create("),),
        STORES,
        only="first",
    ),
    OnSQLite(
        "client: in memory too",
        (
            in_stores(
                "return self._intents.setdefault(intent.id, intent), new",
                "self._intents[intent.id] = intent\n            return intent, new",
            ),
        ),
        STORES,
        only="first",
    ),
]
