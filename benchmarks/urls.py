from django.urls import path

from benchmarks.variants import COMPARED, LARGE

urlpatterns = [path(variant.path.lstrip("/"), variant.view()) for variant in (*COMPARED, LARGE) if variant.installed]
