"""What is taken out of the code of coroutine views and their leases, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit, in_db, in_engine

TRANSACTIONS = "tests/asgi/test_transactions.py"
LEASES = "tests/asgi/test_leases.py"
SERVICE = "tests/asgi/test_service.py"

in_coroutines = partial(edit, "coroutines.py")
in_hops = partial(edit, "hops.py")

MUTANTS = [
    OnSQLite(
        "writes under a lease compare its token",
        (
            in_db(
                "lease_statements",
                'return self.dialect.claimed().filter(token=slot("token"))',
                "return self.dialect.claimed()",
            ),
        ),
        (LEASES,),
        only="token or taken_over",
    ),
    OnSQLite(
        "a leased claim begins with a token",
        (in_db("lease_statements", '"token": 1}', '"token": 0}'),),
        (LEASES,),
        only="visible_at_once",
    ),
    OnSQLite(
        "a lease that ran out is written down first",
        (in_db("leases", "return verdict if self._lapse(operation, record) else Again.UNCLEAR", "return verdict"),),
        (LEASES,),
        only="written_down",
    ),
    Mutant(
        "a lease's end waits for a commit",
        (
            in_db(
                "leases",
                'held = list(due.select_for_update(nowait=True).values_list("pk", flat=True))',
                'held = list(due.values_list("pk", flat=True))',
            ),
        ),
        (LEASES,),
        only="nobody_calls_it",
    ),
    OnSQLite(
        "a takeover has a token of its own",
        (in_db("leases", '"token": claim.attempt, "lease_until": now', '"lease_until": now'),),
        (LEASES,),
        only="taken_over or two_only",
    ),
    OnSQLite(
        "a commit locks its claim first",
        (in_db("leases", "if not self._change(self.extending, claim, {}):", "if False:"),),
        (LEASES,),
        only="hits_nothing or taken_over",
    ),
    OnSQLite(
        "no claim in an outer transaction",
        (in_db("leases", "        self._refuse_outer(OUTER)\n", ""),),
        (LEASES,),
        only="outer",
    ),
    OnSQLite(
        "a broken transaction is left to a person",
        (
            in_db(
                "lease_statements",
                '{"state": State.UNKNOWN.value, "lease_until": None}',
                '{"state": State.UNKNOWN.value}',
            ),
        ),
        (LEASES,),
        only="broken",
    ),
    OnSQLite(
        "in flight while the lease lasts",
        (in_engine("record.state is State.PROCESSING and record.now < lease_until", "False"),),
        (LEASES,),
        only="in_flight",
    ),
    OnSQLite(
        "never run again without rerun",
        (
            in_engine(
                "    if not (operation.rerun or resumed):\n        return Refused(OutcomeUnknown(operation=operation.id))\n",
                "",
            ),
        ),
        (LEASES,),
        only="written_down",
    ),
    OnSQLite(
        "in flight no longer than the lease",
        (
            in_engine(
                "record.state is State.PROCESSING and record.now < lease_until", "record.state is State.PROCESSING"
            ),
        ),
        (LEASES,),
        only="written_down",
    ),
    OnSQLite(
        "what has begun is shielded",
        (
            in_hops(
                "    while not task.done():\n        try:\n            await asyncio.wait([task])\n"
                "        except asyncio.CancelledError as exc:\n            cancelled = exc\n",
                "    await task\n",
            ),
        ),
        (SERVICE,),
        only="Cancelled",
    ),
    OnSQLite(
        "a claim of a cancelled request is freed",
        (
            in_coroutines(
                "        if self.claim:\n            self._give_up(self.claim, error, started=False)",
                "        pass",
            ),
        ),
        (SERVICE,),
        only="in_the_claim",
    ),
    OnSQLite(
        "what a view raises is in doubt",
        (
            in_coroutines(
                "if started and not claim.operation.rerun:\n                held = self.leases.doubt",
                "if False:\n                held = self.leases.doubt",
            ),
        ),
        (SERVICE,),
        only="raises_is_in_doubt",
    ),
    OnSQLite(
        "a cancelled view is settled",
        (
            in_coroutines(
                "        except (Exception, asyncio.CancelledError) as error:\n            if await",
                "        except Exception as error:\n            if await",
            ),
        ),
        (SERVICE,),
        only="raises_is_in_doubt",
    ),
    OnSQLite(
        "the lease is extended",
        (in_coroutines("        while held:\n", "        while False:\n"),),
        (SERVICE,),
        only="extended",
    ),
    OnSQLite(
        "the lease is extended past a failing store",
        (
            in_coroutines(
                'could not be extended.", claim.operation.id, exc_info=True)\n            return True',
                'could not be extended.", claim.operation.id, exc_info=True)\n            return False',
            ),
        ),
        (SERVICE,),
        only="extended",
    ),
    OnSQLite(
        "a completion that is lost is told",
        (
            edit(
                "core/leases.py",
                "return Completed(claim) if store.complete(claim, snapshot) else overtaken(store, claim, snapshot)",
                "store.complete(claim, snapshot)\n    return Completed(claim)",
            ),
        ),
        (SERVICE,),
        only="lost",
    ),
    OnSQLite(
        "an error after the commit is none",
        (
            in_coroutines(
                "        if self.committed:\n            if isinstance(error, Exception)",
                "        if False:\n            if isinstance(error, Exception)",
            ),
        ),
        (SERVICE,),
        only="stands",
    ),
    OnSQLite(
        "the committed answer stands",
        (
            in_coroutines(
                "        if self.committed:\n            if response is not self.response",
                "        if False:\n            if response is not self.response",
            ),
        ),
        (SERVICE,),
        only="stands",
    ),
    OnSQLite(
        "one commit for each request",
        (in_coroutines("        if self.committing:\n            raise", "        if False:\n            raise"),),
        (SERVICE,),
        only="commits_one",
    ),
    OnSQLite(
        "no other thread's connection",
        (in_hops("thread_sensitive=True", "thread_sensitive=False"),),
        (SERVICE,),
        only="own_thread",
    ),
    OnSQLite(
        "recover waits for the end of the lease",
        (edit("maintenance/due.py", '        lapsed, operation="", state', '        operation="", state'),),
        (LEASES,),
        only="recover",
    ),
    OnSQLite(
        "commit() is one transaction",
        (
            in_db(
                "leases",
                "            with transaction.atomic(using=self.dialect.alias):\n"
                "                if not self._change(self.extending",
                "            if True:\n                if not self._change(self.extending",
            ),
        ),
        (
            LEASES,
            SERVICE,
        ),
        only="commit",
    ),
    OnSQLite(
        "no commit() in an open transaction",
        (in_db("leases", "        self._refuse_outer(OPEN)\n        run = Run(claim)", "        run = Run(claim)"),),
        (TRANSACTIONS,),
        only="commit_in_one",
    ),
    OnSQLite(
        "no answer out of an open transaction",
        (
            in_db(
                "leases",
                "        self._refuse_outer(OPEN)\n        return self.complete_here",
                "        return self.complete_here",
            ),
        ),
        (TRANSACTIONS,),
        only="not_given",
    ),
    OnSQLite(
        "no claim without autocommit",
        (in_db("leases", "if self.connection.get_autocommit():", "if True:"),),
        (TRANSACTIONS,),
        only="without_autocommit",
    ),
    Mutant(
        "commit() over a fresh connection",
        (
            in_db(
                "leases", "            if run.transaction is not None:\n                raise\n", "            raise\n"
            ),
        ),
        (TRANSACTIONS,),
        only="opened_anew",
    ),
    OnSQLite(
        "one context for a view and its commit()",
        (in_hops("        _adopt(context)\n", ""),),
        (TRANSACTIONS,),
        only="its_context",
    ),
    OnSQLite(
        "commit() undoes without a key, too",
        (in_coroutines("transaction.set_rollback(True, using=alias)", "pass"),),
        (TRANSACTIONS,),
        only="WithoutKey",
    ),
    OnSQLite(
        "no failure is the last extension",
        (
            in_coroutines(
                "        except Exception:  # whatever it is", "        except StoreUnavailable:  # whatever it is"
            ),
        ),
        (TRANSACTIONS,),
        only="not_the_last",
    ),
    OnSQLite(
        "a commit of which nothing was heard",
        (in_coroutines("outcome = self.lost or leases.unsettled(", "outcome = leases.unsettled("),),
        (TRANSACTIONS,),
        only="nothing_was_heard",
    ),
    OnSQLite(
        "rerun may be asked for again",
        (
            edit(
                "core/leases.py",
                "Refused(error if claim.operation.rerun else OutcomeUnknown(operation=claim.operation.id))",
                "Refused(OutcomeUnknown(operation=claim.operation.id))",
            ),
        ),
        (TRANSACTIONS,),
        only="asked_for_again",
    ),
    OnSQLite(
        "every task is waited for",
        (
            in_coroutines(
                "            await to_the_end(hop(self._not_started, error))",
                "            if self.claim:\n                await to_the_end(hop(self._not_started, error))",
            ),
        ),
        (SERVICE,),
        only="every_task",
    ),
    OnSQLite(
        "no coroutine function for a check",
        (edit("conf.py", "if iscoroutinefunction(value):", "if False:"),),
        (TRANSACTIONS,),
        only="no_check",
    ),
]
