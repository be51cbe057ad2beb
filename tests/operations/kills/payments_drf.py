from typing import Any

from rest_framework.request import Request
from rest_framework.views import APIView

from tests.operations.kills.payments import pay


class Payments(APIView):
    def post(self, request: Request) -> Any:
        return pay.respond(request, **dict(request.data))
