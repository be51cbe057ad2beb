"""What is taken out of the list of requests, the page of one and exports, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import OnSQLite, edit

LISTINGS = "tests/desk/test_listings.py"
REQUESTS = "tests/desk/test_requests.py"
PAGE = "tests/desk/test_request_page.py"
EXPORT = "tests/desk/test_export.py"

in_listings = partial(edit, "listings.py")
in_lanes = partial(edit, "lanes.py")
in_payloads = partial(edit, "payloads.py")
in_exports = partial(edit, "exports.py")
in_desk = partial(edit, "admin/desk.py")
in_admin = partial(edit, "admin/requests.py")
in_pages = partial(edit, "admin/request_pages.py")

MUTANTS = [
    OnSQLite(
        "nothing beyond what all lanes have reached",
        (in_listings("            if end is None or (at <= end if self.newer else at >= end)", "            if True"),),
        (LISTINGS,),
    ),
    OnSQLite(
        "each record is in one lane",
        (in_lanes('mine &= Q(moment__lte=F("due_at") - self.shortest)', "pass"),),
        (LISTINGS,),
    ),
    OnSQLite(
        "records of one time are told apart by lane",
        (in_lanes("also = (self.rank > position.lane) is not newer", "also = False"),),
        (LISTINGS,),
        only="missed",
    ),
    OnSQLite(
        "records of one time are told apart by id",
        (in_lanes(' | Q(**{f"id__{way}": position.id})', ""),),
        (LISTINGS,),
        only="missed",
    ),
    OnSQLite(
        "spans that no profile names any more",
        (in_lanes("for span, _ in seen.most_common(MOST_SPANS) if span not in said", "for span in ()"),),
        (LISTINGS,),
        only="merged",
    ),
    OnSQLite(
        "a window is of the answer's time",
        (
            in_lanes("narrow = Q(moment__gte=now - self.window) if self.window else Q()", "narrow = Q()"),
            in_listings("records = records.filter(due_at__gte=self.now - self.wanted.window + lane.span)", "pass"),
        ),
        (LISTINGS,),
        only="window",
    ),
    OnSQLite(
        "the planner does not guess",
        (in_listings(".filter(fits)", ".filter(condition)"),),
        (REQUESTS,),
        only="no_condition_of_its_own",
    ),
    OnSQLite(
        "a key is found exactly",
        (in_listings("records.filter(key=text)", "records.filter(key__istartswith=text)"),),
        (LISTINGS,),
        only="exact",
    ),
    OnSQLite(
        "bodies are masked on the page",
        (
            in_payloads(
                "        clean = masking.data(data)\n        return shortened(",
                "        clean = data\n        return shortened(",
            ),
        ),
        (PAGE,),
        only="TestMasking",
    ),
    OnSQLite(
        "forms and texts are masked on the page",
        (
            in_payloads("        return masking.query(text)\n", "        return text\n"),
            in_payloads("    return masking.text(text)\n", "    return text\n"),
        ),
        (PAGE,),
        only="TestMasking",
    ),
    OnSQLite(
        "what a profile masks is masked on the page",
        (in_payloads("for name in profiles() for pointer in get_policy(name).mask", "for pointer in ()"),),
        (PAGE,),
        only="TestMasking",
    ),
    OnSQLite(
        "the direction of reading",
        (in_payloads("sign if sign.isprintable() or sign in", "sign if sign or sign in"),),
        (PAGE, EXPORT),
        only="Hostile or formula",
    ),
    OnSQLite(
        "the command has no secrets",
        (in_payloads("return dumped(clean) if masking.changed else text", "return text"),),
        (PAGE,),
        only="TestCurl",
    ),
    OnSQLite(
        "quotes inside of a word of the shell",
        (edit("curl.py", 'if sign.isprintable() and sign not in "\'\\\\":', "if sign.isprintable():"),),
        (PAGE,),
        only="TestCurl",
    ),
    OnSQLite(
        "the permission to unmask",
        (in_admin('if not request.user.has_perm(f"{APP}.view_payload"):', "if False:"),),
        (PAGE,),
        only="TestUnmasking",
    ),
    OnSQLite(
        "the permission to look, with that to unmask",
        (in_desk("if not self.has_view_permission(request):", "if False:"),),
        (PAGE,),
        only="TestUnmasking",
    ),
    OnSQLite(
        "the permission for incidents",
        (in_pages('if user.has_perm("django_idempotency.view_idempotencyincident") else []', ""),),
        (PAGE,),
        only="permission_for_incidents",
    ),
    OnSQLite(
        "the permission to export",
        (
            in_admin(
                'if not (self.has_view_permission(request) and request.user.has_perm(f"{APP}.export")):',
                "if not self.has_view_permission(request):",
            ),
        ),
        (EXPORT,),
        only="TestPermission",
    ),
    OnSQLite(
        "the permission to look, with that to export",
        (
            in_admin(
                'if not (self.has_view_permission(request) and request.user.has_perm(f"{APP}.export")):',
                'if not request.user.has_perm(f"{APP}.export"):',
            ),
        ),
        (EXPORT,),
        only="TestPermission",
    ),
    OnSQLite(
        "an export is recorded",
        (
            in_admin(
                'audit.record_event(audit.actor_of(request), "export", using=records.db, after=asked)', "asked.clear()"
            ),
        ),
        (EXPORT,),
        only="TestPermission",
    ),
    OnSQLite(
        "formulas are defused",
        (in_exports('return f"\'{text}" if text.startswith(FORMULAS) else text', "return text"),),
        (EXPORT,),
        only="TestContents",
    ),
    OnSQLite(
        "an export has an end",
        (
            in_exports("        if number == MOST:\n            yield", "        if False:\n            yield"),
            in_exports("        if number == MOST:\n            more", "        if False:\n            more"),
        ),
        (EXPORT,),
        only="TestBounds",
    ),
    OnSQLite(
        "payloads are read one by one",
        (
            in_exports(
                "records.filter(pk=record.pk).values(*BODIES).first()",
                '{one["pk"]: one for one in records.values("pk", *BODIES)}[record.pk]',
            ),
        ),
        (EXPORT,),
        only="memory",
    ),
]
