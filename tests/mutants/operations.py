"""What is taken out of the journal of operations and of their calls, by the rules of the design; what should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit, in_db

STEPS = "tests/operations/test_steps.py"
VIEWS = "tests/operations/test_views.py"
INPUTS = "tests/operations/test_inputs.py"
BOUNDARIES = "tests/operations/test_boundaries.py"
RESUMING = "tests/operations/test_resuming.py"
DEPLOYS = "tests/operations/test_deploys.py"
RECOVERY = "tests/operations/test_recovery.py"
FENCES = "tests/operations/test_fences.py"
HEARTBEATS = "tests/operations/test_heartbeats.py"
STATEMENTS = "tests/operations/test_statements.py"

in_journal = partial(edit, "core/journal.py")
in_steps = partial(edit, "operations/steps.py")
in_runs = partial(edit, "operations/runs.py")
in_store = partial(edit, "operations/store.py")
in_postgresql = partial(edit, "operations/postgresql.py")
in_recovery = partial(edit, "operations/recovery.py")
in_hearts = partial(edit, "heartbeats.py")
in_boundaries = partial(edit, "operations/boundaries.py")
in_definitions = partial(edit, "operations/definitions.py")
in_calls = partial(edit, "operations/calls.py")
in_answers = partial(edit, "operations/answers.py")
in_services = partial(edit, "operations/services.py")


FIRST = [
    OnSQLite(
        "finished steps are not done again",
        (
            in_steps(
                "        finished = self._next(step)\n        if finished is None:",
                "        finished = None\n        if True:",
            ),
        ),
        (RESUMING,),
        only="finished_steps",
    ),
    OnSQLite(
        "a finished call is not sent again",
        (in_steps("        if recorded.finished:\n            return _value(recorded)\n", ""),),
        (RESUMING,),
        only="nor_looked_up",
    ),
    OnSQLite(
        "a step of another name is parked",
        (in_journal("if (recorded.name, recorded.kind) != (name, kind):", "if recorded.kind != kind:"),),
        (DEPLOYS,),
        only="changed_function",
    ),
    OnSQLite(
        "a step of another kind is parked",
        (in_journal("if (recorded.name, recorded.kind) != (name, kind):", "if recorded.name != name:"),),
        (DEPLOYS,),
        only="changed_function",
    ),
    OnSQLite(
        "a step of another input is parked",
        (in_journal("if recorded.input != asked:", "if False:"),),
        (DEPLOYS,),
        only="changed_function or differs",
    ),
    OnSQLite(
        "the function may not end before the journal",
        (in_journal("if consumed < len(recorded):", "if False:"),),
        (DEPLOYS,),
        only="changed_function",
    ),
    OnSQLite(
        "what differs is told without its values",
        (in_journal('return [pointer or "/"]', 'return [f"{pointer}={before}"]'),),
        (DEPLOYS,),
        only="TestWhatDiffers",
    ),
    OnSQLite(
        "what was stored is sent",
        (
            in_steps(
                "result = call.function(idempotency_key=step.gateway_key,",
                "result = call.function(idempotency_key=keys.derive(self._claim.operation.id, step.name),",
            ),
        ),
        (RESUMING,),
        only="stored_key",
    ),
    OnSQLite(
        "each step has its own key",
        (in_steps('f"{self._position} {name}")', "name)"),),
        (STEPS,),
        only="TestKeys",
    ),
    OnSQLite(
        "another way after an undone phase is refused",
        (in_steps("elif self._undone is not None and self._undone != step:", "elif False:"),),
        (STEPS,),
        only="might_not",
    ),
    OnSQLite(
        "the same phase may be tried again",
        (in_steps("elif self._undone is not None and self._undone != step:", "elif self._undone is not None:"),),
        (STEPS,),
        only="try_the_same",
    ),
]


SECOND = [
    OnSQLite(
        "a call is written down before it is sent",
        (
            in_steps(
                "            self._store.request(self._claim, step)\n            return self._send(call, step, sent)",
                "            result = self._send(call, step, sent)\n"
                "            self._store.request(self._claim, step)\n            return result",
            ),
        ),
        (RESUMING,),
        only="finds_nothing or first_key",
    ),
    OnSQLite(
        "the look-up is asked first",
        (in_steps("        if call.lookup is not None:\n", "        if False:\n"),),
        (RESUMING,),
        only="TestLookups",
    ),
    OnSQLite(
        "without keys nothing is sent again",
        (
            in_journal(
                "    if step.key_ttl is None or step.requested_at is None:\n        return False\n",
                "    if step.key_ttl is None or step.requested_at is None:\n        return True\n",
            ),
        ),
        (RESUMING,),
        only="no_keys or margin",
    ),
    OnSQLite(
        "under a key that was forgotten nothing is sent again",
        (in_steps("            if exc.key_forgotten:\n", "            if False:\n"),),
        (RESUMING,),
        only="nothing_was_kept",
    ),
    OnSQLite(
        "after key_ttl nothing is sent again",
        (in_journal("return now < step.requested_at + step.key_ttl - timeout - MARGIN", "return True"),),
        (RESUMING,),
        only="forgotten or margin or written_down_first",
    ),
    OnSQLite(
        "the margin is taken off",
        (in_journal("step.key_ttl - timeout - MARGIN", "step.key_ttl - timeout"),),
        (RESUMING,),
        only="margin",
    ),
    OnSQLite(
        "the call's time is taken off",
        (in_journal("step.key_ttl - timeout - MARGIN", "step.key_ttl - MARGIN"),),
        (RESUMING,),
        only="margin",
    ),
    OnSQLite(
        "the stored key_ttl counts",
        (
            in_steps(
                "may_be_sent(step, self._now()",
                "may_be_sent(replace(step, key_ttl=getattr(call.function.__self__, 'key_ttl')), self._now()",
            ),
        ),
        (RESUMING,),
        only="written_down_first",
    ),
    Mutant(
        "a phase waits for the disk",
        (in_db("leases", "        return super().ours().filter(Q(Durable()))", "        return super().ours()"),),
        (FENCES,),
        only="disk",
    ),
]


THIRD = [
    OnSQLite(
        "who does not know puts it off",
        (
            in_runs(
                "        except (RetryLater, OutcomeUnknown, StoreUnavailable) as exc:",
                "        except OutcomeUnknown:\n"
                '            kept = snapshot(Respond(402, "declined"), self.policy)\n'
                "            self.store.complete(claim, kept, None)\n"
                "            return Ran(claim, kept)\n"
                "        except (RetryLater, StoreUnavailable) as exc:",
            ),
        ),
        (STEPS,),
        only="does_not_know",
    ),
    OnSQLite(
        "what may not be sent again waits for a person at once",
        (in_steps("if call.lookup is None and step.key_ttl is None:", "if False:"),),
        (STEPS,),
        only="nobody_can_ask",
    ),
    OnSQLite(
        "a call's timeout is shorter than the lease",
        (in_boundaries("if not 0 < timeout < lease:", "if not 0 < timeout:"),),
        (BOUNDARIES,),
        only="timeout",
    ),
    OnSQLite(
        "the deadline is asked before sending",
        (in_steps("if time.monotonic() + call.timeout >= since + lease:", "if False:"),),
        (RESUMING,),
        only="TestDelays",
    ),
    OnSQLite(
        "signs of life have a maximum",
        (
            in_hearts("heart in self._hearts and time.monotonic() < heart.until", "heart in self._hearts"),
            in_hearts("if lost or time.monotonic() >= heart.until:", "if lost:"),
        ),
        (HEARTBEATS,),
        only="maximum",
    ),
    OnSQLite(
        "a call's time is its maximum",
        (in_hearts("        self._allow(seconds)\n", ""),),
        (HEARTBEATS,),
        only="in_a_call",
    ),
    OnSQLite(
        "a heart goes on after a late call",
        (
            in_hearts(
                "            # A call that took longer has been given up.\n            self.pulse.add(self)\n", ""
            ),
        ),
        (HEARTBEATS,),
        only="in_a_call",
    ),
    OnSQLite(
        "a heart rests in a phase",
        (
            in_hearts(
                "        self.pulse.remove(self)\n        try:\n            yield\n        finally:\n"
                "            self._allow",
                "        try:\n            yield\n        finally:\n            self._allow",
            ),
        ),
        (HEARTBEATS,),
        only="rests",
    ),
    OnSQLite(
        "a heart beats while the function runs",
        (in_runs("with op.heart.beating():", "if True:"),),
        (HEARTBEATS,),
        only="TestOperations",
    ),
    OnSQLite(
        "what has ended has no signs of life",
        (in_hearts("        finally:\n            self.pulse.remove(self)\n", "        finally:\n            pass\n"),),
        (HEARTBEATS,),
        only="after_that or put_off or nor_what",
    ),
    OnSQLite(
        "a removal waits for a beat",
        (in_hearts("        with heart.lock:\n            pass\n", ""),),
        (HEARTBEATS,),
        only="waited_for",
    ),
    OnSQLite(
        "a forked process has its own thread",
        (in_hearts("        os.register_at_fork(after_in_child=self._reset)\n", ""),),
        (HEARTBEATS,),
        only="forked",
    ),
]

MUTANTS = [*FIRST, *SECOND, *THIRD]
