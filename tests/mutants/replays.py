"""What is taken out of the requests that staff runs again, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

REPLAYS = "tests/resolution/test_replays.py"
RACES = "tests/resolution/test_replay_races.py"
PAIRS = "tests/resolution/test_pairs.py"
DRY_RUNS = "tests/resolution/test_replay_dry_runs.py"
REFUSED = "tests/resolution/test_replay_refused.py"
FINGERPRINTS = "tests/resolution/test_refused_fingerprints.py"
OUTCOMES = "tests/desk/test_outcomes.py"
DRF = "tests/resolution/test_replay_drf.py"
APPROVALS = "tests/resolution/test_replay_approvals.py"

on_behalf = partial(edit, "on_behalf.py")
in_subjects = partial(edit, "resolution/subjects.py")
in_sending = partial(edit, "resolution/sending.py")
in_routes = partial(edit, "resolution/routes.py")
in_accounts = partial(edit, "resolution/accounts.py")
in_serving = partial(edit, "resolution/serving.py")
in_stored = partial(edit, "resolution/stored.py")

MUTANTS = [
    OnSQLite(
        "a replay comes out as the record it is of",
        (on_behalf("if operation.id != found.id:", "if False:"),),
        (REPLAYS,),
        only="another_one_is_refused",
    ),
    OnSQLite(
        "a replay comes out as the request that is stored",
        (on_behalf("    if not fingerprints.same(", "    if False and not fingerprints.same("),),
        (REPLAYS,),
        only="was_changed or nobody_has_stored",
    ),
    OnSQLite(
        "what was refused comes out as what its client has asked",
        (in_subjects("        fingerprint=asked,\n", '        fingerprint=bytes.fromhex(request["fingerprint"]),\n'),),
        (FINGERPRINTS,),
        only="TestSeveral and each_is_run",
    ),
    OnSQLite(
        "what was refused and let in since is not run again",
        (in_subjects("if holder is not None and bytes(holder) == asked:", "if False:"),),
        (FINGERPRINTS,),
        only="let_in_under",
    ),
    OnSQLite(
        "a form in which the key is another one",
        (in_stored('        body = with_key(body, row["key"], key)\n', "        pass\n"),),
        (FINGERPRINTS,),
        only="brings_its_key",
    ),
    OnSQLite(
        "of what has begun nobody says that it was not done",
        (
            in_sending("case Refused(InFlight()) if not behalf.began:", "case Refused(InFlight()):"),
            in_sending("case Refused(error) if not behalf.began:", "case Refused(error):"),
        ),
        (OUTCOMES,),
        only="has_begun",
    ),
    OnSQLite(
        "of what was done nobody says that it was not, whoever holds its incident",
        (in_accounts("    except Moved:\n", "    except ZeroDivisionError:\n"),),
        (OUTCOMES,),
        only="stands_whatever",
    ),
    OnSQLite(
        "an unknown outcome frees no key",
        (in_sending('return replace(answer, left=state or "")', "return answer"),),
        (OUTCOMES,),
        only="nobody_is_told",
    ),
    OnSQLite(
        "what staff sends never runs without its key",
        (on_behalf("    if idempotency.id is None and not found.admitted:\n", "    if False:\n"),),
        (REPLAYS,),
        only="without_its_key",
    ),
    OnSQLite(
        "what a view calls with its request is let in with it",
        (on_behalf("if found is None or found.admitted:", "if found is None:"),),
        (REPLAYS,),
        only="calls_another_one",
    ),
    OnSQLite(
        "the decorator is asked before anything is claimed",
        (
            edit(
                "services.py",
                "        on_behalf.refuse_changed(exchange.http, operation, exchange.policy)\n",
                "",
            ),
        ),
        (REPLAYS,),
        only="was_changed",
    ),
    OnSQLite(
        "the decorator of a coroutine is asked, too",
        (edit("coroutines.py", "        on_behalf.refuse_changed(exchange.http, operation, policy)\n", ""),),
        (REPLAYS,),
        only="coroutine",
    ),
    OnSQLite(
        "a masked request is not run",
        (in_stored('    if row["request_whole"]:\n        return\n', "    return\n"),),
        (REPLAYS,),
        only="masked or with_files",
    ),
    OnSQLite(
        "an account that is closed runs nothing",
        (edit("principals.py", "if principal is None or closed:", "if principal is None:"),),
        (REPLAYS,),
        only="closed_is_refused",
    ),
    OnSQLite(
        "the last word on who it is",
        (in_serving("        request.user = self.prepared.principal\n", ""),),
        (REPLAYS,),
        only="last_word",
    ),
    OnSQLite(
        "DRF's own look at who it is",
        (
            in_serving(
                "        request._force_auth_user, request._force_auth_token = prepared.principal, prepared.auth\n",
                "        pass\n",
            ),
        ),
        (DRF,),
        only="token or auth",
    ),
    OnSQLite(
        "only through an idempotent view",
        (in_routes('    if not policies:\n        raise WrongState(NO_VIEW.format(path=row["path"]))\n', ""),),
        (REPLAYS,),
        only="without_an_idempotent_view",
    ),
    OnSQLite(
        "only in the namespace it was claimed in",
        (in_routes('if policy.namespace == row["namespace"] and', "if"),),
        (REPLAYS,),
        only="keeps_its_keys_elsewhere",
    ),
    OnSQLite(
        "what has not come to its view has not run",
        (in_sending("if behalf.outcome is None and not behalf.began:", "if False:"),),
        (REPLAYS, DRF, OUTCOMES),
        only="in_front_of or refuses_today or authorize",
    ),
    OnSQLite(
        "nothing that may be answered and forgotten",
        (in_sending("    subject.refuse_old(", "    str("),),
        (REPLAYS,),
        only="older_than",
    ),
    OnSQLite(
        "a failure that has completed since",
        (in_subjects('    refuse_used(records, row["record_id"])\n', ""),),
        (REPLAYS,),
        only="what_has_completed",
    ),
    OnSQLite(
        "a failure whose key is in use",
        (edit("resolution/incidents.py", "    if state is not None:\n        raise StillRunning\n", ""),),
        (RACES,),
        only="in_use_again",
    ),
    OnSQLite(
        "nobody decides of what is being run",
        (edit("resolution/incidents.py", "        _refuse_busy(act, row, incidents.db)\n", ""),),
        (PAIRS,),
        only="TestWhileItIsRun",
    ),
    OnSQLite(
        "a run whose process has died ends",
        (edit("resolution/incidents.py", ", at__gt=ago(records, LONGEST_RUN))", ")"),),
        (PAIRS,),
        only="whose_process_has_died",
    ),
    OnSQLite(
        "what has completed is not settled outside",
        (edit("resolution/incidents.py", 'if act is Act.SETTLED and row["kind"] in OF_ITSELF:', "if False:"),),
        (PAIRS,),
        only="TestTheClientsRetry",
    ),
    Mutant(
        "a run does not overwrite a decision",
        (in_sending('pk=subject.row["id"], decision__in=("", run))', 'pk=subject.row["id"])'),),
        (PAIRS,),
        only="not_overwritten",
    ),
    OnSQLite(
        "no unknown outcome is run",
        (in_subjects('    if row["state"] == State.UNKNOWN.value:\n        raise WrongState(RECORD_FIRST)\n', ""),),
        (RACES,),
        only="nobody_knows",
    ),
    OnSQLite(
        "the claim of a record as it was shown",
        (in_subjects('    if seen is not None and seen != row["claim"]:\n        raise Moved\n', ""),),
        (RACES,),
        only="nobody_knows",
    ),
    OnSQLite(
        "the counter of an incident as it was shown",
        (in_subjects('    if seen is not None and seen != found["counter"]:\n        raise Moved\n', ""),),
        (REPLAYS,),
        only="happened_again",
    ),
    OnSQLite(
        "an incident that fails at that moment",
        (in_subjects('if not incidents.filter(counter=row["counter"]).update', "if not incidents.update"),),
        (RACES,),
        only="fails_at_that_moment",
    ),
    Mutant(
        "a record that completes at that moment",
        (in_subjects("        locked(dead(records, row))\n", "        pass\n"),),
        (RACES,),
        only="completed_at_that_moment",
    ),
    OnSQLite(
        "what is healed is not run",
        (in_subjects('    if row["healed_at"] is not None:\n        raise WrongState(CLOSED)\n', ""),),
        (REPLAYS,),
        only="what_is_healed",
    ),
    OnSQLite(
        "of several failures none is guessed",
        (in_subjects("    if len(found) > 1:\n        raise WrongState(SEVERAL)\n", ""),),
        (REPLAYS,),
        only="several",
    ),
    OnSQLite(
        "one key for a refused payload, ever",
        (in_subjects("_key_of(earlier) or str(uuid4())", "str(uuid4())"),),
        (REFUSED,),
        only="second_click or once_run",
    ),
    OnSQLite(
        "whoever has begun with a refused payload",
        (
            in_subjects(
                '        if _key_of(_earlier(records, row)) not in ("", key):\n            raise Moved\n',
                "        return\n",
            ),
        ),
        (REFUSED,),
        only="has_not_seen",
    ),
    OnSQLite(
        "a refused payload whose key may be forgotten",
        (in_subjects("        if earlier and events_in", "        if False and events_in"),),
        (REFUSED,),
        only="may_be_forgotten",
    ),
    OnSQLite(
        "a mismatch that was decided otherwise",
        (in_subjects('    if row["decision"] not in ("", Decision.RUN):\n', "    if False:\n"),),
        (REFUSED,),
        only="decided_otherwise",
    ),
    OnSQLite(
        "a view that takes its key from the request",
        (edit("resolution/replays.py", "    if any(policy.key for policy in policies):\n", "    if False:\n"),),
        (REFUSED,),
        only="takes_its_key",
    ),
    OnSQLite(
        "a dry run is taken back",
        (in_serving("            transaction.set_rollback(True, using=alias)\n", "            pass\n"),),
        (DRY_RUNS,),
        only="no_trace",
    ),
    OnSQLite(
        "a dry run is taken back on every database",
        (
            in_serving(
                "        for alias in connections:\n            stack",
                '        for alias in ("default",):\n            stack',
            ),
            in_serving(
                "        for alias in connections:\n            transaction",
                '        for alias in ("default",):\n            transaction',
            ),
        ),
        (DRY_RUNS,),
        only="another_database",
    ),
    OnSQLite(
        "a dry run claims nothing",
        (edit("services.py", "        if on_behalf.is_dry(exchange.http):\n", "        if False:\n"),),
        (DRY_RUNS,),
        only="claims_nothing or no_trace",
    ),
    OnSQLite(
        "a dry run of a view that says so",
        (edit("resolution/replays.py", "    if not all(policy.dry_run for policy in policies):\n", "    if False:\n"),),
        (DRY_RUNS,),
        only="does_not_say_so",
    ),
    OnSQLite(
        "a dry run of a rule that says so",
        (on_behalf("return NOT_DRY if found.dry_run and not policy.dry_run else", 'return ""; return'),),
        (DRY_RUNS,),
        only="decorator_itself",
    ),
    OnSQLite(
        "an act is audited before it is sent",
        (
            in_accounts(
                "        begun = account.event(asked.act.value, after=after, before=before)\n",
                "        begun = IdempotencyEvent(sequence=0)\n",
            ),
        ),
        (REPLAYS, REFUSED),
        only="audited_before or second_click",
    ),
    OnSQLite(
        "an act is audited after it was sent",
        (in_accounts("        account.event(ended, after=end(result), before=before)\n", "        end(result)\n"),),
        (REPLAYS,),
        only="audited_before",
    ),
    OnSQLite(
        "nothing is sent inside a transaction",
        (in_accounts("        refuse_transaction(IN_TRANSACTION)\n", "        pass\n"),),
        (REPLAYS,),
        only="inside_a_transaction",
    ),
    OnSQLite(
        "a replay that needs a second person",
        (
            in_accounts(
                "        elif needed(self.asked.act, self.row, self.asked.arguments):\n", "        elif False:\n"
            ),
        ),
        (APPROVALS,),
    ),
    OnSQLite(
        "a replay is run when its approval is committed",
        (
            in_accounts(
                "            transaction.on_commit(do, using=alias)\n            return None\n",
                "            return do()\n",
            ),
        ),
        (APPROVALS,),
        only="agreed or before_the_approval",
    ),
    OnSQLite(
        "a failure heals when its replay is kept",
        (in_sending("            _close(subject)\n", ""),),
        (REPLAYS,),
        only="heals",
    ),
]
