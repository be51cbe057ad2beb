"""What is taken out of the fences of operations and of their upkeep, and the tests that should notice."""

from tests.mutants.mutations import Mutant, OnSQLite, in_db, in_engine
from tests.mutants.operations import (
    FENCES,
    RECOVERY,
    RESUMING,
    STEPS,
    VIEWS,
    in_definitions,
    in_postgresql,
    in_recovery,
    in_runs,
    in_steps,
    in_store,
)

FOURTH = [
    OnSQLite(
        "a phase begins with its fence",
        (
            in_store(
                "        self._renew(claim)\n        return self.leases.mark()",
                "        self.leases.extend(claim)\n        return self.leases.mark()",
            ),
        ),
        (FENCES,),
        only="TestZombies",
    ),
    OnSQLite(
        "a request begins with its fence",
        (
            in_store(
                "            self._renew(claim)\n            self.row(",
                "            self.leases.extend(claim)\n            self.row(",
            ),
        ),
        (FENCES,),
        only="TestZombies",
    ),
    OnSQLite(
        "a result begins with its fence",
        (
            in_store(
                "            self._renew(claim)\n            self._stored(claim, step).update(result=",
                "            self.leases.extend(claim)\n            self._stored(claim, step).update(result=",
            ),
        ),
        (FENCES,),
        only="TestZombies",
    ),
    Mutant(
        "a request begins with its fence, in one statement",
        (
            in_postgresql(
                'REQUEST = ADD.format(time="requested_at") + " FROM held"', 'REQUEST = ADD.format(time="requested_at")'
            ),
        ),
        (FENCES,),
        only="TestZombies",
    ),
    Mutant(
        "a result begins with its fence, in one statement",
        (
            in_postgresql(
                '" FROM held WHERE step.record_id = held.id AND step.position = %s"',
                '" FROM (SELECT count(*) FROM held) AS held WHERE step.position = %s"',
            ),
        ),
        (FENCES,),
        only="TestZombies",
    ),
    Mutant(
        "a phase begins with its fence, on PostgreSQL",
        (
            in_postgresql(
                "        if row is None:\n            raise Lost\n        return str(row[0])",
                "        if row is None:\n            return self.leases.mark()\n        return str(row[0])",
            ),
        ),
        (FENCES,),
        only="TestZombies",
    ),
    OnSQLite(
        "a postponement compares the fence",
        (
            in_store(
                '        fence = {"claim": claim.number, "token": claim.attempt, "state": State.PROCESSING.value}\n',
                '        fence = {"claim": claim.number}\n',
            ),
        ),
        (FENCES,),
        only="put_off or leave_the_other",
    ),
    OnSQLite(
        "an answer compares the fence",
        (
            in_db(
                "lease_statements",
                'return self.dialect.claimed().filter(token=slot("token"))',
                "return self.dialect.claimed()",
            ),
        ),
        (FENCES,),
        only="TestZombies",
    ),
    OnSQLite(
        "a client's takeover raises the token",
        (
            in_engine(
                "attempt=record.token + 1, seen=record)\n\n\ndef run",
                "attempt=record.token, seen=record)\n\n\ndef run",
            ),
        ),
        (RESUMING, FENCES),
        only="token or TestZombies",
    ),
    OnSQLite(
        "upkeep's takeover raises the token",
        (
            in_recovery('token=F("token") + 1, resumes', "resumes"),
            in_recovery('attempt=row["token"] + 1)', 'attempt=row["token"])'),
        ),
        (RECOVERY,),
        only="finds_its_answer",
    ),
    OnSQLite(
        "a lost answer is discarded",
        (
            in_runs(
                "            return Ran(claim, kept)\n        return self._overtaken(claim)",
                "            pass\n        return Ran(claim, kept)",
            ),
        ),
        (FENCES,),
        only="settled_stays or while_the_other",
    ),
    OnSQLite(
        "what has failed is not released",
        (
            in_runs(
                "self._postpone(claim, None if claim.ending.expected else pause, incidents.failure(claim))",
                "self.store.leases.release(claim)",
            ),
        ),
        (RESUMING, STEPS),
        only="fails or goes_on_later",
    ),
    OnSQLite(
        "a live lease is left alone",
        (
            in_engine(
                "    if record.state is State.PROCESSING and record.now < lease_until:",
                "    if False:",
            ),
            in_db("leases", "| Q(lease_until__lte=now)", "| Q(lease_until__isnull=False)"),
        ),
        (RESUMING, STEPS),
        only="nobody_goes_on or in_flight",
    ),
    OnSQLite(
        "a coroutine view's record is not run",
        (in_runs("        if not name:", "        if False:"),),
        (VIEWS,),
        only="has_become",
    ),
]


FIFTH = [
    OnSQLite(
        "only what is due is resumed",
        (in_recovery('operation__gt="", lease_until__lte=now)', 'operation__gt="")'),),
        (RECOVERY,),
        only="left_alone",
    ),
    OnSQLite(
        "only operations are resumed",
        (in_recovery(' operation__gt="",', ""),),
        (RECOVERY,),
        only="leaves_views",
    ),
    OnSQLite(
        "resume_at is waited for",
        (in_recovery("return records.filter(ready, state", "return records.filter(state"),),
        (RECOVERY,),
        only="put_off or never_resumed",
    ),
    OnSQLite(
        "what was overtaken is not taken up",
        (in_recovery('id=row["id"], claim=row["claim"], token=row["token"])', 'id=row["id"])'),),
        (RECOVERY,),
        only="has_had_it",
    ),
    OnSQLite(
        "resumes are bounded",
        (in_recovery('if row["resumes"] >= RESUMES else', "if False else"),),
        (RECOVERY,),
        only="so_many_times",
    ),
    OnSQLite(
        "resumes are counted",
        (in_recovery(', resumes=F("resumes") + 1', ""),),
        (RECOVERY,),
        only="counted or so_many",
    ),
    OnSQLite(
        "an operation's pauses grow",
        (in_runs("SHORTEST_PAUSE * 2 ** min(resumes, 20)", "SHORTEST_PAUSE"),),
        (RECOVERY,),
        only="longer",
    ),
    OnSQLite(
        "pauses have a random part",
        (in_runs("random.uniform(0.5, 1)", "1"),),
        (RECOVERY,),
        only="longer",
    ),
    OnSQLite(
        "a dry run changes nothing",
        (in_recovery("    if dry_run:\n        return Resumed(postponed=_due(records).count())\n", ""),),
        (RECOVERY,),
        only="dry_run",
    ),
    OnSQLite(
        "batches go on behind the last",
        (in_recovery("list(_due(records).filter(onwards)", "list(_due(records)"),),
        (RECOVERY,),
        only="due_again",
    ),
    OnSQLite(
        "a lock that is held ends no batch",
        (in_recovery("    except (Held, Unclear):\n", "    except ZeroDivisionError:\n"),),
        (FENCES,),
        only="not_overtaken",
    ),
    OnSQLite(
        "what was refused at once is not resumed",
        (in_runs("None if claim.ending.expected else pause", "pause"),),
        (STEPS, RECOVERY),
        only="is_the_end or never_resumed",
    ),
    OnSQLite(
        "what has sent a call is resumed",
        (in_steps("                self._ended, self.begun = exc, True\n", "                self._ended = exc\n"),),
        (STEPS,),
        only="no_answer_is_the_end",
    ),
    OnSQLite(
        "a name's module is imported",
        (in_definitions("    if name not in REGISTRY:", "    if False:"),),
        (RECOVERY,),
        only="once_its_module",
    ),
]

MUTANTS = [*FOURTH, *FIFTH]
