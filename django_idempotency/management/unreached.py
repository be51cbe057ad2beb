"""What no command looks through: the records of profiles that keep them in Redis alone."""

from __future__ import annotations

from django.core.management.base import BaseCommand
from django.utils.module_loading import import_string

from django_idempotency.backends import RedisBackend
from django_idempotency.conf import get_policy, profiles
from django_idempotency.core.policies import Policy


def warn(command: BaseCommand, verbosity: int, advice: str, *, encrypted: bool = False) -> None:
    """Name them, or those of them with ENCRYPTION_KEYS: who relies on the command would take its work for done."""
    names = [policy.profile for policy in _in_redis() if policy.encryption_keys or not encrypted]
    if names and verbosity > 0:
        left = f"Left as they are: the records of {', '.join(map(repr, names))}, which are in Redis alone. {advice}"
        command.stderr.write(command.style.WARNING(left))


def _in_redis() -> list[Policy]:
    return [policy for policy in map(get_policy, profiles()) if _is_redis(policy.backend)]


def _is_redis(backend: str | type) -> bool:
    return issubclass(import_string(backend) if isinstance(backend, str) else backend, RedisBackend)
