"""A module that nobody has imported yet when its operation is to be resumed."""

from typing import Any

from django_idempotency import Respond, operation


class Till:
    @staticmethod
    @operation
    def pay(op: Any) -> Any:
        return Respond(200)
