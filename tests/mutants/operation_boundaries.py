"""What is taken out of what an operation may be given, do and answer, and the tests that should notice."""

from tests.mutants.mutations import Mutant, OnSQLite, edit
from tests.mutants.operations import (
    BOUNDARIES,
    INPUTS,
    STATEMENTS,
    STEPS,
    VIEWS,
    in_answers,
    in_boundaries,
    in_calls,
    in_postgresql,
    in_runs,
    in_services,
    in_steps,
    in_store,
)

SIXTH = [
    OnSQLite(
        "no operation in a transaction, by key",
        (
            in_calls(
                "    refuse_transaction(IN_TRANSACTION)\n    policy, backend = resolved(defined)\n    outcome",
                "    policy, backend = resolved(defined)\n    outcome",
            ),
        ),
        (BOUNDARIES,),
        only="before_anything",
    ),
    OnSQLite(
        "no operation in a transaction, in a view",
        (
            in_calls(
                "    refuse_transaction(IN_TRANSACTION)\n    policy, backend = resolved(defined)\n    asked",
                "    policy, backend = resolved(defined)\n    asked",
            ),
        ),
        (BOUNDARIES,),
        only="before_anything or atomic_requests",
    ),
    OnSQLite(
        "a key is not forgotten before the other system's",
        (in_boundaries("if key_ttl is not None and key_ttl > remembered:", "if False:"),),
        (BOUNDARIES,),
        only="outlives",
    ),
    OnSQLite(
        "no call in a transaction",
        (in_steps("        refuse_transaction(CALL_IN_TRANSACTION)\n", ""),),
        (BOUNDARIES,),
        only="not_sent",
    ),
    OnSQLite(
        "no phase in a transaction",
        (in_steps("        refuse_transaction(PHASE_IN_TRANSACTION)\n", ""),),
        (BOUNDARIES,),
        only="nothing_is_built_on_it",
    ),
    OnSQLite(
        "transactions on every database count",
        (
            edit(
                "backends/transactions.py",
                "in connections.all(initialized_only=True):",
                'in [connections["default"]]:',
            ),
        ),
        (BOUNDARIES,),
        only="before_anything or not_sent",
    ),
    OnSQLite(
        "no writes in a call",
        (in_steps("with self.heart.limited(call.timeout), no_writes():", "with self.heart.limited(call.timeout):"),),
        (BOUNDARIES,),
        only="TestWritesInsideACall",
    ),
    OnSQLite(
        "no writes in a look-up",
        (
            in_steps(
                "        with no_writes():\n            return lookup", "        if True:\n            return lookup"
            ),
        ),
        (BOUNDARIES,),
        only="lookup_too",
    ),
    Mutant(
        "reading with a bracket is reading",
        (in_boundaries('r"(?:[\\s(]|', 'r"(?:[\\s]|'),),
        (BOUNDARIES,),
        only="reading_is_allowed",
    ),
    OnSQLite(
        "beginning a transaction is reading",
        (in_boundaries("|SET|BEGIN|", "|SET|"),),
        (BOUNDARIES,),
        only="reading_is_allowed",
    ),
    OnSQLite(
        "a WITH that writes is a write",
        (in_boundaries("WITH(?!.*\\b(?:INSERT|UPDATE|DELETE|MERGE)\\b)", "WITH"),),
        (BOUNDARIES,),
        only="may_be_a_write",
    ),
    OnSQLite(
        "no step inside another",
        (in_steps("        if self._busy:\n", "        if False:\n"),),
        (STEPS,),
        only="inside_another",
    ),
    OnSQLite(
        "a nested step ends the run",
        (
            in_steps(
                "            self._ended = ImproperlyConfigured(NESTED)\n            raise self._ended\n",
                "            raise ImproperlyConfigured(NESTED)\n",
            ),
        ),
        (STEPS,),
        only="inside_another",
    ),
    OnSQLite(
        "what a call has raised ends the run",
        (
            in_runs(
                "            op.refuse_ended()\n            raise\n        op.refuse_ended()\n", "            raise\n"
            ),
            in_steps("        self.refuse_ended()\n        refuse_end(", "        refuse_end("),
        ),
        (STEPS,),
        only="even_where_it_is_caught",
    ),
    OnSQLite(
        "nothing is begun after it",
        (
            in_steps(
                "    def _refuse_busy(self) -> None:\n        self.refuse_ended()\n",
                "    def _refuse_busy(self) -> None:\n",
            ),
        ),
        (STEPS,),
        only="nothing_is_begun",
    ),
    OnSQLite(
        "a phase's own exception is excused",
        (in_steps("if exc is not self._excused:", "if True:"),),
        (STEPS,),
        only="to_answer or try_the_same",
    ),
    OnSQLite(
        "a phase that ends its transaction is parked",
        (
            in_runs(
                '                self._parked(claim, "a phase ended its transaction itself")\n',
                "                pass\n",
            ),
        ),
        (BOUNDARIES,),
        only="ends_its_transaction",
    ),
    Mutant(
        "a phase's step is written in its transaction",
        (
            in_postgresql(
                'ADD_IN = ADD.format(time="finished_at") + " WHERE pg_current_xact_id()::text = %s"',
                'ADD_IN = ADD.format(time="finished_at") + " WHERE %s IS NOT NULL"',
            ),
        ),
        (BOUNDARIES,),
        only="ends_its_transaction",
    ),
]


SEVENTH = [
    OnSQLite(
        "what is no outcome is no answer",
        (in_answers("if not 200 <= self.status < 500 or self.status in NEVER:", "if False:"),),
        (STEPS,),
        only="no_outcome",
    ),
    OnSQLite(
        "408, 425 and 429 are no answers",
        (in_answers(" or self.status in NEVER:", ":"),),
        (STEPS,),
        only="no_outcome",
    ),
    OnSQLite(
        "retry-later frees the operation",
        (
            in_runs(
                "            self._postpone(claim, min(LONGEST_WAIT, timedelta(seconds=exc.seconds)), meant=True)\n", ""
            ),
        ),
        (STEPS,),
        only="retry_later",
    ),
    OnSQLite(
        "retry-later may be returned",
        (in_runs("        if isinstance(answer, RetryLater):\n            raise answer\n", ""),),
        (STEPS,),
        only="retry_later",
    ),
    OnSQLite(
        "an answer is a Respond",
        (in_runs("        if not isinstance(answer, Respond):", "        if False:"),),
        (STEPS,),
        only="anything_else",
    ),
    OnSQLite(
        "a phase's answer stays one",
        (in_steps("return data if step.status is None else Respond(step.status, data)", "return data"),),
        (STEPS,),
        only="may_return",
    ),
    OnSQLite(
        "the first answer is not marked as a replay",
        (in_services("            del self.response[self.exchange.policy.replayed_header]\n", ""),),
        (VIEWS,),
        only="byte_for_byte",
    ),
    OnSQLite(
        "no operation inside an idempotent view",
        (in_services("        exchange.refuse_nested(operation)\n", ""),),
        (VIEWS,),
        only="inside_a_coroutine",
    ),
    OnSQLite(
        "whoever may not is refused first",
        (in_services("        exchange.authorize()\n", ""),),
        (VIEWS,),
        only="may_not",
    ),
    OnSQLite(
        "a key is required",
        (in_services("        if key is None:\n", "        if False:\n"),),
        (VIEWS,),
        only="key_is_required",
    ),
    OnSQLite(
        "who prefers to waits",
        (in_calls("wait=service.exchange.wait()", "wait=0"),),
        (VIEWS,),
        only="prefers",
    ),
]


INPUT = [
    OnSQLite(
        "NaN is no JSON",
        (
            in_answers(
                "return json.dumps(value, allow_nan=False, sort_keys=True", "return json.dumps(value, sort_keys=True"
            ),
        ),
        (INPUTS,),
        only="no_json or in_a_view_too",
    ),
    OnSQLite(
        "verification codes are refused",
        (in_boundaries("        if verdict(name) == DROPPED:", "        if False:"),),
        (INPUTS,),
        only="never_be_stored",
    ),
    OnSQLite(
        "at any depth",
        (in_boundaries("        yield from _names(value)\n", "        yield from ()\n"),),
        (INPUTS,),
        only="never_be_stored",
    ),
    OnSQLite(
        "arguments are bound before the claim",
        (in_calls("    defined.signature.bind(None, **given)\n", ""),),
        (INPUTS,),
        only="does_not_take",
    ),
    OnSQLite(
        "input is encrypted",
        (
            in_calls(
                "    stored, key_id = sealed(asked.encode(), policy.encryption_keys)\n",
                '    stored, key_id = asked.encode(), ""\n',
            ),
        ),
        (INPUTS,),
        only="TestEncryption",
    ),
    OnSQLite(
        "steps are encrypted",
        (
            in_store(
                "return sealed(None if text is None else text.encode(), self.keys)",
                "return sealed(None if text is None else text.encode(), ())",
            ),
        ),
        (INPUTS,),
        only="TestEncryption",
    ),
    OnSQLite(
        "an operation's answer is encrypted",
        (in_answers("*sealed(body, policy.encryption_keys))", "*sealed(body, ()))"),),
        (INPUTS,),
        only="TestEncryption",
    ),
    Mutant(
        "a request is one statement",
        (
            in_postgresql(
                "    def request(self, claim: Claim, step: Step) -> None:",
                "    def requested(self, claim: Claim, step: Step) -> None:",
            ),
        ),
        (STATEMENTS,),
    ),
]

MUTANTS = [*SIXTH, *SEVENTH, *INPUT]
