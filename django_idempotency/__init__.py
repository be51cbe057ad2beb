"""Exactly-once views for Django and Django REST framework."""

from .decorators import idempotent
from .exceptions import Kept

__all__ = ["Kept", "idempotent"]
