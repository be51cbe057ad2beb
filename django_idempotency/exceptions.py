"""
What can go wrong around an idempotent request.

    IdempotencyError
    ├── KeyMissing          key-missing
    ├── KeyInvalid          key-invalid
    ├── KeyReused           key-reused
    ├── InFlight            in-flight
    ├── OutcomeUnknown      outcome-unknown
    ├── KeyExpired          key-expired
    ├── BodyInvalid         body-invalid
    ├── BodyTooLarge        body-too-large
    ├── ScopeUnavailable    scope-unavailable
    ├── TooManyKeys         too-many-keys
    ├── StoreUnavailable    store-unavailable
    └── TransactionBroken   a fault of the view, never sent to a client

    ├── RetryLater          retry-later

    Kept                    not an error: carries an answer out of a service
"""

from __future__ import annotations

import inspect
import math
from typing import ClassVar
from uuid import UUID


class IdempotencyError(Exception):
    """The request could not be served once and only once."""

    code: ClassVar[str] = "idempotency-error"
    retryable: ClassVar[bool] = False
    retry_after: int | None = None
    """Whole seconds a client should wait before it asks again; None: no advice."""

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or " ".join((inspect.getdoc(type(self)) or "").split())
        super().__init__(self.detail)


class KeyMissing(IdempotencyError):
    """This request needs an idempotency key: send one in the header, and the same one with every retry."""

    code = "key-missing"


class KeyInvalid(IdempotencyError):
    """The idempotency key is not valid."""

    code = "key-invalid"


class KeyReused(IdempotencyError):
    """This idempotency key was first used with another request. Send the original request again, or use a new key."""

    code = "key-reused"


class InFlight(IdempotencyError):
    """The first request with this idempotency key is still running. Send the same request again in a moment."""

    code = "in-flight"
    retryable = True
    retry_after = 1


class OutcomeUnknown(IdempotencyError):
    """
    Nobody knows whether the first request with this idempotency key took effect.
    Do not send it again: it waits for a person to settle it.
    """

    code = "outcome-unknown"

    def __init__(
        self, detail: str | None = None, *, operation: UUID | None = None, key_forgotten: bool = False
    ) -> None:
        super().__init__(detail)
        self.operation = operation
        """The id of the record that waits; None while a remote call says that it does not know."""
        self.key_forgotten = key_forgotten
        """True where a remote call says that its key will not keep a second one from taking effect."""


class KeyExpired(IdempotencyError):
    """
    This idempotency key was used before and its answer is no longer kept.
    The request was not executed again; look up its result, or use a new key for a new request.
    """

    code = "key-expired"


class BodyInvalid(IdempotencyError):
    """The body of the request cannot be read as its content type says."""

    code = "body-invalid"


class BodyTooLarge(IdempotencyError):
    """The body of the request is larger than this server accepts."""

    code = "body-too-large"


class ScopeUnavailable(IdempotencyError):
    """The server could not tell whose idempotency key this is. The request was not executed; send it again later."""

    code = "scope-unavailable"
    retryable = True
    retry_after = 5


class TooManyKeys(IdempotencyError):
    """Too many idempotency keys of yours are in use. The request was not executed; send it again when one has ended."""

    code = "too-many-keys"
    retryable = True

    def __init__(self, seconds: int = 1, detail: str | None = None) -> None:
        super().__init__(detail)
        self.retry_after = seconds


class StoreUnavailable(IdempotencyError):
    """The store of idempotency keys cannot be reached. Nothing of this request was kept; send it again later."""

    code = "store-unavailable"
    retryable = True
    retry_after = 5


class RetryLater(IdempotencyError):
    """
    This operation has not ended and goes on later. Send the same request again then, to get its answer.

    Returned or raised in a durable operation, it frees the operation for that long without an answer.
    """

    code = "retry-later"
    retryable = True

    def __init__(self, seconds: float, detail: str | None = None) -> None:
        if seconds < 0:
            raise ValueError(f"RetryLater takes seconds from now, not {seconds}.")
        super().__init__(detail or " ".join((inspect.getdoc(RetryLater) or "").split("\n")[0].split()))
        self.seconds = seconds
        self.retry_after = max(1, math.ceil(seconds))


class TransactionBroken(IdempotencyError):
    """
    The view broke the transaction that its effects and its answer commit in, so neither can be trusted.
    Usual causes: an IntegrityError caught without its own `transaction.atomic()` block round the failing
    statement; `set_rollback(True)`; a raw COMMIT or ROLLBACK; the database connection closed inside the view.
    """

    code = "transaction-broken"

    def __init__(self, detail: str | None = None, *, outcome_known: bool = True) -> None:
        super().__init__(detail)
        self.outcome_known = outcome_known
        """Whether it is certain that nothing was kept; else the record is `unknown` and its key is not free."""


class Kept(Exception):
    """
    Raise with a response, from any depth below an idempotent view, to end the view with that answer and keep it.

    What was written before commits together with the answer, except inside `atomic()` blocks that the exception leaves.
    """

    def __init__(self, response: object) -> None:
        self.response = response
        super().__init__(response)
