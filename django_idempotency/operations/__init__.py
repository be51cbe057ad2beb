"""Durable operations: work that leaves the database, done once and finished after any crash."""

from .answers import Respond
from .definitions import DurableOperation, operation

__all__ = ["DurableOperation", "Respond", "operation"]
