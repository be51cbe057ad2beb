from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

    from ..core.engine import Again, Operation, Outcome, Work
    from ..core.leases import LeaseStore
    from ..core.policies import Policy


class BaseBackend(ABC):
    """
    A store of records. Whoever writes one owes its callers:

    - one claim at a time: of any number of parallel attempts at one operation, at most one runs the work, and the
      others learn of it without waiting for it;
    - a fence: a claim is completed or released only while the record is unfinished and the claim in it is the
      caller's. Who was overtaken changes nothing, and gives no answer of its own;
    - what is completed stays as it is until its tombstone has ended, whoever asks; what was not kept leaves no trace;
    - time is the store's own, never the caller's;
    - a store that cannot be reached raises StoreUnavailable, before the work or after undoing it.
    """

    terms: Mapping[str, Any] = MappingProxyType({})
    """What an operation has to say of a lease where all claims of this store are leases: `lease` and `rerun`."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    @abstractmethod
    def attempt(self, operation: Operation, work: Work) -> Outcome | Again:
        """
        Run the work if nobody has and nobody does, and keep the answer it returns.

        An exception out of the work frees the key and comes out of here unchanged; a store that cannot undo what the work
        has done leaves the outcome unknown instead. Again says that nothing was run and that the engine should ask once
        more.
        """

    def leases(self) -> LeaseStore:
        """
        The store of claims for work that no transaction can undo: that of coroutine views.

        Raises ImproperlyConfigured where the backend has none.
        """
        raise ImproperlyConfigured(f"{type(self).__name__} cannot protect coroutine views.")

    def on_commit(self, call: Callable[[], object]) -> None:
        """Call once what this request wrote is certain: at once, except inside a transaction of the caller's."""
        call()

    def observe(self, send: Callable[[], list[tuple[Any, Any]]]) -> None:
        """Send a signal in such a way that nothing a receiver does can break the request it observes."""
        send()

    def mismatched(self, operation: Operation) -> None:  # noqa: B027 - a store need not tell anybody
        """Another request than the stored one has come under its key, and was refused: tell the staff."""

    @classmethod
    def check(cls, policy: Policy) -> list[CheckMessage]:
        """What is wrong with this backend under these settings, for Django's system checks."""
        return []

    @classmethod
    def check_view(cls, policy: Policy, name: str, view: Any) -> list[CheckMessage]:
        """What a protected view does that this backend does not protect, as far as can be seen."""
        return []

    @classmethod
    def check_deployed(cls, policy: Policy) -> list[CheckMessage]:
        """What is wrong with the store itself, for `check --deploy`."""
        return []
