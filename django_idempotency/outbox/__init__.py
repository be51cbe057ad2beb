"""The outbox: messages to tasks that are rows of a transaction, and are sent once it is committed."""

from .messages import Message, enqueue_on_commit, message, put

__all__ = ["Message", "enqueue_on_commit", "message", "put"]
