"""What a review of durable operations has found to be missing, taken out again."""

from tests.mutants.mutations import OnSQLite, edit
from tests.mutants.operations import in_runs, in_services, in_steps, in_store

PROMISES = "tests/operations/test_promises.py"

MUTANTS = [
    OnSQLite(
        "a retry runs what the record names",
        (in_runs("        self.function = found.function if found else missing\n", ""),),
        (PROMISES,),
        only="that_was_begun",
    ),
    OnSQLite(
        "no module keeps upkeep from the others",
        (
            edit(
                "operations/definitions.py",
                "        except Exception as exc:  #",
                "        except ImportError as exc:  #",
            ),
        ),
        (PROMISES,),
        only="cannot_be_imported",
    ),
    OnSQLite(
        "one operation for a request",
        (in_services("        if first != name:", "        if False:"),),
        (PROMISES,),
        only="second_one",
    ),
    OnSQLite(
        "messages commit with the answer",
        (in_store("self.leases.complete_here(claim, snapshot)", "self.leases.complete(claim, snapshot)"),),
        (PROMISES,),
        only="after_the_last_phase",
    ),
    OnSQLite(
        "message ids belong to a claim",
        (in_steps('f"{self._claim.number} message', 'f"message'),),
        (PROMISES,),
        only="used_again",
    ),
    OnSQLite(
        "no message inside a phase",
        (
            in_steps(
                '        self._refuse_busy()\n        refuse_secrets("A message"', '        refuse_secrets("A message"'
            ),
        ),
        (PROMISES,),
        only="none_inside",
    ),
    OnSQLite(
        "no final answer after a charge",
        (in_runs("        if not ordinary or not op.begun:\n", "        if True:\n"),),
        (PROMISES,),
        only="after_a_charge",
    ),
    OnSQLite(
        "no wrong answer in a message",
        (in_runs("not {type(answer).__name__}.", "not {answer!r:.100}."),),
        (PROMISES,),
        only="not_quoted",
    ),
    OnSQLite(
        "a phase's own database only",
        (in_store("with no_writes(ELSEWHERE, but=self.alias):", "if True:"),),
        (PROMISES,),
        only="own_database",
    ),
    OnSQLite(
        "no upkeep in a transaction",
        (edit("operations/recovery.py", "    refuse_transaction(IN_TRANSACTION)\n", ""),),
        (PROMISES,),
        only="upkeep_is_refused",
    ),
    OnSQLite(
        "no codes in steps",
        (in_steps("        refuse_secrets(name_of(function), given)\n", ""),),
        (PROMISES,),
        only="verification_codes",
    ),
    OnSQLite(
        "no keys in frames",
        (
            in_runs(
                "        given = self._given(progress)\n",
                "        given = self._given(progress)\n        keys = self.policy.encryption_keys\n",
            ),
        ),
        (PROMISES,),
        only="no_frame",
    ),
]
