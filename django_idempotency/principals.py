"""Who has a scope: the inverse of scopes.py, for what the staff does on somebody's behalf."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ObjectDoesNotExist, ValidationError

from .core.policies import Policy


class NoPrincipal(Exception):
    """Nobody has this scope any more, or PRINCIPAL does not know whose it is."""


def principal_of(scope: str, policy: Policy) -> tuple[Any, Any]:
    """
    Who has this scope, and what they authenticate with (`request.auth`), or None: by the PRINCIPAL callable if there is one.

    Raises NoPrincipal.
    """
    try:
        found: Any = (policy.principal or default_principal)(scope)
    except (LookupError, ValueError, ObjectDoesNotExist, ValidationError) as exc:
        raise NoPrincipal from exc
    principal, auth = found if isinstance(found, tuple) else (found, None)
    closed = getattr(principal, "is_authenticated", True) and not getattr(principal, "is_active", True)
    if principal is None or closed:
        raise NoPrincipal
    return principal, auth


def default_principal(scope: str) -> Any:
    """Who has a scope of default_scope()'s. Raises LookupError, ValueError, ObjectDoesNotExist and ValidationError."""
    if scope == "anonymous":
        return AnonymousUser()
    kind, _, pk = scope.partition(":")
    model: Any = get_user_model() if kind == "user" else apps.get_model(kind)
    return model._default_manager.get(pk=pk)
