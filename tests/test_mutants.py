"""Every mutant still fits the code that it changes: to find out in the run of all of them would come late."""

import pytest

from tests.mutants.__main__ import AREAS, ROOT, Mutant


@pytest.mark.parametrize(
    "mutant", [mutant for area in AREAS.values() for mutant in area], ids=lambda mutant: mutant.name
)
def test_what_it_changes_is_there_once(mutant: Mutant) -> None:
    sources: dict[str, str] = {}
    for edit in mutant.edits:
        source = sources.get(edit.path) or (ROOT / edit.path).read_text()
        assert source.count(edit.old) == 1
        sources[edit.path] = source.replace(edit.old, edit.new)
