"""The suite for adapters finds what is wrong with them."""

import pytest

from django_idempotency.gateways import Approved, Declined, Failed, Unknown
from django_idempotency.gateways.example import ExampleGateway
from django_idempotency.gateways.sending import Wire
from tests.gateways import test_adapters


class Optimist(ExampleGateway):
    """Takes what it cannot tell for a yes."""

    def charge(self, **given):
        result = super().charge(**given)
        money = {"amount": given["amount"], "currency": given["currency"]}
        return Approved(reference="ch_1", **money) if isinstance(result, Unknown) else result


class Pessimist(ExampleGateway):
    """Takes what it cannot tell for a no."""

    def charge(self, **given):
        result = super().charge(**given)
        return Declined() if isinstance(result, Unknown) else result


class Insistent(ExampleGateway):
    """Sends again on its own."""

    def charge(self, **given):
        result = super().charge(**given)
        return super().charge(**given) if isinstance(result, Unknown) else result


class Rekeyed(ExampleGateway):
    """Makes keys of its own."""

    def charge(self, *, idempotency_key, **given):
        return super().charge(idempotency_key=f"my-{idempotency_key[:8]}", **given)


class Blind(ExampleGateway):
    """Finds nothing where it cannot look."""

    def find(self, **given):
        found = super().find(**given)
        return None if isinstance(found, Unknown) else found


class Quitter(ExampleGateway):
    """Takes a connection that could not be made for the end."""

    def charge(self, **given):
        result = super().charge(**given)
        return Failed(reason=result.reason) if isinstance(result, Failed) else result


class Endless(ExampleGateway):
    """Does not look at the time."""

    def __init__(self, url, *, timeout, client):
        super().__init__(url, timeout=60, client=client)


def passes(adapter, test):
    """Whether this adapter passes this test of the suite."""

    class Suite(test_adapters.TestExample):
        def gateway(self, url, client):
            return adapter(url, timeout=0.5, client=client)

    try:
        getattr(Suite(), test)()
    except (AssertionError, IndexError):
        # IndexError: more was asked than was recorded.
        return False
    return True


@pytest.mark.parametrize(
    ("adapter", "found"),
    [
        (Optimist, "test_a_status_that_nobody_knows_is_unknown"),
        (Optimist, "test_another_amount_than_was_asked_for_is_unknown_with_the_reference"),
        (Pessimist, "test_an_answer_that_is_lost_is_unknown_and_sends_nothing_again"),
        (Insistent, "test_a_server_error_is_unknown_and_sends_nothing_again"),
        (Rekeyed, "test_the_key_goes_with_the_charge"),
        (Blind, "test_a_look_up_that_fails_is_unknown"),
        (Quitter, "test_without_a_connection_nothing_was_done"),
        (Endless, "test_an_answer_that_drips_is_unknown_in_time"),
    ],
)
def test_the_suite_tells_a_wrong_adapter_from_a_right_one(adapter, found):
    assert passes(ExampleGateway, found)
    assert not passes(adapter, found)


def test_a_wire_of_its_own_is_made_where_no_client_is_given():
    with Wire.to("http://gateway.test", headers={}, timeout=1, client=None).client as client:
        assert client.follow_redirects is False
