"""Every kind of view of the tests' bank; DRF's only where there is DRF."""

import importlib.util

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("plain/", include("tests.bank.plain_urls")),
]

if importlib.util.find_spec("rest_framework"):
    urlpatterns.append(path("api/", include("tests.bank.drf_urls")))
