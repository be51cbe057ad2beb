"""How large the next batch is, and how long the purge rests before it."""

import pytest

from django_idempotency.maintenance.pace import (
    ALONE,
    BESIDE_OTHERS,
    FIRST,
    LEAST,
    LONGEST_REST,
    REST,
    Pace,
)

MOST = 10_000


def paced(size: int, most: int = MOST) -> Pace:
    return Pace(most=most, size=size)


class TestSize:
    def test_the_first_batch_is_a_guess_within_what_is_allowed(self):
        assert [Pace.of(most).size for most in (1, FIRST, MOST)] == [1, FIRST, FIRST]

    def test_quick_batches_grow_to_twice_their_size_at_most(self):
        assert paced(1000).after(1000, ALONE / 100, beside_others=False).size == 2000

    def test_none_is_larger_than_allowed(self):
        assert paced(900, most=1000).after(900, 0.0, beside_others=False).size == 1000

    def test_a_slow_batch_is_followed_at_once_by_one_that_fits(self):
        assert paced(10_000).after(10_000, 10 * ALONE, beside_others=False).size == 1000

    def test_beside_others_what_fits_is_less(self):
        taken = 4 * BESIDE_OTHERS
        assert paced(4000).after(4000, taken, beside_others=True).size == 1000
        assert paced(4000).after(4000, taken, beside_others=False).size > 4000

    def test_it_goes_by_what_was_done_and_not_by_what_was_allowed(self):
        assert paced(10_000).after(100, ALONE, beside_others=False).size == 100

    @pytest.mark.parametrize(("most", "least"), [(MOST, LEAST), (7, 7)])
    def test_a_batch_is_never_so_small_that_nothing_comes_of_it(self, most, least):
        assert paced(min(1000, most), most).after(1, 60.0, beside_others=True).size == least

    def test_a_batch_that_did_nothing_says_nothing(self):
        assert paced(300).after(0, 5.0, beside_others=False).size == 300


class TestRest:
    def test_nobody_is_made_way_for_where_nobody_is(self):
        assert paced(1000).after(1000, 5.0, beside_others=False).rest == 0

    def test_beside_others_the_rest_is_in_proportion_to_the_work(self):
        rests = [paced(1000).after(1000, seconds, beside_others=True).rest for seconds in (0.01, 0.1)]
        assert rests == pytest.approx([0.01 * REST, 0.1 * REST])

    def test_others_have_the_database_for_most_of_the_time(self):
        assert 1 / (1 + REST) <= 0.25

    def test_no_rest_is_long(self):
        assert paced(1000).after(1000, 60.0, beside_others=True).rest == LONGEST_REST

    def test_a_batch_that_did_nothing_is_followed_by_a_rest_all_the_same(self):
        assert paced(1000).after(0, 0.1, beside_others=True).rest == pytest.approx(0.1 * REST)

    def test_it_ends_when_the_others_are_gone(self):
        busy = paced(1000).after(1000, 0.1, beside_others=True)
        assert busy.after(50, 0.001, beside_others=False).rest == 0
