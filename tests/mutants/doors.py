"""What is taken out of webhooks, forms and the OpenAPI schema, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import OnSQLite, edit

IDS = "tests/webhooks/test_keys.py"
IDS_CHECK = "tests/webhooks/test_check.py"
IDS_DRF = "tests/webhooks/test_drf.py"
FIELD = "tests/forms/test_field.py"
FORMS_DRF = "tests/forms/test_drf.py"
FORMS_COROUTINES = "tests/forms/test_coroutines.py"
SCHEMA = "tests/openapi/test_schema.py"
SCHEMA_LIVE = "tests/openapi/test_live.py"
HOLES = "tests/test_holes.py"

in_doors = partial(edit, "doors.py")
in_bodies = partial(edit, "bodies.py")
in_http = partial(edit, "http.py")
in_drf = partial(edit, "drf.py")
in_openapi = partial(edit, "openapi.py")
in_keys = partial(edit, "core/keys.py")

MUTANTS = [
    OnSQLite(
        "a webhook is matched by its id alone",
        (in_http("        if self.policy.key:\n            # Matched", "        if False:\n            # Matched"),),
        (IDS,),
        only="TestMatching",
    ),
    OnSQLite(
        "whatever the secret",
        (
            in_http(
                'fingerprints.fingerprint("", (b"key alone",))',
                'fingerprints.fingerprint(settings.SECRET_KEY, (b"key alone",))',
            ),
        ),
        (IDS,),
        only="TestMatching",
    ),
    OnSQLite(
        "the endpoint in a webhook's scope",
        (in_http("            scope = doors.endpoint_scope(scope, self.http)\n", "            pass\n"),),
        (IDS,),
        only="two_endpoints",
    ),
    OnSQLite(
        "the endpoint in a webhook's scope, in DRF", (in_drf("or self.policy.key is not None", "or False"),), (IDS_DRF,)
    ),
    OnSQLite(
        "a late duplicate of a webhook gets 200",
        (
            edit(
                "services.py",
                "case Refused(KeyExpired()) if self.exchange.policy.key:",
                "case Refused(KeyExpired()) if False:",
            ),
        ),
        (IDS,),
        only="TestLate",
    ),
    OnSQLite(
        "a late duplicate under a header is refused",
        (
            edit(
                "services.py",
                "case Refused(KeyExpired()) if self.exchange.policy.key:",
                "case Refused(KeyExpired()):",
            ),
        ),
        (HOLES,),
        only="hole_8",
    ),
    OnSQLite(
        "an id that cannot be read is invalid",
        (in_doors("(LookupError, ValueError, TypeError, AttributeError)", "(LookupError,)"),),
        (IDS,),
        only="TestTaking",
    ),
    OnSQLite(
        "a webhook's id is a text",
        (
            in_doors(
                "    if not isinstance(key, str):\n        logger",
                "    key = str(key)\n    if not isinstance(key, str):\n        logger",
            ),
        ),
        (IDS,),
        only="TestTaking",
    ),
    OnSQLite(
        "a webhook's id is printable",
        (in_keys("    if not _PRINTABLE.fullmatch(key):", "    if False:"),),
        (IDS,),
        only="TestTaking",
    ),
    OnSQLite(
        "no body in the log", (in_doors("_name(take), type(exc).__name__)", "_name(take), exc)"),), (IDS,), only="log"
    ),
    OnSQLite(
        "a webhook's header is not asked",
        (
            in_http(
                "        if self.policy.key:\n            bodies",
                '        if self.policy.key and "Idempotency-Key" not in self.http.headers:\n            bodies',
            ),
        ),
        (IDS,),
    ),
    OnSQLite(
        "ids of a sender need no scope", (edit("checks.py", " and policy.key is None and", " and"),), (IDS_CHECK,)
    ),
    OnSQLite(
        "a form has a key of its own",
        (
            edit(
                "templatetags/idempotency.py",
                "KEY_FIELD, uuid4())",
                'KEY_FIELD, "8e03978e-40d5-43e8-bc93-6894a57f9324")',
            ),
        ),
        (FIELD,),
    ),
    OnSQLite(
        "a form's key is read",
        (in_http("            return doors.from_form(self.form_values(), self.policy)", "            return None"),),
        (FIELD,),
    ),
    OnSQLite(
        "a form's fingerprint without its key",
        (in_bodies("if name != KEY_FIELD or values != [key]]", "]"),),
        (FIELD,),
        only="TestKey",
    ),
    OnSQLite("the same, urlencoded", (in_bodies("if found != pair)", ")"),), (FIELD,), only="TestKey"),
    OnSQLite(
        "no more than the key is left out",
        (in_bodies("if name != KEY_FIELD or values != [key]]", "if name != KEY_FIELD]"),),
        (FIELD,),
        only="TestKey",
    ),
    OnSQLite("two keys in a form are refused", (in_doors("len(values) > 1 or not", "not"),), (FIELD,), only="TestKey"),
    OnSQLite(
        "an empty key in a form is refused",
        (
            in_doors(
                "    if not values:\n        return None", "    if not values or not values[0]:\n        return None"
            ),
        ),
        (FIELD,),
        only="TestKey",
    ),
    OnSQLite(
        "a form's fingerprint without its key, in DRF",
        (
            in_drf(
                "            return bodies.form_part(bodies.without_key(_lists(self.request.data), key))",
                "            return bodies.form_part(_lists(self.request.data))",
            ),
        ),
        (FORMS_DRF,),
    ),
    OnSQLite(
        "the same, urlencoded, in DRF", (in_drf("bodies.without_pair(self.http, body, key))", "body)"),), (FORMS_DRF,)
    ),
    OnSQLite(
        "the same, parsed by DRF",
        (
            in_drf(
                "            return bodies.form_part(bodies.without_key(_lists(data), key))",
                "            return bodies.form_part(_lists(data))",
            ),
        ),
        (FORMS_DRF,),
    ),
    OnSQLite(
        "a FINGERPRINT callable may stream a form",
        (in_bodies(" or (media == FORMS[1] and callable(policy.fingerprint))", ""),),
        (FIELD,),
    ),
    OnSQLite(
        "a second click waits",
        (in_http("            return limit  # A form", "            return 0  # A form"),),
        (FORMS_COROUTINES,),
        only="second_click",
    ),
    OnSQLite(
        "the schema: safe methods are left alone",
        (in_openapi("    if method in SAFE_METHODS:\n        return None\n", ""),),
        (SCHEMA,),
    ),
    OnSQLite(
        "the schema: views inside api_view",
        (
            edit(
                "checks.py", "    for function in (handler, *_closed_over(handler)):", "    for function in (handler,):"
            ),
        ),
        (SCHEMA,),
    ),
    OnSQLite(
        "the schema: a generic view's own method",
        (in_openapi("        name = PASSED_ON[name]", "        return None"),),
        (SCHEMA,),
    ),
    OnSQLite(
        "the schema: no header where there is an id",
        (in_openapi("            if policy.key is None:", "            if True:"),),
        (SCHEMA,),
    ),
    OnSQLite(
        "the schema: the pattern of a bare key",
        (in_keys('rf"[!#-+\\--~]{length}"', 'rf"[!-~]{length}"'),),
        (SCHEMA,),
        only="Validity",
    ),
    OnSQLite(
        "the schema: the pattern of a quoted key",
        (in_keys("rf'([ !#-\\[\\]-~]|\\\\[\"\\\\]){length}'", "rf'[ -~]{length}'"),),
        (SCHEMA,),
        only="Validity",
    ),
    OnSQLite(
        "the schema: every refusal is in it",
        (in_openapi("ANSWERS = (400, 409, 412, 422, 503)", "ANSWERS = (400, 409, 412, 503)"),),
        (SCHEMA_LIVE,),
    ),
    OnSQLite(
        "the schema: the header is in it",
        (in_openapi("        parameters.append(header(policy))", "        pass"),),
        (SCHEMA_LIVE,),
    ),
    OnSQLite(
        "the schema: problems are as it says",
        (in_openapi('"retryable": {"type": "boolean",', '"retryable": {"type": "integer",'),),
        (SCHEMA_LIVE,),
    ),
]
