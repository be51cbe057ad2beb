"""What was sent just now is put back to its time: plain updates of the times, and of nothing else that was written."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from django_idempotency.models import IdempotencyIncident, IdempotencyRecord, IdempotencyRollup, IdempotencyStep

from .visits import Day, Seen

UPKEEP = timedelta(minutes=5)
"""As often as it is said to have run that day."""
BOUNDS = (10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1_000, 1_500, 2_000)
"""Milliseconds, among those that the dashboard knows."""

Kind = IdempotencyIncident.Kind


def put_back(day: Day) -> None:
    """
    Move the records, the incidents and the counts to the times of their requests.

    Not the audit: its events are a chain, which no update may touch. What staff does is done after this.
    """
    by_key = defaultdict(list)
    for seen in day.seen:
        by_key[seen.visit.key].append(seen)
    with transaction.atomic():
        for record in IdempotencyRecord.objects.filter(key__in=by_key):
            _put_record_back(record, by_key[record.key])
        for incident in IdempotencyIncident.objects.filter(key__in=by_key):
            _put_incident_back(incident, by_key[incident.key])
        _count(day.seen)


def waited_for(key: str, *, resumes: int, until: datetime | None = None) -> None:
    """Say that upkeep has taken an operation up so often in vain, and when it may do so again; None: now."""
    dead = timezone.now() - UPKEEP
    IdempotencyRecord.objects.filter(key=key).update(resumes=resumes, lease_until=dead, resume_at=until)


def _put_record_back(record: IdempotencyRecord, sent: Sequence[Seen]) -> None:
    first = _first_kept(sent)
    moved: dict[str, Any] = {"claimed_at": first.visit.at}
    if record.completed_at:
        moved["completed_at"] = first.visit.at + first.visit.took
        gone = record.completed_at - moved["completed_at"]
        moved |= {name: getattr(record, name) - gone for name in ("expires_at", "forget_at")}
    IdempotencyRecord.objects.filter(pk=record.pk).update(**moved)
    if record.operation:
        back = record.claimed_at - first.visit.at
        steps = IdempotencyStep.objects.filter(record_id=record.pk)
        steps.update(requested_at=F("requested_at") - back, finished_at=F("finished_at") - back)


def _first_kept(sent: Sequence[Seen]) -> Seen:
    """The request to which the record belongs: whatever was not kept has freed the key."""
    return next((seen for seen in sent if seen.status < 400 or seen.status == 402), sent[0])


def _put_incident_back(incident: IdempotencyIncident, sent: Sequence[Seen]) -> None:
    times = sorted(_occurred(incident, sent))
    moved: dict[str, Any] = {"first_seen": times[0], "last_seen": times[-1]}
    if incident.kind == Kind.MISMATCH:
        # In the middle of a flood only some are written, and this day has gone by in seconds.
        moved["counter"] = len(times)
    if incident.healed_at:
        moved["healed_at"] = sent[-1].visit.at + UPKEEP
    IdempotencyIncident.objects.filter(pk=incident.pk).update(**moved)


def _occurred(incident: IdempotencyIncident, sent: Sequence[Seen]) -> list[datetime]:
    match incident.kind:
        case Kind.MISMATCH:
            return [seen.visit.at for seen in sent if seen.code == "key-reused"]
        case Kind.FAILED:
            return [seen.visit.at for seen in sent if seen.status >= 500]
        case Kind.UNKNOWN:
            # Upkeep has given up after some six hours.
            return [sent[0].visit.at + timedelta(hours=6)]
    return [sent[0].visit.at + UPKEEP]


def _count(day: Iterable[Seen]) -> None:
    """What the processes of a server would have counted for the charts, minute by minute."""
    counts = Counter((int(seen.visit.at.timestamp()) // 60, measure) for seen in day for measure in _measures(seen))
    for (begins, measure), number in counts.items():
        same = IdempotencyRollup.objects.filter(begins=begins, minutes=1, measure=measure)
        if not same.update(counter=F("counter") + number):
            IdempotencyRollup.objects.create(begins=begins, minutes=1, measure=measure, counter=number)


def _measures(seen: Seen) -> Iterator[str]:
    """Of a process that was killed, only that it had begun."""
    if seen.replayed:
        yield "replayed"
    elif seen.code:
        yield f"refused.{seen.code}"
    else:
        yield "new"
        if not seen.status:
            return
        milliseconds = seen.visit.took / timedelta(milliseconds=1)
        yield f"took.{next(bound for bound in BOUNDS if milliseconds <= bound)}"
        if seen.status >= 500:
            yield "failed"
