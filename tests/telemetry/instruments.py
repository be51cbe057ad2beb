"""OpenTelemetry's SDK, keeping in memory what it is told."""

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from django_idempotency import telemetry


class Instruments:
    """Installed telemetry, and what it has observed."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.exporter = InMemorySpanExporter()
        self.tracing = TracerProvider(shutdown_on_exit=False)
        self.tracing.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracing.get_tracer("tests")
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        telemetry.install(self.provider)

    def points(self, name: str) -> list[Any]:
        """Return the data points of one metric."""
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        metrics = [metric for scope in scopes for metric in scope.metrics if metric.name == name]
        return [point for metric in metrics for point in metric.data.data_points]

    def counted(self, name: str, by: str = "outcome") -> dict[Any, float]:
        """Return what one metric has counted, by an attribute; what has not happened is left out."""
        found = {dict(point.attributes).get(f"idempotency.{by}"): count(point) for point in self.points(name)}
        return {what: number for what, number in found.items() if number}

    def spans(self) -> tuple[ReadableSpan, ...]:
        """Return the spans that have ended."""
        return self.exporter.get_finished_spans()

    def said(self) -> str:
        """Return everything that was told, as text."""
        data = self.reader.get_metrics_data()
        return "\n".join([data.to_json() if data else "", *(span.to_json() for span in self.spans())])


def count(point: Any) -> float:
    return float(point.count if hasattr(point, "count") else point.value)
