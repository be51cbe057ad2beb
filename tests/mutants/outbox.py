"""What is taken out of the outbox, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

MESSAGES = "tests/outbox/test_messages.py"
DRAINS = "tests/outbox/test_drains.py"
CELERY = "tests/outbox/brokers/test_celery.py"

in_drains = partial(edit, "outbox/drains.py")
in_messages = partial(edit, "outbox/messages.py")
in_rows = partial(edit, "outbox/rows.py")
in_targets = partial(edit, "outbox/targets.py")

MUTANTS = [
    OnSQLite(
        "no message outside of a transaction",
        (in_rows("if not connection.in_atomic_block and connection.get_autocommit():", "if False:"),),
        (MESSAGES,),
        only="outside_of or does_not_count",
    ),
    OnSQLite(
        "messages where the records lie",
        (in_rows("    return database(get_policy())\n", '    return "default"\n'),),
        (MESSAGES,),
        only="records_of_the_default",
    ),
    OnSQLite("arguments are JSON", (in_messages("allow_nan=False", "default=str"),), (MESSAGES,), only="no_json"),
    OnSQLite(
        "a message is what it was when it was enqueued",
        (in_messages("json.loads(json.dumps([args, kwargs], allow_nan=False))", "[args, kwargs]"),),
        (MESSAGES,),
        only="changed_after",
    ),
    OnSQLite(
        "messages are encrypted",
        (in_rows(".encode(), sealing_keys())", ".encode(), ())"),),
        (MESSAGES,),
        only="is_encrypted",
    ),
    OnSQLite(
        "messages under the keys of any profile",
        (
            in_rows(
                "for profile in profiles() for key in get_policy(profile).",
                'for profile in ["default"] for key in get_policy(profile).',
            ),
        ),
        (MESSAGES,),
        only="any_profile",
    ),
    OnSQLite(
        "messages are rekeyed",
        (edit("rotation.py", "chain(*found, *messages)", "chain(*found)"),),
        (MESSAGES,),
        only="rekeying",
    ),
    OnSQLite(
        "a message is sent when it is due",
        (in_drains(".filter(due_at__lte=now(alias)).order_by", ".order_by"),),
        (DRAINS,),
        only="before_its_time",
    ),
    OnSQLite(
        "a taken message belongs to whoever has taken it",
        (in_drains("due_at=now(alias) + HOLD, attempts", "attempts"),),
        (DRAINS,),
        only="leaves_alone",
    ),
    Mutant(
        "a drain waits for no row",
        (in_drains("select_for_update(skip_locked=True)", "select_for_update(nowait=True)"),),
        (DRAINS,),
        only="waits_for_no_row",
    ),
    Mutant(
        "rows are locked while they are taken",
        (in_drains("due.select_for_update(skip_locked=True)[:batch_size]", "due[:batch_size]"),),
        (DRAINS,),
        only="storm or waits_for_no_row",
    ),
    OnSQLite(
        "one drain at a time takes on SQLite",
        (in_drains("in_database(alias).filter(pk=NOBODY).update(attempts=0)", "pass"),),
        (DRAINS,),
        only="storm",
    ),
    OnSQLite(
        "nothing is sent inside a transaction",
        (in_drains("rows_only(alias, durable=True)", "rows_only(alias)"),),
        (DRAINS,),
        only="in_a_transaction_it_is",
    ),
    OnSQLite("delivered is delivered", (in_drains("delivered_at=now(alias), payload", "payload"),), (DRAINS,)),
    OnSQLite(
        "a delivered message is emptied",
        (in_drains("payload=None, key_id", "key_id"),),
        (DRAINS,),
        only="holds_nothing",
    ),
    OnSQLite(
        "a failure holds up no other message",
        (in_drains("        return exc\n", "        raise\n"),),
        (DRAINS,),
        only="holds_up_no_other",
    ),
    OnSQLite(
        "pauses grow", (in_drains(" * 2 ** min(message.attempts - 1, 20)", ""),), (DRAINS,), only="growing_pauses"
    ),
    OnSQLite("pauses have an end", (in_drains(", LONGEST_PAUSE) *", ", inf) *"),), (DRAINS,), only="growing_pauses"),
    OnSQLite(
        "pauses differ",
        (in_drains("random.uniform(0.5, 1)", "random.uniform(1, 1)"),),
        (DRAINS,),
        only="by_chance",
    ),
    OnSQLite(
        "the text of a fault is not told",
        (in_drains("error = type(fault).__name__", "error = str(fault)"),),
        (DRAINS,),
        only="without_the_text",
    ),
    OnSQLite(
        "the staff learns of stuck messages",
        (in_drains("if message.attempts >= STUCK_AFTER else", "if False else"),),
        (DRAINS,),
        only="staff_learns",
    ),
    OnSQLite(
        "stuck messages are counted",
        (in_drains("attempts__gte=STUCK_AFTER", "attempts__gte=STUCK_AFTER + 1"),),
        (DRAINS,),
        only="staff_learns",
    ),
    OnSQLite(
        "a drain that ends marks what it has sent",
        (in_drains("    finally:\n", "    except KeyError:\n"),),
        (DRAINS,),
        only="told_to_end",
    ),
    OnSQLite(
        "a drain that ends gives back the rest",
        (in_drains("        _give_back(alias, rest)\n", ""),),
        (DRAINS,),
        only="told_to_end",
    ),
    OnSQLite(
        "nothing is sent late in the hold",
        (in_drains("while rest and time.monotonic() < until:", "while rest:"),),
        (DRAINS,),
        only="first_half",
    ),
    OnSQLite(
        "a drain that was overtaken changes nothing",
        (in_drains("filter(pk=message.pk, attempts=message.attempts)", "filter(pk=message.pk)"),),
        (DRAINS,),
        only="stood_still",
    ),
    OnSQLite(
        "delivered messages are purged",
        (
            edit(
                "maintenance/purging.py",
                "        (Counter(messages=done) for done in rows.purged(records.db, batch_size)),\n",
                "",
            ),
        ),
        (DRAINS,),
        only="are_purged",
    ),
    OnSQLite(
        "delivered messages are kept for the retention",
        (in_rows("now(alias) - get_policy().retention", "now(alias)"),),
        (DRAINS,),
        only="are_purged",
    ),
    OnSQLite(
        "a Celery task has the message's id",
        (in_targets(", task_id=str(number))", ")"),),
        (CELERY,),
        only="under_the_id or takes_effect_once",
    ),
    OnSQLite(
        "tasks are discovered",
        (in_targets("if name not in current_app.tasks:", "if False:"),),
        (CELERY,),
        only="has_discovered",
    ),
    OnSQLite("arguments fit the task", (in_targets("if task.typing:", "if False:"),), (CELERY,), only="does_not_take"),
    OnSQLite(
        "a signature is no task",
        (in_targets(" and not isinstance(task, Mapping)", ""),),
        (CELERY,),
        only="signature",
    ),
]
