from django.urls import include, path

from tests.bank import plain
from tests.settings import HAVE_DRF

urlpatterns = [
    path("plain/ready", plain.ready),
    path("fixtures/plain/", include("tests.conformance.fixtures")),
]

if HAVE_DRF:
    urlpatterns.append(path("fixtures/drf/", include("tests.conformance.drf_fixtures")))
