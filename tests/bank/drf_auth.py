"""The same for DRF, and a refusal of each kind that initial() knows."""

from typing import Any

from django.contrib.auth.models import User
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from tests.bank.auth import header_user


class HeaderAuthentication(BaseAuthentication):
    """`Authorization: Test 1` is user 1, `Authorization: Wrong` is refused, anything else is anonymous."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        if request.headers.get("Authorization") == "Wrong":
            raise AuthenticationFailed
        user = header_user(request)
        return (user, None) if user else None

    def authenticate_header(self, request: Request) -> str:
        return "Test"


class HeaderThrottle(BaseThrottle):
    """Refuses a request with the header `X-Test-Throttled`."""

    def allow_request(self, request: Request, view: Any) -> bool:
        return "X-Test-Throttled" not in request.headers
