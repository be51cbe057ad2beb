"""The bank, and the page of metrics that the documentation shows."""

from django.urls import path
from shop.metrics import page

from tests.urls import urlpatterns as bank

urlpatterns = [*bank, path("metrics", page)]
