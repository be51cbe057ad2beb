"""What is taken out of the projects' own tests and the conformance vectors, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

CRASHES = "tests/testing/test_crashes.py"
RUNS_ONCE = "tests/testing/test_runs_once.py"
ROUNDS = "tests/testing/test_rounds.py"
RETENTION = "tests/testing/test_retention.py"
COMMAND = "tests/conformance/test_command.py"
VECTORS = "tests/conformance/test_vectors.py"

in_crashes = partial(edit, "testing/crashes.py")
in_rounds = partial(edit, "testing/rounds.py")
in_retention = partial(edit, "testing/retention.py")
in_runner = partial(edit, "conformance/runner.py")

MUTANTS = [
    Mutant(
        "the dead send nothing",
        (
            in_crashes(
                'must not tidy up after it."""\n        raise Crash\n',
                'must not tidy up after it."""\n        return _[0](*_[1:])\n',
            ),
        ),
        (CRASHES,),
    ),
    OnSQLite(
        "the dead call no hooks",
        (
            in_crashes(
                "            self.connection.run_on_commit = []\n"
                "            self.connection.run_commit_hooks_on_set_autocommit_on = False\n",
                "            pass\n",
            ),
        ),
        (CRASHES,),
        only="hooks",
    ),
    OnSQLite(
        "a crash before the commit undoes",
        (in_crashes("            self.connection.rollback()\n", "            self.connection.commit()\n"),),
        (CRASHES,),
    ),
    OnSQLite(
        "a crash after the commit keeps",
        (in_crashes('        if self.moment == "before":\n', "        if self.moment:\n"),),
        (CRASHES,),
    ),
    OnSQLite(
        "the living go on after a crash",
        (in_crashes("            self.connection.execute_wrappers.remove(self.refuse)\n", "            pass\n"),),
        (CRASHES,),
        only="living",
    ),
    Mutant(
        "the claim of the dead is taken over",
        (
            in_crashes(
                '        claims.update(claimed_at=F("claimed_at") - timedelta(hours=1))\n', "        claims.exists()\n"
            ),
        ),
        (RUNS_ONCE,),
        only="right_view",
    ),
    OnSQLite(
        "effects outside the transaction are found",
        (edit("testing/__init__.py", '        rounds.crashing("before")\n', ""),),
        (RUNS_ONCE,),
        only="outside",
    ),
    OnSQLite(
        "effects put off are found",
        (edit("testing/__init__.py", '        rounds.crashing("after")\n', ""),),
        (RUNS_ONCE,),
        only="put_off",
    ),
    OnSQLite(
        "races are found",
        (
            in_rounds(
                "    with ThreadPoolExecutor(count) as pool:\n"
                "        futures = [pool.submit(run) for _ in range(count)]\n"
                "    return [future.result() for future in futures]\n",
                "    start = threading.Barrier(1)\n    return [run() for _ in range(count)]\n",
            ),
        ),
        (RUNS_ONCE,),
        only="race",
    ),
    OnSQLite(
        "requests at once start together",
        (in_rounds("        start.wait(PATIENCE)\n", "        start.reset()\n"),),
        (ROUNDS,),
    ),
    OnSQLite(
        "other answers are found",
        (
            in_rounds(
                "    return (one.status_code, one.content) == (other.status_code, other.content)\n",
                "    return one.status_code == other.status_code\n",
            ),
        ),
        (RUNS_ONCE,),
        only="different_answers",
    ),
    OnSQLite(
        "answers of something else are found",
        (
            in_rounds(
                '    return any(answer.headers.get(marker) == "true" for marker in markers)\n',
                "    return bool(markers)\n",
            ),
        ),
        (RUNS_ONCE,),
        only="something_else",
    ),
    OnSQLite(
        "requests that nobody answers are found",
        (in_rounds("        if last.status_code != self.first.status_code:\n", "        if False:\n"),),
        (RUNS_ONCE,),
        only="nobody",
    ),
    OnSQLite(
        "a retry that fails is found",
        (in_rounds("        if retry.status_code != self.first.status_code or", "        if False and"),),
        (RUNS_ONCE,),
        only="retry_that_fails",
    ),
    OnSQLite(
        "lost effects are found",
        (
            in_rounds(
                '        if total < self.once:\n            _fail(f"{crashed}."',
                '        if False:\n            _fail(f"{crashed}."',
            ),
        ),
        (RUNS_ONCE,),
        only="WrongViews",
    ),
    OnSQLite(
        "a test without transactions is told",
        (edit("testing/__init__.py", "        refuse_test_case()\n", "        pass\n"),),
        (RUNS_ONCE,),
        only="test_case",
    ),
    OnSQLite(
        "an expired key keeps its tombstone",
        (
            in_retention(
                "            setattr(record, name, getattr(record, name) - by)\n",
                "            setattr(record, name, getattr(record, name) - 100 * by)\n",
            ),
        ),
        (RETENTION,),
    ),
    OnSQLite("one key expires", (in_retention(".filter(key=key)", ".filter()"),), (RETENTION,)),
    OnSQLite(
        "keys expire in every database",
        (in_retention("        for alias in databases()\n", '        for alias in ["default"]\n'),),
        (RETENTION,),
    ),
    OnSQLite(
        "the vectors compare bodies",
        (
            edit(
                "conformance/expectations.py",
                "    if (answer.status, answer.body) != (first.status, first.body):\n",
                "    if answer.status != first.status:\n",
            ),
        ),
        (
            COMMAND,
            VECTORS,
        ),
    ),
    OnSQLite(
        "the vectors count effects",
        (in_runner('        if found != step["effects"]:\n', '        if found < step["effects"]:\n'),),
        (VECTORS,),
    ),
    OnSQLite(
        "the vectors send at once",
        (in_runner('with ThreadPoolExecutor(step["together"]) as pool:', "with ThreadPoolExecutor(1) as pool:"),),
        (VECTORS,),
        only="right_server",
    ),
    OnSQLite(
        "the vectors judge every copy",
        (in_runner('                self.judge(step["expect_others"], other)\n', "                pass\n"),),
        (VECTORS,),
    ),
    OnSQLite(
        "the vectors look at those that run",
        (in_runner('            self.steps(step.get("meanwhile", []))\n', ""),),
        (VECTORS,),
    ),
    OnSQLite(
        "the vectors have keys of their own",
        (
            in_runner(
                "        self.key = str(uuid.uuid4())\n", '        self.key = "00000000-0000-0000-0000-000000000000"\n'
            ),
        ),
        (VECTORS,),
        only="right_server",
    ),
    OnSQLite(
        "the vectors repeat a header",
        (
            in_runner(
                '        headers += [("Idempotency-Key", self.filled(key)) for key in step.get("keys", [])]\n',
                '        headers += [("Idempotency-Key", self.filled(key)) for key in step.get("keys", [])[:1]]\n',
            ),
        ),
        (VECTORS,),
    ),
    OnSQLite(
        "a failed vector fails the command",
        (edit("conformance/__main__.py", "    return 1 if failed else 0\n", "    return 0\n"),),
        (COMMAND,),
    ),
    OnSQLite(
        "a lost connection fails one vector",
        (
            edit(
                "conformance/__main__.py",
                "    except (Failed, LookupError, OSError) as exc:\n",
                "    except Failed as exc:\n",
            ),
        ),
        (COMMAND,),
    ),
]
