"""The dashboard and the alerts ask for what is there: every metric, label and value in them is one that we send."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry

from django_idempotency import idempotent, signals, telemetry
from django_idempotency.exceptions import InFlight

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
OPERATIONS = DOCS / "operations"

if not DOCS.exists():
    pytest.skip("the documentation is not beside the tests", allow_module_level=True)

DASHBOARD = json.loads((OPERATIONS / "grafana-dashboard.json").read_text())
ALERTS = [
    rule for group in yaml.safe_load((OPERATIONS / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
VARIABLES = [variable for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
QUERIES = {
    **{f"alert {rule['alert']}": rule["expr"] for rule in ALERTS},
    **{
        f"panel {panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    },
    **{f"variable {variable['name']}": variable["query"]["query"] for variable in VARIABLES},
}
# Of PromQL and of Grafana; anything else in a query is a name of ours.
WORDS = {"absent", "by", "histogram_quantile", "increase", "label_values", "le", "max", "rate", "sum"}
MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")


@idempotent
def view(request):
    """Stands for any view."""


@pytest.fixture
def samples(monkeypatch):
    """What Prometheus would scrape once everything has happened."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry)
    monkeypatch.setattr(telemetry, "_backlog", lambda: dict.fromkeys(telemetry.OPEN, (1, 60.0)))
    telemetry.install(MeterProvider([reader], shutdown_on_exit=False))
    request, operation = SimpleNamespace(), SimpleNamespace(id=1, key="key")
    for end in (
        lambda **given: signals.completed.send(view, response=None, **given),
        lambda **given: signals.released.send(view, response=None, error=None, **given),
        lambda **given: signals.rejected.send(view, error=InFlight(), **given),
    ):
        signals.claimed.send(view, request=request, operation=operation, attempt=2)
        end(request=request, operation=operation)
    signals.recovered.send(object, record={})
    found = [sample for family in registry.collect() for sample in family.samples]
    reader.shutdown()
    return found


def names_in(query):
    """The names in a query, without what is quoted, without times, and without Grafana's variables."""
    bare = re.sub(r"\"[^\"]*\"|\[[^\]]*\]", "", query)
    return set(re.findall(r"(?<![\w$.])[a-z_]+(?!\w)", bare)) - WORDS


def metrics_in(query):
    return {name for name in names_in(query) if name not in labels_in(query)}


def labels_in(query):
    grouped = re.findall(r"\bby \(([^)]*)\)", query) + re.findall(r"label_values\(\w+, (\w+)\)", query)
    return {name for name, *_ in MATCHER.findall(query)} | {
        name.strip() for part in grouped for name in part.split(",")
    }


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
class TestQueries:
    def test_its_metrics_are_ours(self, query, samples):
        assert metrics_in(query) <= {sample.name for sample in samples}
        assert metrics_in(query)

    def test_its_labels_are_on_those_metrics(self, query, samples):
        for metric in metrics_in(query):
            known = {label for sample in samples if sample.name == metric for label in sample.labels}
            assert labels_in(query) <= known

    def test_each_value_that_it_names_can_come(self, query, samples):
        for metric in metrics_in(query):
            for label, operator, value in MATCHER.findall(query):
                if value.startswith("$"):
                    continue
                known = {sample.labels[label] for sample in samples if sample.name == metric and label in sample.labels}
                named = value.split("|") if operator in ("=~", "!~") else [value]
                assert set(named) <= known

    def test_its_brackets_are_closed(self, query):
        bare = re.sub(r"\"[^\"]*\"", "", query)
        for opening, closing in ("()", "[]", "{}"):
            assert bare.count(opening) == bare.count(closing)


class TestCoverage:
    @pytest.mark.parametrize("where", ["alert", "panel"])
    def test_each_metric_is_watched(self, where, samples):
        asked = {name for query, text in QUERIES.items() if query.startswith(where) for name in metrics_in(text)}
        sent = {re.sub(r"_(bucket|count|sum)$", "", sample.name) for sample in samples} - {"target_info"}
        # Their number alone wakes nobody, and what staff did was done on purpose.
        quiet = {"idempotency_records", "idempotency_resolutions_total"} if where == "alert" else set()
        assert sent - quiet <= {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}

    def test_the_how_to_names_each_metric_and_each_attribute(self, samples):
        page = (DOCS / "howto" / "telemetry.md").read_text()
        for sample in samples:
            if sample.name.startswith("idempotency_") and not sample.name.endswith(("_bucket", "_sum", "_count")):
                assert f"`{sample.name}`" in page
        for attribute in ("key_hash", "outcome", "attempt", "profile", "operation_id"):
            assert f"`idempotency.{attribute}`" in page


class TestForm:
    def test_alerts_have_what_prometheus_asks_for(self):
        assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
        for rule in ALERTS:
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert set(rule["annotations"]) == {"summary", "description"}
            assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))

    def test_panels_have_places_of_their_own(self):
        places = [
            (x, y)
            for panel in DASHBOARD["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(places) == len(set(places))
        assert max(x for x, _ in places) < 24
        assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])

    def test_panels_ask_the_data_source_that_is_chosen(self):
        sources = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]}
        sources |= {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel["targets"]}
        assert sources == {"${datasource}"}
