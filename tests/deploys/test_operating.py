"""The page for operators: its SQL runs, and it tells of every alert."""

import re
from pathlib import Path

import pytest
import yaml
from django.db import connection, transaction

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"

if not DOCS.exists():
    pytest.skip("the documentation is not beside the tests", allow_module_level=True)

PAGE = (DOCS / "howto" / "operating.md").read_text()
TIMES = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
STATEMENTS = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("statements", STATEMENTS)
def test_the_sql_runs_and_leaves_settings_that_the_server_takes(statements):
    if connection.vendor != "postgresql":
        pytest.skip("it is for PostgreSQL")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE ROLE shop")
        cursor.execute(statements)
        cursor.execute("SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setrole = 'shop'::regrole")
        set_for_role = cursor.fetchall()
        cursor.execute(
            "SELECT unnest(reloptions) FROM pg_class WHERE relname LIKE 'django_idempotency%'"
            " OR oid IN (SELECT reltoastrelid FROM pg_class WHERE relname LIKE 'django_idempotency%')"
        )
        assert len([*set_for_role, *cursor.fetchall()]) == statements.count(" = ")
        transaction.set_rollback(True)


def test_there_is_sql_to_run():
    assert len(STATEMENTS) == 2


def test_each_alert_has_its_line_and_no_other_has():
    groups = yaml.safe_load((DOCS / "operations" / "alerts.yml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"]]
    assert re.findall(r"^\| `(Idempotency\w+)` \|", PAGE, re.MULTILINE) == alerts


def test_what_a_vanished_host_costs_is_what_the_table_says():
    idle, interval, count = (int(re.search(rf"^\| `{name}` .*\| (\d+) \|$", PAGE, re.MULTILINE)[1]) for name in TIMES)
    sums = re.search(r"(\d+) \+ (\d+) \S (\d+) = (\d+) seconds", PAGE)
    assert [int(number) for number in sums.groups()] == [idle, count, interval, idle + count * interval]
