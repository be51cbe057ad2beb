"""Whether the audit's chain of events is whole: what was changed, put in, taken out, reordered or cut off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from .audit import RULES, among, digests, events_in, home, version_of
from .heads import Head
from .models import IdempotencyEvent, IdempotencyHead

BATCH = 500
"""Events in memory at once."""

MISSING = "is missing"
FOREIGN = "is not of this chain"
UNLINKED = "does not follow the event before it"
CHANGED = "is not as it was written, or its secret is not among SECRET_KEY and SECRET_KEY_FALLBACKS"
NEWER = "was written by a rule that this release does not know, so that only a newer one can verify it"
BEYOND = "is not where the head says that the chain ends"
EXPORTED = "is another event than the one whose head was exported"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the event of a sequence number."""

    sequence: int
    what: str

    @property
    def certain(self) -> bool:
        """Whether something is wrong, whichever release has written it."""
        return self.what != NEWER

    def __str__(self) -> str:
        return f"event {self.sequence} {self.what}"


def verify(*, using: str | None = None, exported: Iterable[Head] = ()) -> Iterator[Fault]:
    """
    Each fault of a database's chain, in a bounded amount of memory, while events may be appended.

    That events were cut off at the end, and the head with them, only `exported` heads can tell.
    """
    alias = using or home()
    last: Head = (0, "")
    ended = False
    while not ended:
        for event in _after(alias, last[0]):
            yield from _faults(event, last)
            last = (event.sequence, event.digest) if event.sequence > last[0] else last
        head = _head(alias)
        # What was appended meanwhile is read, too.
        ended = head[0] <= last[0] or not events_in(alias).filter(sequence__gt=last[0]).exists()
    yield from _of_end(last, head)
    yield from _of_exported(alias, exported)


def _after(alias: str, sequence: int) -> Iterator[IdempotencyEvent]:
    events = events_in(alias).order_by("sequence")
    # From the very start, what has an impossible number is seen, too.
    found = list((events.filter(sequence__gt=sequence) if sequence else events)[:BATCH])
    while found:
        yield from found
        found = list(events.filter(sequence__gt=found[-1].sequence)[:BATCH])


def _faults(event: IdempotencyEvent, last: Head) -> Iterator[Fault]:
    expected = last[0] + 1
    if event.sequence < expected:
        yield Fault(event.sequence, FOREIGN)
        return
    if event.sequence > expected:
        yield Fault(expected, MISSING)
    elif event.previous != last[1]:
        yield Fault(event.sequence, UNLINKED)
    version = version_of(event.digest)
    if version is not None and version not in RULES:
        # Whoever has only raised it, to hide a change, has cut the link from the next event, or from an exported head.
        yield Fault(event.sequence, NEWER)
    elif version is None or not _as_written(event, version):
        yield Fault(event.sequence, CHANGED)


def _as_written(event: IdempotencyEvent, version: int) -> bool:
    """Whether an event is what its digest says, and says nothing beside that."""
    if not among(event.digest, digests(event, version)):
        return False
    beside = {field.attname: field for field in event._meta.concrete_fields if field.name != "digest"}
    for name in RULES[version].columns:
        del beside[name]
    return all(getattr(event, name) == field.get_default() for name, field in beside.items())


def _head(alias: str) -> Head:
    found = IdempotencyHead._base_manager.using(alias).filter(pk=1).values_list("sequence", "digest").first()
    return found or (0, "")


def _of_end(last: Head, head: Head) -> Iterator[Fault]:
    if head[0] > last[0]:
        yield Fault(last[0] + 1, MISSING)
    elif head != last:
        yield Fault(last[0], BEYOND)


def _of_exported(alias: str, exported: Iterable[Head]) -> Iterator[Fault]:
    heads = iter(exported)
    while batch := list(islice(heads, BATCH)):
        wanted = [sequence for sequence, _ in batch]
        found = dict(events_in(alias).filter(sequence__in=wanted).values_list("sequence", "digest"))
        for sequence, digest in batch:
            if sequence not in found:
                yield Fault(sequence, MISSING)
            elif found[sequence] != digest:
                yield Fault(sequence, EXPORTED)
