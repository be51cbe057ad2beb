"""
Why an act is refused. The text tells a member of staff what to do; nothing was changed.

    NotResolved
    ├── NotFound        there is no such record, incident or approval
    ├── Moved           somebody, or a request, was faster
    ├── WrongState      this act does not fit what it is about
    ├── StillRunning    its owner is alive
    ├── TooEarly        it may still arrive
    ├── TooLate         what it came to may be forgotten
    ├── NotSent         it has not come to its view, or was refused there
    ├── Unreadable      a key is lost
    ├── NotGranted      the approval does not allow it
    └── NeedsApproval   a second person has to agree
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from .acts import Asked

MOVED = _("It has been changed since it was read. Look at it again.")
TOO_LATE = _(
    "It is too old: its key may have been used since, and be forgotten again, so it could be done twice. Find out what has "
    "become of it, then settle it outside."
)
RUNNING = _("Its owner may still be at work on it. Wait a moment, then look at it again.")
UNREADABLE = _("It cannot be read: a key is not in ENCRYPTION_KEYS any more.")
SECOND_PERSON = _("This needs a second person. Ask for it; it is done when another person has approved it.")


class NotResolved(Exception):
    """It cannot be resolved like this; nothing was changed."""


class NotFound(NotResolved):
    """There is nothing under this id."""


class Moved(NotResolved):
    """It is not as whoever decides has seen it."""

    def __init__(self) -> None:
        super().__init__(MOVED)


class WrongState(NotResolved):
    """The act does not fit what it is about."""


class StillRunning(NotResolved):
    """Its owner is alive, or may be."""

    def __init__(self) -> None:
        super().__init__(RUNNING)


class TooEarly(NotResolved):
    """What is said not to have happened may still arrive."""


class TooLate(NotResolved):
    """It may have been answered meanwhile, and that be forgotten again."""

    def __init__(self) -> None:
        super().__init__(TOO_LATE)


class NotSent(NotResolved):
    """What should be sent has not come to its view, or was refused there like any retry."""


class Unreadable(NotResolved):
    """It is encrypted, and its key is lost."""

    def __init__(self) -> None:
        super().__init__(UNREADABLE)


class NotGranted(NotResolved):
    """The approval is not one for this act, or not any more."""


class NeedsApproval(NotResolved):
    """A second person has to agree. Hand it to approvals.request() to ask for that."""

    def __init__(self, asked: Asked, row: Mapping[str, Any], using: str) -> None:
        super().__init__(SECOND_PERSON)
        self.asked = asked
        self.row = row
        """The columns of the record or the incident."""
        self.using = using
