"""The reference says what the kit does."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from django_idempotency.conformance.catalogue import DRAFT, HOME, vectors
from django_idempotency.conformance.expectations import CHECKS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "conformance.md"

if not PAGE.exists():
    pytest.skip("the documentation is not beside the tests", allow_module_level=True)


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading of its first column."""
    table = PAGE.read_text().partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def members(value: Any) -> set[str]:
    return {name.strip("`") for row in value for name in row[0].split(", ")}


class TestReference:
    def test_the_vectors_are_told_with_their_sources(self) -> None:
        told = [tuple(row) for row in rows("vector")]
        assert told == [(f"`{each.name}`", each.title, each.draft or "", each.cites or "") for each in vectors()]
        assert DRAFT in PAGE.read_text()

    def test_the_members_of_a_step_are_told(self) -> None:
        files = [json.loads(path.read_text()) for path in HOME.iterdir()]
        steps = [step for file in files for step in file["steps"]]
        used = {
            name
            for step in [*steps, *(inner for step in steps for inner in step.get("meanwhile", []))]
            for name in step
        }
        explained = members(rows("member of a step")) | {"expect_one", "expect_others", "of"}
        assert used == explained

    def test_the_members_of_an_expectation_are_told(self) -> None:
        assert members(rows("member of `expect`")) == set(CHECKS)

    def test_the_example_of_the_format_is_the_file(self) -> None:
        (example,) = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        assert example == (HOME / "replay-is-the-first-answer.json").read_text()

    def test_the_number_of_vectors_is_told(self) -> None:
        assert f"1..{len(vectors())}\n" in PAGE.read_text()
        assert f"# {len(vectors())} passed, 0 failed, 0 skipped\n" in PAGE.read_text()
