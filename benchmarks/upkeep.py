"""How fast the purge is, and what requests notice of it."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.databases import ask
from benchmarks.growth import milliseconds
from benchmarks.latency import Misbehaviour, Timing, timing
from benchmarks.records import TABLE, answered_key, copy_record, settle
from benchmarks.variants import LARGE

YESTERDAY = "statement_timestamp() - interval '1 day'"
QUIET_REQUESTS = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    step: str
    rows: int
    seconds: float
    meanwhile: Timing
    requests: int

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    quiet: Timing
    purges: list[Purge]


def keep_up(rows: int, say: Callable[[str], None]) -> Upkeep:
    """Purges that many answers, then that many tombstones, while requests go on."""
    say(f"{rows:,} expired answers to shrink, with requests going on")
    expire_answers(rows)
    quiet = timing([milliseconds(LARGE.client, str(uuid.uuid4())) for _ in range(QUIET_REQUESTS)])
    shrunk = purge_meanwhile("shrinking answers to tombstones", rows)
    say(f"{rows:,} tombstones to delete, with requests going on")
    forget_tombstones(rows)
    deleted = purge_meanwhile("deleting tombstones", rows)
    return Upkeep(quiet=quiet, purges=[shrunk, deleted])


def expire_answers(rows: int) -> None:
    copy_record("large", rows, answered_key(LARGE), overrides={"expires_at": YESTERDAY})
    settle("large")


def forget_tombstones(rows: int) -> None:
    tombstone = ask("large", f"SELECT key FROM {TABLE} WHERE state = 'tombstone' LIMIT 1")
    copy_record("large", rows, tombstone, overrides={"expires_at": YESTERDAY, "forget_at": YESTERDAY})
    settle("large")


def purge_meanwhile(step: str, rows: int) -> Purge:
    """The purge runs in a process of its own, as from cron; the requests come as fast as one client can send them."""
    command = [sys.executable, "-m", "benchmarks.purging", "large"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as purging:
        purging.stdout.readline()
        purging.stdin.write("go\n")
        purging.stdin.flush()
        samples = []
        while purging.poll() is None:
            samples.append(milliseconds(LARGE.client, str(uuid.uuid4())))
        told = purging.stdout.read().split()
    if purging.returncode or int(told[1]) < rows:
        raise Misbehaviour(f"{step}: seconds and rows {told} of {rows}, exit status {purging.returncode}")
    return Purge(step=step, rows=int(told[1]), seconds=float(told[0]), meanwhile=timing(samples), requests=len(samples))
