"""What is kept by its status, and that a policy cannot be changed under a running view."""

import dataclasses

import pytest

from django_idempotency.core.policies import Policy
from django_idempotency.core.states import State

NOT_KEPT = [400, 401, 403, 405, 406, 408, 409, 413, 415, 425, 429, 500, 502, 503, 599]
KEPT = [200, 201, 202, 204, 301, 302, 303, 304, 402, 404, 407, 410, 412, 414, 418, 422, 423, 424, 451, 499]


@pytest.mark.parametrize("status", KEPT)
def test_an_outcome_is_kept(status):
    assert Policy().keeps_status(status)


@pytest.mark.parametrize("status", NOT_KEPT)
def test_not_now_and_not_like_this_are_not_kept(status):
    assert not Policy().keeps_status(status)


def test_every_status_is_named_in_one_of_the_lists_above_or_follows_its_class():
    kept = {status for status in range(200, 600) if Policy().keeps_status(status)}
    assert set(range(200, 600)) - kept == {*NOT_KEPT, *range(500, 600)}


def test_a_policy_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Policy().required = False


def test_the_names_of_the_states_are_those_of_the_stored_records():
    assert [state.value for state in State] == ["processing", "completed", "tombstone", "unknown"]
