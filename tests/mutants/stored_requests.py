"""What is taken out of masking, stored requests and their encryption, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

HIDING = "tests/incidents/test_hiding_places.py"
MASKING = "tests/incidents/test_masking.py"
STORED_REQUESTS = "tests/incidents/test_stored_requests.py"
SUSPICIONS = "tests/incidents/test_suspicions.py"
ENCRYPTION = "tests/incidents/test_encryption.py"
ERASING = "tests/incidents/test_erasing.py"

in_masking = partial(edit, "masking.py")
in_stored = partial(edit, "stored_requests.py")
in_suspicions = partial(edit, "suspicions.py")
in_rotation = partial(edit, "rotation.py")
in_erasure = partial(edit, "erasure.py")
in_http = partial(edit, "http.py")
in_encryption = partial(edit, "encryption.py")

MUTANTS = [
    OnSQLite(
        "secrets are masked",
        (in_masking("    if words & MASKED_WORDS or any(part in joined for part in MASKED_NAMES):", "    if False:"),),
        (MASKING,),
    ),
    OnSQLite(
        "card numbers are masked",
        (in_masking("                clean = card_numbers_masked(clean)", "                pass"),),
        (MASKING,),
    ),
    OnSQLite(
        "Authorization is not stored",
        (
            in_stored(
                '    ("Content-Type", "CONTENT_TYPE"),',
                '    ("Content-Type", "CONTENT_TYPE"),\n    ("Authorization", "HTTP_AUTHORIZATION"),',
            ),
        ),
        (STORED_REQUESTS,),
    ),
    OnSQLite(
        "answers are encrypted",
        (in_http("headers, *sealed(body, self.policy.encryption_keys))", 'headers, body, "")'),),
        (ENCRYPTION,),
    ),
    OnSQLite(
        "verification codes and PINs are dropped",
        (
            in_masking(
                "    if words & DROPPED_WORDS or any(part in joined for part in DROPPED_NAMES):", "    if False:"
            ),
        ),
        (MASKING,),
        only="dropped",
    ),
    OnSQLite(
        "they are dropped under encryption, too",
        (
            in_masking(
                'return "" if self.encrypted and fate == MASKED else fate', 'return "" if self.encrypted else fate'
            ),
        ),
        (ENCRYPTION,),
        only="verification_code",
    ),
    OnSQLite(
        "track data is dropped under encryption, too",
        (in_masking("            clean = TRACK.sub(DROPPED, clean)\n", ""),),
        (MASKING,),
        only="encryption_keeps",
    ),
    OnSQLite(
        "the first of two equal names is not shown",
        (in_masking("        self.changed |= len(members) != len(pairs)\n", ""),),
        (MASKING,),
        only="two_members",
    ),
    OnSQLite(
        "texts in JSON are looked into",
        (in_masking("        self._texts = json_may_hide(text)", "        self._texts = False"),),
        (MASKING,),
        only="TestJSON",
    ),
    OnSQLite(
        "MASK",
        (in_masking('            self._point(holder, ["0", *path])', "            pass"),),
        (MASKING,),
        only="pointer_masks",
    ),
    OnSQLite(
        "no body that cannot be read",
        (in_stored('and "HTTP_CONTENT_ENCODING" not in self.http.META', ""),),
        (STORED_REQUESTS,),
        only="compressed",
    ),
    OnSQLite(
        "a masked request is not whole",
        (in_stored("and not self.masking.changed", ""),),
        (STORED_REQUESTS,),
        only="not_whole",
    ),
    OnSQLite(
        "nothing is read for the staff",
        (in_stored('http.__dict__.get("_body")', "http.body"),),
        (STORED_REQUESTS,),
        only="nothing_is_read",
    ),
    OnSQLite(
        "no request is refused for the staff",
        (
            in_stored(
                "    except Exception as exc:  # noqa: BLE001 - whose text",
                "    except ZeroDivisionError as exc:  # whose text",
            ),
        ),
        (STORED_REQUESTS,),
        only="nested_too_deeply",
    ),
    OnSQLite(
        "the stored path is masked",
        (in_http("stored = stored_path(path)", "stored = path"),),
        (STORED_REQUESTS,),
        only="path_is_stored",
    ),
    OnSQLite(
        "requests are encrypted",
        (
            in_encryption(
                '    if value is None or not keys:\n        return value, ""', '    if True:\n        return value, ""'
            ),
        ),
        (ENCRYPTION,),
        only="TestRequests",
    ),
    OnSQLite(
        "replays are decrypted",
        (in_encryption("        return opened(value, under, keys)\n    except", "        return value\n    except"),),
        (ENCRYPTION,),
        only="honest_error",
    ),
    OnSQLite(
        "no replay without its key",
        (
            edit(
                "services.py",
                "        except StoreUnavailable as error:\n            return self._refuse(error, operation)",
                "        except ZeroDivisionError:\n            raise",
            ),
        ),
        (ENCRYPTION,),
        only="honest_error",
    ),
    OnSQLite(
        "no key in a configuration error",
        (
            edit(
                "conf.py",
                'shown = type(value).__name__ if name == "ENCRYPTION_KEYS" else repr(value)',
                "shown = repr(value)",
            ),
        ),
        (ENCRYPTION,),
        only="does_not_show",
    ),
    OnSQLite(
        "exact WHERE of rekey",
        (in_rotation("same = rows.filter(pk=pk, **{column: value, place: under})", "same = rows.filter(pk=pk)"),),
        (ENCRYPTION,),
        only="changed_since",
    ),
    OnSQLite(
        "rekey leaves claims alone",
        (in_rotation("            rows = rows.exclude(state=State.PROCESSING.value)\n", "            pass\n"),),
        (ENCRYPTION,),
        only="flight",
    ),
    OnSQLite(
        "erase leaves claims alone",
        (in_erasure("unfinished = Q(state=State.PROCESSING.value) | ", "unfinished = "),),
        (ERASING,),
        only="in_flight",
    ),
    OnSQLite(
        "answers are erased",
        (in_erasure('"body": None, "body_key_id": ""', '"body_key_id": ""'),),
        (ERASING,),
        only="bodies_go",
    ),
    Mutant(
        "erase leaves other scopes alone",
        (in_erasure("for pk, found in chosen if found == scope]", "for pk, found in chosen]"),),
        (ERASING,),
        only="others_are_left",
        database="mariadb",
    ),
    Mutant(
        "erase skips what is held",
        (in_erasure(".select_for_update(skip_locked=True)", ".select_for_update(nowait=True)"),),
        (ERASING,),
        only="somebody_holds",
    ),
    OnSQLite(
        "purge takes the request",
        (
            edit(
                "maintenance/purging.py",
                '"request_body", "request_whole", ',
                "",
            ),
        ),
        (STORED_REQUESTS,),
        only="purge_takes",
    ),
    OnSQLite(
        "no body in a charset that hides it",
        (in_stored("elif not codecs.lookup(charset).name.startswith(CHARSETS):", "elif False:"),),
        (HIDING,),
        only="charset or other_bodies",
    ),
    OnSQLite(
        "no beginning of a card number",
        (in_stored('.rstrip("0123456789 -")', ""),),
        (HIDING,),
        only="header_that_is_cut",
    ),
    OnSQLite(
        "no secret for an amount",
        (in_stored("    if Masking().text(text) != text:", "    if False:"),),
        (HIDING,),
        only="currency_point",
    ),
    OnSQLite(
        "no bytes of a body in parts",
        (in_stored('media_type(http).startswith("multipart/")', "media_type(http) == MULTIPART"),),
        (HIDING,),
        only="other_bodies",
    ),
    OnSQLite("no key for error trackers", (in_encryption("        keys = ()\n", ""),), (HIDING,), only="lost_key"),
    OnSQLite(
        "JSON inside a text is masked",
        (in_masking("        return self._inner(text, clean)", "        return clean"),),
        (HIDING,),
        only="in_json",
    ),
    OnSQLite("a name beside its value", (in_masking("        self._label(node)\n", ""),), (HIDING,), only="in_json"),
    OnSQLite(
        "rekey finds those of tasks",
        (in_rotation(' | Q(namespace__startswith=OF_TASKS, **{f"{place}__in": known})', ""),),
        (ENCRYPTION,),
        only="those_of_tasks",
    ),
    OnSQLite(
        "a masked path is not whole",
        (in_stored(" and same_path", ""),),
        (STORED_REQUESTS,),
        only="path_is_stored",
    ),
    OnSQLite(
        "an i without its dot is an i",
        (in_suspicions("not text.isascii() or ", ""),),
        (SUSPICIONS,),
        only="wherever_there_is_one",
    ),
    OnSQLite(
        "digits of any script are seen",
        (edit("card_numbers.py", "(LONG_ASCII if text.isascii() else LONG)", "LONG_ASCII"),),
        (SUSPICIONS,),
        only="wherever_there_is_one",
    ),
    OnSQLite(
        "every word for a code is seen",
        (in_suspicions('re.compile("cvv|cvc|csc|', 're.compile("cvv|cvc|'),),
        (SUSPICIONS,),
        only="each_word",
    ),
    OnSQLite(
        "a colon in a text is seen",
        (in_suspicions('text.count(":") > text.count(\'":\')', "text.count(':') > text.count('\"')"),),
        (SUSPICIONS,),
        only="colon_inside",
    ),
    OnSQLite(
        "names in texts are suspicious",
        (in_suspicions('return ":" in text or _has_sign(text)', "return _has_sign(text)"),),
        (SUSPICIONS,),
    ),
    OnSQLite(
        "a callable of the project's is called outside of our transactions",
        (in_stored("        if callable(policy.amount) or callable(policy.currency):\n", "        if False:\n"),),
        (STORED_REQUESTS,),
        only="no_transaction_of_ours",
    ),
    OnSQLite(
        "the parts of a request are made once",
        (in_stored("reader, self._reader = self._reader, None", "reader = self._reader"),),
        (STORED_REQUESTS,),
        only="not_before_a_store_asks",
    ),
]
