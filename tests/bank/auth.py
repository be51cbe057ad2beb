"""Whom a request is from: `Authorization: Test <pk>`, with no look-up, so that a dead database is noticed by us first."""

from collections.abc import Callable

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse


def header_user(request: HttpRequest) -> User | None:
    """Return the user that the header names; None without one."""
    scheme, _, pk = request.headers.get("Authorization", "").partition(" ")
    return User(pk=int(pk), username=f"user-{pk}") if scheme == "Test" else None


class HeaderUserMiddleware:
    """Sets request.user from the header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if user := header_user(request):
            request.user = user
        return self.get_response(request)
