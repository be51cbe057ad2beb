"""What is taken out of incidents and their healing, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit, in_db, in_engine

HIDING = "tests/incidents/test_hiding_places.py"
RECORDING = "tests/incidents/test_recording.py"
HEALING = "tests/incidents/test_healing.py"
LIVE = "tests/incidents/test_live.py"

in_coroutines = partial(edit, "coroutines.py")
in_incidents = partial(edit, "incidents.py")

MUTANTS = [
    Mutant(
        "an incident in its release's transaction",
        (
            in_incidents(
                "    with transaction.atomic(using=alias):\n            hit = change()",
                "    if True:\n            hit = change()",
            ),
        ),
        (LIVE,),
        only="kill_after_the_release",
    ),
    Mutant(
        "a failure is told with its release",
        (in_db("committed", "                failure_of(run, exc),\n", "                None,\n"),),
        (LIVE,),
        only="kill_after_the_release",
    ),
    OnSQLite(
        "no incident of what has not happened",
        (in_incidents("            if hit:\n                _write", "            if True:\n                _write"),),
        (RECORDING,),
        only="hits_nothing",
    ),
    OnSQLite(
        "a lost transaction releases all the same",
        (in_incidents("counts for more.\n        return change()", "counts for more.\n        return 0"),),
        (RECORDING,),
        only="takes_the_transaction",
    ),
    OnSQLite(
        "an incident outlives a caller's transaction",
        (in_incidents("    if connection.in_atomic_block:\n        _waiting", "    if False:\n        _waiting"),),
        (RECORDING,),
        only="TestTogether",
    ),
    OnSQLite(
        "waiting incidents are written in the end",
        (
            edit(
                "apps.py",
                "        request_finished.connect(incidents.write_waiting, "
                'dispatch_uid="django_idempotency.incidents")\n',
                "",
            ),
        ),
        (RECORDING,),
        only="unexpected_exception",
    ),
    OnSQLite(
        "failures in joined transactions are told",
        (in_db("joined", "        incidents.report(self.dialect.alias, incident)\n", ""),),
        (RECORDING,),
        only="unexpected_exception",
    ),
    OnSQLite(
        "what upkeep finds is told",
        (
            edit(
                "maintenance/recovering.py",
                "    return incidents.together(same.db, incidents.left(kind, {**row, **request}), lambda: "
                "applied(same, [row], change))",
                "    return applied(same, [row], change)",
            ),
        ),
        (RECORDING,),
        only="TestUpkeep",
    ),
    OnSQLite(
        "a coroutine's status is told",
        (in_coroutines("            self.claim.ending.status = self.response.status_code\n", "            pass\n"),),
        (RECORDING,),
        only="TestCoroutines",
    ),
    OnSQLite(
        "a coroutine's error is told",
        (in_coroutines("        claim.ending.error = type(error).__name__\n", ""),),
        (RECORDING,),
        only="TestCoroutines",
    ),
    OnSQLite(
        "a coroutine's doubt is told",
        (
            in_db(
                "leases",
                "self._end(self.doubting, claim, incidents.unknown(claim.operation))",
                "self._end(self.doubting, claim, None)",
            ),
        ),
        (RECORDING,),
        only="TestCoroutines",
    ),
    OnSQLite(
        "a mismatch is told",
        (
            edit(
                "services.py",
                "                    self.backend.mismatched(operation)\n",
                "                    pass\n",
            ),
        ),
        (RECORDING,),
        only="side_by_side",
    ),
    OnSQLite(
        "an ordinary answer is no failure",
        (in_engine("(bool(self.error) and not self.expected)", "bool(self.error)"),),
        (RECORDING,),
        only="ordinary_answer",
    ),
    OnSQLite(
        "one row for each flood",
        (in_incidents('fingerprint=bytes(first["fingerprint"]), ', ""),),
        (RECORDING,),
        only="flood_costs",
    ),
    OnSQLite(
        "a refused request of which nobody has decided is seen",
        (in_incidents('rows.filter(~Q(decision=""), same)', 'rows.filter(~Q(decision=""))'),),
        ("tests/resolution/test_refused_fingerprints.py",),
        only="another_payload_than",
    ),
    OnSQLite(
        "a flood writes now and then",
        (edit("floods.py", "silent = written >= self.BURST", "silent = False"),),
        (RECORDING,),
        only="pause_in_a_flood",
    ),
    OnSQLite(
        "two writers count together",
        (
            in_incidents(
                "        # Somebody else was faster.\n        _counted(alias, incident)",
                "        # Somebody else was faster.\n        pass",
            ),
        ),
        (RECORDING,),
        only="two_writers",
    ),
    OnSQLite(
        "an incident is in nobody's way",
        (
            in_incidents(
                "    except Exception as exc:  # noqa: BLE001 - no answer",
                "    except ZeroDivisionError as exc:  # no answer",
            ),
        ),
        (RECORDING,),
        only="TestInTheWay",
    ),
    OnSQLite(
        "no row is quoted in the log",
        (in_incidents("incident.record_id, type(exc).__name__", "incident.record_id, exc"),),
        (RECORDING,),
        only="does_not_quote",
    ),
    OnSQLite(
        "what happens again is open again",
        (in_incidents('undecided = {"healed_at": None, ', "undecided = {"),),
        (HEALING,),
        only="open_again",
    ),
    OnSQLite(
        "healed when the key has completed",
        (in_incidents("return waiting.filter(Exists(completed))", "return waiting"),),
        (HEALING,),
        only="unfinished_key",
    ),
    OnSQLite(
        "only failures heal by themselves",
        (in_incidents("filter(kind__in=HEALING, healed_at=None)", "filter(healed_at=None)"),),
        (HEALING,),
        only="for_a_person",
    ),
    OnSQLite(
        "exact WHERE of heal",
        (
            in_incidents(
                "done = _healable(alias).filter(pk__in=chosen)",
                "done = IdempotencyIncident._base_manager.using(alias).filter(pk__in=chosen)",
            ),
        ),
        (HEALING,),
        only="between_choosing",
    ),
    OnSQLite(
        "exact WHERE of the purge of incidents",
        (
            in_incidents(
                "forgotten(alias).filter(pk__in=chosen)._raw_delete(alias)",
                "IdempotencyIncident.objects.filter(pk__in=chosen)._raw_delete(alias)",
            ),
        ),
        (HIDING,),
        only="again_meanwhile",
    ),
    OnSQLite(
        "incidents without a record are purged",
        (in_incidents("| (~Q(kind=Kind.UNKNOWN) & ~Exists(records))", ""),),
        (HIDING,),
        only="old_incidents",
    ),
]
