"""The same as a DRF view, for users who bring a token or have a session."""

from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.versioning import URLPathVersioning
from rest_framework.views import APIView

from django_idempotency import idempotent


class Token(BaseAuthentication):
    """`Authorization: Token ada` is the user ada."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        name = request.headers.get("Authorization", "").removeprefix("Token ")
        return (User.objects.get(username=name), f"token of {name}") if name else None


class Api(APIView):
    authentication_classes = [Token, SessionAuthentication]
    permission_classes = [IsAuthenticated]
    versioning_class = URLPathVersioning

    @idempotent
    def post(self, request: Request, **kwargs: Any) -> HttpResponse:
        from tests.resolution.shop import charge

        return charge(request, dict(request.data.items()))
