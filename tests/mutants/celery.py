"""What is taken out of the Celery tasks, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

MAINTENANCE = "tests/test_maintenance.py"
TASKS = "tests/celery/test_idempotent_task.py"
UPKEEP = "tests/celery/test_upkeep.py"

in_tasks = partial(edit, "tasks/effects.py")
in_upkeep = partial(edit, "tasks/upkeep.py")

MUTANTS = [
    Mutant(
        "one transaction for a task",
        (in_tasks('Rule(profile, {"claim": "joined"})', "Rule(profile, {})"),),
        (TASKS,),
        only="nobody_sees_a_claim",
    ),
    OnSQLite("late acknowledgement", (in_tasks('"acks_late": True, ', ""),), (TASKS,), only="acknowledged_once"),
    OnSQLite(
        "a lost worker's task is delivered again",
        (in_tasks('"reject_on_worker_lost": True, ', ""),),
        (TASKS,),
        only="acknowledged_once",
    ),
    OnSQLite(
        "refusals are not retried",
        (in_tasks(', IdempotencyError), "bind"', ',), "bind"'),),
        (TASKS,),
        only="refusal_is_not_retried",
    ),
    OnSQLite(
        "a delivery in flight tries again later",
        (in_tasks("        if not error.retryable:\n            raise error\n", "        raise error\n"),),
        (TASKS,),
        only="growing_pause",
    ),
    OnSQLite(
        "a task's arguments in its fingerprint",
        (in_tasks("name.encode(), asked]", "name.encode()]"),),
        (TASKS,),
        only="other_arguments_under",
    ),
    OnSQLite(
        "arguments by name",
        (in_tasks("canonical(self.signature.bind(*args, **kwargs).arguments)", "canonical([args, kwargs])"),),
        (TASKS,),
        only="by_name_and_by_position",
    ),
    OnSQLite(
        "fingerprints of a task under earlier secrets",
        (in_tasks("[settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]", "[settings.SECRET_KEY]"),),
        (TASKS,),
        only="earlier_secret",
    ),
    OnSQLite("a task's name in its namespace", (in_tasks('f"task:{name}"', '"task"'),), (TASKS,), only="do_not_share"),
    OnSQLite("no None in a task's key", (in_tasks("if value is None:", "if False:"),), (TASKS,), only="none_is_no_key"),
    OnSQLite(
        "a task's key is a short text", (in_tasks(" or not key.isprintable()", ""),), (TASKS,), only="no_short_text"
    ),
    OnSQLite(
        "a result too large to be kept fails",
        (in_tasks("if len(self.kept) > self.policy.max_response:", "if False:"),),
        (TASKS,),
        only="too_large",
    ),
    OnSQLite(
        "a result as duplicates get it",
        (in_tasks("        return json.loads(self.kept)\n", "        return self.call()\n"),),
        (TASKS,),
        only="TestResults",
    ),
    OnSQLite(
        "a retry that a task asks for is no failure",
        (in_tasks("claim.ending.expected = True", "pass"),),
        (TASKS,),
        only="asks_for_is_none",
    ),
    OnSQLite(
        "a task's mismatch is told",
        (in_tasks("                    backend.mismatched(self.operation)\n", "                    pass\n"),),
        (TASKS,),
        only="are_an_incident",
    ),
    OnSQLite(
        "a task's result is encrypted",
        (in_tasks("*sealed(self.kept, self.policy.encryption_keys)", "self.kept"),),
        (TASKS,),
        only="TestEncryption",
    ),
    OnSQLite(
        "a task's arguments are masked",
        (in_tasks("dumped(masking.data(asked))", "dumped(asked)"),),
        (TASKS,),
        only="stored_without",
    ),
    OnSQLite(
        "a task's arguments are stored where asked",
        (in_tasks("if not policy.store_request:", "if False:"),),
        (TASKS,),
        only="requests_are_not",
    ),
    OnSQLite(
        "a task's arguments are there for the staff",
        (in_tasks("            parts=lambda: stored,\n", ""),),
        (TASKS,),
        only="are_an_incident",
    ),
    OnSQLite(
        "upkeep is tried again",
        (in_upkeep("autoretry_for=(StoreUnavailable, OperationalError, InterfaceError)", "autoretry_for=()"),),
        (UPKEEP,),
        only="asked_again_later",
    ),
    OnSQLite(
        "upkeep that comes late is dropped",
        (in_upkeep(', "options": {"expires": every}', ""),),
        (UPKEEP,),
        only="in_its_time",
    ),
    OnSQLite(
        "upkeep's deadline",
        (edit("maintenance/batches.py", "if time.monotonic() >= deadline:", "if False:"),),
        (UPKEEP,),
        only="time_is_up",
    ),
    Mutant(
        "upkeep skips what somebody holds",
        (
            edit(
                "maintenance/batches.py",
                "select_for_update(skip_locked=True)\n    try",
                "select_for_update(nowait=True)\n    try",
            ),
        ),
        (MAINTENANCE,),
        only="without_waiting",
    ),
    OnSQLite(
        "an erased result is expired",
        (in_tasks("        if body is None:", "        if False:"),),
        (TASKS,),
        only="was_erased",
    ),
]
