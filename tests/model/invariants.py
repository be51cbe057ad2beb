"""The promises of section 1, as questions to a step and to an end of a search. Each gives None or what is broken."""

from __future__ import annotations

from .database import COMPLETED, IN_DOUBT, OLD, PROCESSING, TOMBSTONE, UNKNOWN, Database, Row
from .protocol import EXPIRED, FAILED, FRESH, NOBODY_KNOWS, REPLAYED, Answer, Request
from .scenarios import Scenario

ANSWERED = (COMPLETED, TOMBSTONE)


def broken_by_change(before: Database, after: Database, scenario: Scenario) -> str | None:
    """What a change of the database breaks."""
    if before.row == after.row and before.effects == after.effects:
        return None
    return (
        _effects_broken(after.row, after.effects)
        or _doubt_broken(after.row, after.effects, scenario)
        or _history_broken(before.row, after.row)
    )


def _effects_broken(row: Row | None, effects: tuple[int, ...]) -> str | None:
    """Effects exist once, and with their record; an answer with its effect."""
    if len(effects) > 1:
        return f"the effects of runs {effects} are both committed"
    if effects and row is None:
        return f"run {effects[0]} has effects, and no record tells of them"
    if effects and row.state in ANSWERED and row.answer != effects[0]:
        return f"the effect is of run {effects[0]}, the answer of run {row.answer}"
    if row and row.state in ANSWERED and row.answer not in effects:
        return f"the answer of run {row.answer} is stored without its effect"
    return None


def _doubt_broken(row: Row | None, effects: tuple[int, ...], scenario: Scenario) -> str | None:
    """Only views that end their transaction themselves have effects without an answer, or an unknown outcome."""
    if row is None or row.state in ANSWERED or not scenario.is_tame(row.fingerprint):
        return None
    if effects:
        return f"run {effects[0]} has effects, and its answer cannot be replayed"
    return f"nobody broke a transaction, and yet {row}" if row.state == UNKNOWN else None


def _history_broken(before: Row | None, after: Row | None) -> str | None:
    if before is None or before.state == PROCESSING or (after and after.state == before.state):
        return None
    if before.forgotten and after is None:
        return None
    if before.state == COMPLETED and before.age >= OLD and after and after.state == TOMBSTONE:
        return None
    return f"{before} went back to {after or 'nothing'}"


def broken_by_work(request: Request, database: Database) -> str | None:
    """What is broken where a view starts."""
    row = database.visible(request.number)
    if row and row.fingerprint != request.fingerprint:
        return f"a view runs with payload {request.fingerprint} while the record says {row}"
    return None


def broken_by_answer(answer: Answer, request: Request, database: Database, scenario: Scenario) -> str | None:
    """What is broken where a client gets this answer. A view that commits on its own may say that it failed."""
    if answer.kind in (FRESH, REPLAYED):
        return _success_broken(answer, request, database, scenario)
    if answer == FAILED and scenario.is_tame(request.fingerprint):
        return _failure_broken(request, database)
    return None


def _failure_broken(request: Request, database: Database) -> str | None:
    if request.number in database.effects_ever:
        return f"client {request.number} was told that it failed, and its effect is committed"
    if _in_doubt(request, database):
        return f"client {request.number} was told that it failed, and its COMMIT may still arrive"
    return None


def _success_broken(answer: Answer, request: Request, database: Database, scenario: Scenario) -> str | None:
    if answer.run not in database.answers_ever:
        return f"client {request.number} got an answer of run {answer.run} that is not stored"
    if database.flushed and answer.run not in database.flushed.answers_ever:
        return f"client {request.number} got an answer that a crash of the server may forget"
    if scenario.payloads[answer.run - 1] != request.fingerprint:
        return f"client {request.number} got the answer to another payload"
    return None


def _in_doubt(request: Request, database: Database) -> bool:
    return any(
        found.fate == IN_DOUBT and found.xid[0] == request.number and found.run is not None
        for found in database.transactions
    )


def broken_at_the_end(
    database: Database, answers: list[Answer], scenario: Scenario, misfortunes: tuple[int, ...]
) -> str | None:
    """What is broken when nothing can happen any more, these misfortunes having been spared."""
    row = database.row
    abandoned = row is not None and row.state == PROCESSING and not row.token
    if abandoned and database.effects:
        return f"run {database.effects[0]} has effects, and its record says {row}"
    lucky = misfortunes == scenario.misfortunes
    nobody_died = misfortunes[0] == scenario.crashes and misfortunes[2] == scenario.restarts
    if abandoned and (lucky or (scenario.patient and nobody_died)):
        return f"nobody died, and {row} was left behind"
    if lucky and scenario.happy:
        return _luck_wasted(row, answers, scenario)
    return None


def _luck_wasted(row: Row | None, answers: list[Answer], scenario: Scenario) -> str | None:
    if not any(answer.kind == FRESH for answer in answers):
        return "nothing failed, and yet nobody's view has run to its end"
    if not scenario.clock and row and row.answer != row.claim // 10:
        return f"nobody was slow, and yet the owner of {row} was robbed of its claim"
    return None


def broken_by_retry(answer: Answer, payload: str, scenario: Scenario) -> str | None:
    """What is broken when, all being over, the client tries once more and gets this."""
    if answer.kind in (FRESH, REPLAYED) or answer == EXPIRED:
        return None
    if answer == NOBODY_KNOWS and not scenario.is_tame(payload):
        return None
    return f"when all was over, a retry got {answer}"
