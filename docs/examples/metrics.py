from django.apps import AppConfig
from django.http import HttpResponse
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import generate_latest

from django_idempotency import telemetry


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
        telemetry.install()


def page(request):
    return HttpResponse(generate_latest(), content_type="text/plain; version=0.0.4")
