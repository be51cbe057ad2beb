"""What a schema made by drf-spectacular says of protected operations. The only module that imports it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

from .checks import rules_of
from .core import keys
from .core.policies import Policy
from .exceptions import RetryLater
from .http import SAFE_METHODS, STATUSES

ANSWERS = (400, 409, 412, 422, 503)
# An id that is matched by itself alone is never reused and never expired.
ANSWERS_BY_ID = (400, 409, 503)

# The methods of DRF's generic views and mixins that only pass a request on, and to which.
PASSED_ON = {
    "post": "create",
    "put": "update",
    "patch": "partial_update",
    "partial_update": "update",
    "delete": "destroy",
}

PROBLEM = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Leads to what there is to know of the problem."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Which problem it is, for programs."},
        "retryable": {"type": "boolean", "description": "Whether sending the same request again can help."},
        "operation": {
            "type": "string",
            "format": "uuid",
            "description": "Where the outcome is unknown: what to ask the people behind this API about.",
        },
    },
    "required": ["type", "title", "status", "detail", "code", "retryable"],
}


class IdempotentAutoSchemaMixin:
    """
    Adds the header of the key and the answers of a refused request to the operations that `idempotent` protects.

    For an AutoSchema class of drf-spectacular's, in front of it. What `extend_schema` says stays as it is: an answer that
    it describes gets the problem document as one more media type.
    """

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)  # type: ignore[misc]
        schema: Any = self
        policy = protection(schema.view, schema.method) if operation else None
        if policy is not None:
            if policy.key is None:
                _add_header(operation.setdefault("parameters", []), policy)
            self._add_answers(operation, policy, schema.registry)
        return operation

    def _add_answers(self, operation: Any, policy: Policy, registry: Any) -> None:
        component = ResolvedComponent(  # type: ignore[no-untyped-call]
            "IdempotencyProblem", ResolvedComponent.SCHEMA, object=PROBLEM, schema=PROBLEM
        )
        registry.register_on_missing(component)
        answers = operation.setdefault("responses", {})
        for status in statuses(policy):
            answer = answers.setdefault(str(status), {})
            answer["description"] = "\n\n".join(filter(None, [answer.get("description"), described(status)]))
            if status in (409, 429, 503):
                answer.setdefault("headers", {})["Retry-After"] = {
                    "schema": {"type": "integer", "minimum": 1},
                    "description": "Seconds after which to send the same request again, where that can help.",
                }
            if not policy.error_response:
                answer.setdefault("content", {})["application/problem+json"] = {"schema": component.ref}


class IdempotentAutoSchema(IdempotentAutoSchemaMixin, AutoSchema):
    """drf-spectacular's AutoSchema with them, for DEFAULT_SCHEMA_CLASS."""


def protection(view: Any, method: str) -> Policy | None:
    """The rules under which one operation of a DRF view is protected; None where it is not."""
    if method in SAFE_METHODS:
        return None
    name = getattr(view, "action", None) or method.lower()
    while True:
        handler = getattr(view, name, None)
        for rule in rules_of(handler):
            policy: Policy = rule.resolve()[0]
            return policy
        if name not in PASSED_ON or not getattr(handler, "__module__", "").startswith("rest_framework."):
            return None
        name = PASSED_ON[name]


def _add_header(parameters: list[dict[str, Any]], policy: Policy) -> None:
    named = {(parameter["in"], parameter["name"].lower()) for parameter in parameters}
    if ("header", policy.header.lower()) not in named:
        parameters.append(header(policy))


def header(policy: Policy) -> dict[str, Any]:
    """The parameter that carries the key."""
    pattern = keys.pattern(strict=policy.strict_keys, min_length=policy.min_key_length, uuid_only=policy.uuid_keys)
    return {
        "in": "header",
        "name": policy.header,
        "required": policy.required,
        "schema": {"type": "string", "pattern": pattern},
        "description": "A random string, such as a UUID, for this request and every retry of it: it takes effect once.",
    }


def statuses(policy: Policy) -> list[int]:
    """Of the answers that a view under these rules may give besides its own."""
    limited = (429,) if policy.max_live_keys else ()
    return sorted((*(ANSWERS_BY_ID if policy.key else ANSWERS), *limited))


def described(status: int) -> str:
    """The problems that have this status."""
    # A view under `idempotent` has no later: that is for durable operations.
    codes = {code: title for code, (found, title) in STATUSES.items() if found == status and code != RetryLater.code}
    return "\n".join(f"- `{code}`: {title}" for code, title in codes.items())
