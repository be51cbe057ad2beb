"""What is taken out of the answers that staff is shown or sends on, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import OnSQLite, edit

ANSWERS = "tests/resolution/test_replay_answers.py"

in_callbacks = partial(edit, "resolution/callbacks.py")

MUTANTS = [
    OnSQLite(
        "an answer without its body is not posted",
        (edit("resolution/answers.py", "    if answer.body is None:\n", "    if False:\n"),),
        (ANSWERS,),
        only="not_posted_as_if",
    ),
    OnSQLite(
        "no answer goes to a host that is not on the list",
        (in_callbacks(" or named not in [allowed.lower() for allowed in hosts]", ""),),
        (ANSWERS,),
        only="hosts_on_the_list",
    ),
    OnSQLite(
        "no answer goes out without TLS",
        (in_callbacks('parts.scheme != "https" or ', ""),),
        (ANSWERS,),
        only="hosts_on_the_list",
    ),
    OnSQLite(
        "no answer goes into our own network",
        (in_callbacks("not all(is_public(address) for address in found)", "False"),),
        (ANSWERS,),
        only="our_own_network",
    ),
    OnSQLite(
        "an answer goes to the address that was looked at",
        (in_callbacks("create_connection((self.address, self.port)", "create_connection((self.host, self.port)"),),
        (ANSWERS,),
        only="looked_at",
    ),
    OnSQLite(
        "an answer that has expired is not shown",
        (edit("resolution/answers.py", ", expires_at__gt=ago(records, timedelta(0)))", ")"),),
        (ANSWERS,),
        only="expired",
    ),
    OnSQLite(
        "that an answer was shown is audited",
        (
            edit(
                "resolution/answers.py",
                '        record_event(actor, "show-answer", using=alias, record_id=row["id"], reason=reason)\n',
                "        pass\n",
            ),
        ),
        (ANSWERS,),
        only="in_the_audit",
    ),
]
