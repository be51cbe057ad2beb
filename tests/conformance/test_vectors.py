"""Each vector is well formed, is met by a right server, and is failed by a server that is wrong in its way."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from django_idempotency.conformance.catalogue import HOME, Vector, vectors
from django_idempotency.conformance.expectations import CHECKS
from django_idempotency.conformance.runner import Failed, run
from django_idempotency.conformance.wire import Server
from tests.conformance.reference import reference
from tests.conformance.wrong import serving

ALL = {vector.name for vector in vectors()}
SECTIONS = {"2.1", "2.2", "2.3", "2.4", "2.6", "2.7", "5"}
SLOW = '"milliseconds": 1000'

KEYS = {"key-badly-escaped", "key-empty", "key-empty-string", "key-list", "key-not-ascii", "key-repeated"}
KEYS |= {"key-too-long", "key-unterminated"}
MISSING = {"key-missing", "key-missing-is-documented", "problem-key-missing"}
REUSE = {name for name in ALL if name.startswith("reuse")} | {"parallel-reuse-is-a-mismatch", "problem-key-reused"}
EXPIRED = {"expiry-is-told", "expiry-wins-over-mismatch", "problem-key-expired"}
PARALLEL = {name for name in ALL if name.startswith("parallel")} | {"problem-in-flight"}
UNDONE = {name for name in ALL if name.startswith(("crash", "invalid"))}
REPLAYED = {name for name in ALL if name.startswith("replay")}

FAULTS = {
    "409 for everything": KEYS | MISSING | REUSE | EXPIRED | {"problem-key-invalid"},
    "bare refusals": {name for name in ALL if name.startswith("problem") or name.endswith("documented")}
    | {"parallel-says-when-to-come-again"},
    "bytes compared": {"replay-of-another-layout"},
    "everything kept": UNDONE,
    "expired is forgotten": EXPIRED,
    "first answer marked": {"crash-frees-the-key", "crash-is-not-replayed", "invalid-frees-the-key"}
    | {"expiry-of-the-key", "first-is-untouched", "key-ignored-by-safe-methods"}
    | {"scope-is-the-principal", "scope-mismatch-is-not-told"},
    "key not required": MISSING,
    "keys unread": KEYS | {"key-case", "key-quoted-and-bare", "problem-key-invalid"},
    "keys without owner": {"scope-is-the-principal", "scope-mismatch-is-not-told"},
    "no Retry-After": {"parallel-says-when-to-come-again"},
    "nothing compared": REUSE,
    "nothing undone": UNDONE,
    "only the body compared": {"reuse-on-another-path", "reuse-with-another-query"},
    "replay as it was": {"replay-has-no-cookie", "replay-is-marked", "replay-is-not-stored"},
    "replay with 200": REPLAYED
    | {
        "invalid-frees-the-key",
        "key-quoted-and-bare",
        "parallel-loser-gets-the-answer",
        "reuse-leaves-the-first-alone",
    },
    "replay without headers": {"replay-has-the-headers"},
    "run while running": PARALLEL,
    "safe methods claim": {"key-ignored-by-safe-methods"},
    "short keys": {"key-longest"},
}


def quick(vector: Vector) -> Vector:
    """Return the vector with less patience: this server is near."""
    return replace(vector, steps=json.loads(json.dumps(vector.steps).replace(SLOW, '"milliseconds": 300')))


def failed(vector: Vector, url: str) -> bool:
    try:
        run(quick(vector), Server(url))
    except Failed:
        return True
    return False


def failures(*faults: str) -> set[str]:
    """Return the vectors that a server with these faults fails."""
    with serving(reference(*faults)) as url, ThreadPoolExecutor(8) as pool:
        found = zip(vectors(), pool.map(lambda vector: failed(vector, url), vectors()), strict=True)
        return {vector.name for vector, bad in found if bad}


def steps_of(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        yield from steps_of(step.get("meanwhile", []))


class TestForm:
    def test_there_is_one_file_for_each(self) -> None:
        assert {path.name for path in HOME.iterdir()} == {f"{name}.json" for name in ALL}
        assert len(ALL) == 48

    @pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector.name)
    def test_it_is_well_formed(self, vector: Vector) -> None:
        assert re.fullmatch(r"[a-z0-9-]+", vector.name)
        assert vector.title[0].isupper() or vector.title[0].isdigit()
        assert vector.draft is None or vector.draft in SECTIONS
        expected: set[str] = set()
        for step in steps_of(vector.steps):
            for expectation in ("expect", "expect_one", "expect_others"):
                expected |= step.get(expectation, {}).keys()
            assert {"post", "get", "effects", "let"} & step.keys()
        assert expected - CHECKS.keys() == set()

    def test_the_titles_differ(self) -> None:
        assert len({vector.title for vector in vectors()}) == len(ALL)


class TestReference:
    def test_a_right_server_that_knows_nothing_of_django_meets_them_all(self) -> None:
        assert failures() == set()

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_server_with_a_fault_fails_what_is_about_it(self, fault: str) -> None:
        assert failures(fault) == FAULTS[fault]

    def test_there_is_no_vector_that_no_fault_fails(self) -> None:
        assert set().union(*FAULTS.values()) == ALL
