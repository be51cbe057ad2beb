"""Whose key it is: from authentication, never from the client."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth import get_user_model

from .core.policies import Policy
from .exceptions import ScopeUnavailable

logger = logging.getLogger("django_idempotency")


def scope_of(request: Any, policy: Policy, *, answers: tuple[type[Exception], ...]) -> str:
    """
    Whose key it is, by the SCOPE callable if there is one. Raises ScopeUnavailable where it does not say.

    `answers` are exceptions that are an answer of the project's own and come out unchanged.
    """
    try:
        scope: Any = (policy.scope or default_scope)(request)
    except answers:
        raise
    except Exception as exc:
        logger.exception("The scope of an idempotency key could not be told.")
        raise ScopeUnavailable from exc
    if not isinstance(scope, str) or not scope or "\0" in scope or not scope.isprintable():
        logger.error("The scope of an idempotency key must be a text, not %r.", type(scope).__name__)
        raise ScopeUnavailable
    return str(scope)


def default_scope(request: Any) -> str:
    """`user:<pk>`, `<app.model>:<pk>` for another kind of principal, `anonymous` without one."""
    user = getattr(request, "user", None)
    # A principal that says nothing about it is one: taken for anonymous, all merchants would share their keys.
    if user is None or not getattr(user, "is_authenticated", True):
        return "anonymous"
    if user.pk is None:
        raise ScopeUnavailable
    if isinstance(user, get_user_model()):
        return f"user:{user.pk}"
    meta, kind = getattr(user, "_meta", None), type(user)
    return f"{meta.label_lower if meta else f'{kind.__module__}.{kind.__qualname__}'}:{user.pk}"
