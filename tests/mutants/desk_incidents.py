"""What is taken out of the inbox and the page of an incident, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import OnSQLite, edit

INBOX = "tests/desk/test_incidents.py"
PAGE = "tests/desk/test_mismatch.py"
DIFFERENCES = "tests/desk/test_mismatch_differences.py"

in_inbox = partial(edit, "inbox.py")
in_differences = partial(edit, "differences.py")
in_payloads = partial(edit, "payloads.py")
in_admin = partial(edit, "admin/incidents.py")
in_desk = partial(edit, "admin/desk.py")
in_pages = partial(edit, "admin/incident_pages.py")
in_acts = partial(edit, "admin/acts.py")
BRIEFINGS = ("tests/desk/test_briefings.py",)

MUTANTS = [
    OnSQLite(
        "nobody is told that nothing was booked once its key was answered",
        (edit("briefings.py", "    if record is not None:\n", "    if False:\n"),),
        BRIEFINGS,
        only="TestFailures",
    ),
    OnSQLite(
        "nor once its key may be forgotten",
        (edit("briefings.py", "    if _may_be_forgotten(incident):\n", "    if False:\n"),),
        BRIEFINGS,
        only="forgotten",
    ),
    OnSQLite(
        "nor of what was refused and let in since",
        (
            edit(
                "briefings.py",
                "if record and bytes(record.fingerprint).hex() == incident.request_fingerprint:",
                "if False:",
            ),
        ),
        BRIEFINGS,
        only="let_in",
    ),
    OnSQLite(
        "no more of a kind is read than is said",
        (in_inbox("[: LOOKED_AT + 1]", ""),),
        (INBOX,),
        only="queries_do_not_grow",
    ),
    OnSQLite(
        "the largest amount is first",
        (in_inbox('currency, -amount, row["first_seen"]', 'currency, 0, row["first_seen"]'),),
        (INBOX,),
    ),
    OnSQLite(
        "of equal amounts the oldest is first",
        (in_inbox('-amount, row["first_seen"], row["id"]', '-amount, row["id"]'),),
        (INBOX,),
    ),
    OnSQLite(
        "amounts of different currencies are not compared",
        (in_inbox("(0, -often[currency], currency, -amount,", "(0, -amount,"),),
        (INBOX,),
    ),
    OnSQLite(
        "what has no amount is last",
        (in_inbox('return (1, 0, ""', 'return (-1, 0, ""'),),
        (INBOX,),
    ),
    OnSQLite(
        "only mine, where only mine were asked for",
        (in_inbox('wanted.assignee_id or row["assignee_id"]', 'row["assignee_id"]'),),
        (INBOX,),
    ),
    OnSQLite(
        "only nobody's, where those were asked for",
        (in_inbox('"" if wanted.nobodys else row["assignee"]', 'row["assignee"]'),),
        (INBOX,),
    ),
    OnSQLite(
        "only one namespace, where that was asked for",
        (in_inbox('wanted.namespace or row["namespace"]', 'row["namespace"]'),),
        (INBOX,),
    ),
    OnSQLite(
        "incidents are for those who may see them",
        (in_desk("if not self.has_view_permission(request):", "if False:"),),
        (INBOX,),
    ),
    OnSQLite(
        "assigning is for those who may act",
        (in_admin("self._found(request, object_id, *ACTING)", "self.found(request, object_id)"),),
        (INBOX,),
    ),
    OnSQLite(
        "opening again is for those who may resolve",
        (in_admin('self._found(request, object_id, "resolve")', "self.found(request, object_id)"),),
        (INBOX,),
    ),
    OnSQLite(
        "payloads of incidents are for those who may see them",
        (in_admin('self._found(request, object_id, "view_payload")', "self.found(request, object_id)"),),
        (PAGE,),
    ),
    OnSQLite(
        "what changes an incident is posted",
        (in_desk("wrap(require_POST(view))", "wrap(view)"),),
        (INBOX,),
    ),
    OnSQLite(
        "an incident is not changed by a post to its page",
        (in_desk('if request.method not in ("GET", "HEAD"):', "if False:"),),
        (INBOX,),
    ),
    OnSQLite(
        "an incident is taken as it was seen",
        (in_admin('said.get("seen", "")', "incident.assignee"),),
        (INBOX,),
        only="Assigning",
    ),
    OnSQLite(
        "nobody is sent elsewhere from the inbox",
        (in_admin("if url_has_allowed_host_and_scheme(target, allowed_hosts=None):", "if target:"),),
        (INBOX,),
    ),
    OnSQLite(
        "a decision is about what the page has shown",
        (in_pages("?seen={incident.counter}", ""),),
        (PAGE,),
    ),
    OnSQLite(
        "the page of an act goes by what the page before has shown",
        (in_acts("            return int(shown)\n", "            pass\n"),),
        (PAGE,),
    ),
    OnSQLite(
        "payloads of a mismatch are masked",
        (in_pages("return masked(stored, key_id, kind)", "return unmasked(bytes(stored))"),),
        (PAGE,),
    ),
    OnSQLite(
        "differences of a mismatch are masked",
        (in_payloads("return data if clear or data is None else masking.data(data)", "return data"),),
        (PAGE,),
    ),
    OnSQLite(
        "fields of forms are masked where they are compared",
        (in_payloads("_fields(text if clear else masking.query(text))", "_fields(text)"),),
        (DIFFERENCES,),
    ),
    OnSQLite(
        "true is not one",
        (in_differences("type(one) is not type(two) or one != two", "one != two"),),
        (DIFFERENCES,),
    ),
    OnSQLite(
        "what is masked in both is not said to be the same",
        (in_differences("Change.HIDDEN if isinstance(one, str)", "Change.HIDDEN if False"),),
        (DIFFERENCES,),
    ),
    OnSQLite(
        "a flood of differences is cut",
        (in_differences(" or len(fields) == ROWS", ""),),
        (DIFFERENCES,),
        only="megabyte",
    ),
    OnSQLite(
        "what is looked at for differences is bounded",
        (in_differences("looked == LOOKED_AT or ", ""),),
        (DIFFERENCES,),
        only="looked_at",
    ),
    OnSQLite(
        "values and pointers are cut",
        (in_differences("text if len(text) <= LONGEST else text[:LONGEST] + CUT", "text"),),
        (DIFFERENCES,),
    ),
    OnSQLite(
        "no difference turns the direction of reading",
        (in_differences("return visible(text if", "return (text if"),),
        (DIFFERENCES,),
    ),
    OnSQLite(
        "names with slashes are pointers, too",
        (in_differences('.replace("~", "~0").replace("/", "~1")', ""),),
        (DIFFERENCES,),
    ),
]
