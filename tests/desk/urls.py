"""The admin beside views whose requests can fail."""

from django.contrib import admin
from django.urls import path

from tests.resolution import shop

urlpatterns = [path("admin/", admin.site.urls), *shop.urlpatterns]
