"""Views that look at nothing of the body, so that it may be anything."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_idempotency import idempotent


@idempotent
def failing(request: HttpRequest) -> HttpResponse:
    raise RuntimeError


@idempotent
def function(request: HttpRequest) -> HttpResponse:
    return HttpResponse("paid")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("plain/failing", failing),
    path("plain/function", function),
]
