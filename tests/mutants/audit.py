"""What is taken out of the audit and its verification, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

AUDIT = "tests/test_audit.py"
HEADS = "tests/test_audit_heads.py"
VERSIONS = "tests/test_audit_versions.py"

in_audit = partial(edit, "audit.py")
in_verification = partial(edit, "verification.py")
in_heads = partial(edit, "heads.py")
in_command = partial(edit, "management/commands/idempotency_audit.py")
in_model = partial(edit, "models/events.py")

NOTHING_BESIDE = in_verification("return all(getattr(event", "return True or all(getattr(event")

MUTANTS = [
    OnSQLite(
        "an event is verified by the rule that it was written by",
        (in_verification("digests(event, version)", "digests(event, max(RULES))"),),
        (VERSIONS,),
        only="each_rule or for_a_while",
    ),
    OnSQLite(
        "a version has a key of its own",
        (in_audit('keyed(f"audit.{version}", said)', 'keyed("audit", said)'),),
        (VERSIONS,),
        only="another_key",
    ),
    OnSQLite(
        "the version is bound by the next event",
        (in_audit('[f"v{version}-{digest}" for', "[digest for"), in_audit("int(found[1]) if found else None", "1")),
        (VERSIONS,),
        only="cuts_the_link",
    ),
    OnSQLite("a column that came later has its default", (NOTHING_BESIDE,), (VERSIONS,), only="filled_in_later"),
    OnSQLite(
        "a newer version is not taken for tampering",
        (in_verification("if version is not None and version not in RULES:", "if False:"),),
        (VERSIONS,),
        only="cannot_tell",
    ),
    OnSQLite(
        "what is no version is tampering",
        (in_audit("v([1-9][0-9]{0,3})-", "v?([0-9]*)-?"), in_audit("int(found[1])", "int(found[1] or 7)")),
        (VERSIONS,),
        only="no_version",
    ),
    OnSQLite(
        "newer events hide nothing behind them",
        (in_command("        elif not newer:\n", "        elif newer:\n            return\n        else:\n"),),
        (VERSIONS,),
        only="hide_nothing",
    ),
    OnSQLite(
        "tampering is told from a newer release",
        (in_command("returncode=TAMPERED if found else UNVERIFIED", "returncode=TAMPERED"),),
        (VERSIONS,),
        only="tells_a_newer",
    ),
    OnSQLite(
        "an event is bound to the one before",
        (in_audit('"previous": head["digest"]', '"previous": ""'),),
        (AUDIT,),
        only="bound_to or TestTampering",
    ),
    OnSQLite(
        "a digest needs the secret",
        (in_audit("salted_hmac(salt, text, secret=secret,", 'salted_hmac(salt, text, secret="",'),),
        (AUDIT,),
        only="forged_digest or TestSecrets",
    ),
    OnSQLite(
        "a digest is of all that an event says",
        (in_audit('*("reason", "evidence", ', '*("reason", '), NOTHING_BESIDE),
        (AUDIT,),
        only="edited_event",
    ),
    OnSQLite(
        "a digest is of the event's place",
        (
            in_audit('*("sequence", "at", ', '*("at", '),
            in_audit('"after", "previous"),', '"after"),'),
            NOTHING_BESIDE,
        ),
        (AUDIT,),
        only="numbered_anew or inserted or reordered",
    ),
    OnSQLite(
        "earlier secrets are honoured",
        (in_audit("[settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]", "[settings.SECRET_KEY]"),),
        (AUDIT,),
        only="TestSecrets",
    ),
    Mutant(
        "the head is locked",
        (
            in_audit('if not _head(alias).update(sequence=F("sequence") + 1):', "if not _head(alias).exists():"),
            in_audit('        _head(alias).update(sequence=F("sequence") + 1)\n    moment', "        pass\n    moment"),
            in_audit('{"sequence": head["sequence"],', '{"sequence": head["sequence"] + 1,'),
            in_audit("update(digest=event.digest)", 'update(digest=event.digest, sequence=F("sequence") + 1)'),
        ),
        (AUDIT,),
        only="at_once",
    ),
    OnSQLite(
        "an event is not saved again",
        (in_model("        if not self._state.adding:\n            raise TypeError(UNCHANGED)\n", ""),),
        (AUDIT,),
        only="never_changed",
    ),
    OnSQLite(
        "events are not updated",
        (in_model("update = delete = bulk_update", "delete = bulk_update"),),
        (AUDIT,),
        only="never_changed",
    ),
    OnSQLite(
        "events are not deleted",
        (in_model("update = delete = bulk_update", "update = bulk_update"),),
        (AUDIT,),
        only="never_changed",
    ),
    OnSQLite(
        "verify: an edited event",
        (in_verification("if not among(event.digest, digests(event, version)):", "if False:"),),
        (AUDIT,),
        only="TestTampering",
    ),
    OnSQLite(
        "verify: a removed event",
        (in_verification("if event.sequence > expected:", "if False:"),),
        (AUDIT,),
        only="a_removed_event",
    ),
    OnSQLite(
        "verify: a link",
        (in_verification("elif event.previous != last[1]:", "elif False:"),),
        (AUDIT,),
        only="a_link",
    ),
    OnSQLite(
        "verify: an event before the first",
        (
            in_verification(
                "(events.filter(sequence__gt=sequence) if sequence else events)", "events.filter(sequence__gt=sequence)"
            ),
        ),
        (AUDIT,),
        only="inserted",
    ),
    OnSQLite(
        "verify: the end",
        (in_verification("    yield from _of_end(last, head)\n", ""),),
        (AUDIT,),
        only="cut_off or head_that_was_removed",
    ),
    OnSQLite(
        "verify: the end that was exported",
        (
            in_verification("            if sequence not in found:\n", "            if False:\n"),
            in_verification("elif found[sequence] != digest:", "elif found.get(sequence, digest) != digest:"),
        ),
        (AUDIT,),
        only="exported",
    ),
    OnSQLite(
        "verify: another event than was exported",
        (in_verification("elif found[sequence] != digest:", "elif False:"),),
        (AUDIT,),
        only="exported or one_head",
    ),
    OnSQLite(
        "verify: bounded memory",
        (in_verification("if sequence else events)[:BATCH])", "if sequence else events))"),),
        (AUDIT,),
        only="a_few_events",
    ),
    OnSQLite(
        "heads go to the file",
        (in_audit("            append(path, canonical(head))\n", "            pass\n"),),
        (HEADS,),
        only="TestExport",
    ),
    OnSQLite(
        "each head stays in the file",
        (in_heads('FileIO(path, "a+",', 'FileIO(path, "w+",'),),
        (HEADS,),
        only="TestExport",
    ),
    OnSQLite(
        "a head begins a line of its own",
        (in_heads("if _is_cut_off(file):", "if False:"),),
        (HEADS,),
        only="TestCutOff",
    ),
    OnSQLite(
        "a head is written to its end",
        (in_heads("        while rest:\n            rest = rest[file.write(rest) :]", "        file.write(rest)"),),
        (HEADS,),
        only="not_mixed",
    ),
    OnSQLite(
        "heads that are written at once are not mixed",
        (in_heads("        _wait_for_others(file)\n", ""),),
        (HEADS,),
        only="not_mixed",
    ),
    OnSQLite(
        "the beginning of a head is no tampering",
        (in_heads("if not _is_beginning(line):", "if True:"),),
        (HEADS,),
        only="TestCutOff or TestCommand",
    ),
    OnSQLite(
        "what is no head is not passed over",
        (in_heads("if not _is_beginning(line):", "if False:"),),
        (HEADS,),
        only="TestCutOff or TestCommand",
    ),
    OnSQLite(
        "a line that was cut off is told",
        (in_heads("                cut_off(number)\n", ""),),
        (HEADS,),
        only="is_told",
    ),
    OnSQLite(
        "nothing is verified by a file that tells nothing",
        (in_command("if head and compared and not compared.number:", "if False:"),),
        (HEADS,),
        only="tells_nothing",
    ),
    OnSQLite(
        "heads go to the log",
        (in_audit("    logger.info(", "    logger.debug("),),
        (HEADS,),
        only="TestExport",
    ),
    OnSQLite(
        "heads are told",
        (in_audit("    audited.send_robust(IdempotencyEvent, event=event, **head)\n", ""),),
        (HEADS,),
        only="TestExport",
    ),
    OnSQLite(
        "heads are exported after the commit",
        (
            in_audit(
                "transaction.on_commit(partial(_export, alias, event), using=alias, robust=True)",
                "partial(_export, alias, event)()",
            ),
        ),
        (HEADS,),
        only="TestExport",
    ),
    OnSQLite(
        "a file that fails stops nobody",
        (in_audit("        except OSError:\n", "        except KeyError:\n"),),
        (HEADS,),
        only="cannot_be_written",
    ),
]
