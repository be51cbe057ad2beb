"""What is taken out of the dashboard and its counts, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

ROLLUPS = "tests/test_rollups.py"
DASHBOARD = "tests/desk/test_dashboard.py"

in_counts = partial(edit, "rollups/counts.py")
in_rows = partial(edit, "rollups/rows.py")
in_series = partial(edit, "rollups/series.py")
in_figures = partial(edit, "figures.py")
in_dashboard = partial(edit, "admin/dashboard.py")
in_charts = partial(edit, "admin/charts.py")

MUTANTS = [
    OnSQLite(
        "nothing is counted while tests run",
        (in_counts('if not hasattr(mail, "outbox"):', "if True:"),),
        (ROLLUPS,),
        only="runs_tests",
    ),
    OnSQLite(
        "a profile says whether it is counted",
        (in_counts("self._default if choice is None else choice", "self._default"),),
        (ROLLUPS,),
        only="profile_can_say",
    ),
    OnSQLite(
        "what is rolled back was not answered",
        (
            edit(
                "services.py",
                "            self.backend.on_commit(functools.partial(self._send, signal, **arguments))",
                "            self._send(signal, **arguments)",
            ),
        ),
        (ROLLUPS,),
        only="rolls_back",
    ),
    OnSQLite(
        "counts are told apart from signals with receivers",
        (
            edit(
                "services.py",
                "        if signal.has_listeners(self.sender):\n",
                "        if signal.has_listeners(self.sender) or counts.wanted(self.exchange.policy):\n",
            ),
        ),
        (ROLLUPS,),
        only="costs_no_statement",
    ),
    OnSQLite(
        "an ordinary exception is no failure",
        (in_counts("400 if ordinary else 500", "500"),),
        (ROLLUPS,),
        only="answered_with_a_5xx",
    ),
    OnSQLite(
        "what cannot be written is kept",
        (in_counts("            self._keep(tally)\n", ""),),
        (ROLLUPS,),
        only="the_next_time",
    ),
    OnSQLite(
        "what cannot be written is not kept for ever",
        (in_counts("                if minute > oldest:\n", "                if True:\n"),),
        (ROLLUPS,),
        only="not_for_ever",
    ),
    OnSQLite(
        "a fork begins with nothing",
        (in_counts("        self._tally: Tally = {}\n", '        self._tally = getattr(self, "_tally", {})\n'),),
        (ROLLUPS,),
        only="forked",
    ),
    OnSQLite(
        "a last write at the end",
        (in_counts("atexit.register(counts.end)\n", ""),),
        (ROLLUPS,),
        only="servers_that_end",
    ),
    OnSQLite(
        "on SQLite a write gives way",
        (in_counts("SQLITE_PATIENCE = 100", "SQLITE_PATIENCE = 5000"),),
        (ROLLUPS,),
        only="is_not_touched",
    ),
    OnSQLite(
        "two writers add to one row",
        (in_rows('    if same.update(counter=F("counter") + number):', "    if same.update(counter=number):"),),
        (ROLLUPS,),
        only="TestRows",
    ),
    Mutant(
        "who was slower adds as well",
        (in_rows('        if not same.update(counter=F("counter") + number):', "        if False:"),),
        (ROLLUPS,),
        only="write_at_once",
    ),
    Mutant(
        "one order for all writers",
        (in_rows("in sorted(tally.items())", "in tally.items()"),),
        (ROLLUPS,),
        only="write_at_once",
    ),
    Mutant(
        "minutes are held while they are compacted",
        (in_rows("chosen.select_for_update().values_list", "chosen.values_list"),),
        (ROLLUPS,),
        only="while_an_hour",
    ),
    OnSQLite(
        "minutes and their hour change together",
        (
            in_rows(
                "            rows.filter(pk__in=[pk for pk, _, _ in found])._raw_delete(rows.db)\n",
                "",
            ),
        ),
        (ROLLUPS,),
        only="survive",
    ),
    OnSQLite(
        "a day is left in minutes",
        (in_rows("MINUTES_KEPT = 25 * HOUR", "MINUTES_KEPT = 24 * HOUR"),),
        (ROLLUPS,),
        only="a_day_is_left",
    ),
    OnSQLite(
        "old hours are deleted",
        (in_rows("done = Counter(deleted=_delete(rows, minute - HOURS_KEPT))", "done = Counter(deleted=0)"),),
        (ROLLUPS,),
        only="no_chart_shows",
    ),
    OnSQLite(
        "a span ends now",
        (in_series("minute // span.width - span.slots + 1", "minute // span.width - span.slots"),),
        (ROLLUPS,),
        only="ends_now",
    ),
    OnSQLite(
        "a percentile within its bounds",
        (in_series("passed + inside >= rank", "inside >= rank"),),
        (ROLLUPS,),
        only="percentile",
    ),
    OnSQLite(
        "no figure reads more than it counts",
        (in_figures('"amount", "currency")[: COUNTED + 1]', '"amount", "currency")'),),
        (DASHBOARD,),
        only="no_more_is_read",
    ),
    OnSQLite(
        "a living lease is not abandoned",
        (in_figures(" & (Q(lease_until=None) | Q(lease_until__lte=before))", ""),),
        (DASHBOARD,),
        only="in_flight",
    ),
    OnSQLite(
        "an operation that waits is not abandoned",
        (in_figures('Q(operation="", due_at__lte=before)', "Q(due_at__lte=before)"),),
        (DASHBOARD,),
        only="in_flight",
    ),
    OnSQLite(
        "the dashboard's own permission",
        (in_dashboard("        if not self.has_view_permission(request):\n            raise PermissionDenied\n", ""),),
        (DASHBOARD,),
        only="TestWhoSeesIt",
    ),
    OnSQLite(
        "the permission behind each tile",
        (in_dashboard('        if not theirs.has_view_permission(request):\n            return ""\n', ""),),
        (DASHBOARD,),
        only="TestWhoSeesIt",
    ),
    OnSQLite(
        "a code in a chart is text",
        (
            in_charts(
                "((group.said, _rects(group))",
                '((__import__("django.utils.safestring", fromlist=["_"]).mark_safe(group.said), _rects(group))',
            ),
        ),
        (DASHBOARD,),
        only="TestHostile",
    ),
]
