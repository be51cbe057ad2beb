"""The figures of docs/explanation/scale.md: the page shows what is computed, and what is computed is what happens."""

from pathlib import Path

import pytest

from benchmarks.scale import RATES, RETENTION, TOMBSTONE, needs, simulated, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "scale.md"


def test_the_page_shows_the_table_that_is_computed():
    assert table() in PAGE.read_text()


@pytest.mark.parametrize("rate", RATES)
def test_hour_by_hour_a_site_comes_to_what_was_computed(rate):
    rows, stored, purging = simulated(rate, RETENTION + TOMBSTONE + 1)
    expected = needs(rate)
    assert (rows, stored, purging) == pytest.approx((expected.rows, expected.stored, expected.purging))


def test_from_then_on_it_neither_grows_nor_shrinks():
    life = RETENTION + TOMBSTONE + 1
    assert simulated(10, life) == simulated(10, 3 * life)


def test_before_that_it_has_less_to_hold_and_nothing_to_delete():
    rows, _, purging = simulated(10, RETENTION)
    assert rows == needs(10).rows * RETENTION / (RETENTION + TOMBSTONE)
    assert purging == 0
