"""Schemathesis believes the schema, sends what it allows and what it does not, and checks every answer against it."""

import uuid

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.support import services
from tests.support.live import Live, Servers

FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "django_idempotency.openapi.IdempotentAutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
}

BOUNDED = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(params=services.chosen_databases())
def shop(request: pytest.FixtureRequest, servers: Servers) -> Live:
    """A server with a payments API and its schema."""
    return servers.get(request.param, ROOT_URLCONF="tests.openapi.shop", REST_FRAMEWORK=FRAMEWORK)


@pytest.fixture
def operation(shop: Live):
    """The protected operation as schemathesis reads it."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{shop.client.port}/schema")
    return schema["/payments"]["POST"]


def test_what_the_schema_allows_is_accepted_and_answered_as_it_says(operation):
    seen = set()

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE))
    def send(case):
        # A key that is drawn again with another body is refused, which this check cannot know.
        answer = case.call_and_validate(excluded_checks=[positive_data_acceptance])
        seen.add((answer.status_code, answer.json().get("code")))

    send()
    assert (201, None) in seen
    assert seen <= {(201, None), (422, "key-reused")}


def test_what_the_schema_forbids_is_refused_as_it_says(operation):
    seen = set()

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    def send(case):
        answer = case.call_and_validate()
        seen.add((answer.status_code, answer.headers.get("content-type")[0]))

    send()
    assert {(400, "application/json"), (400, "application/problem+json")} <= seen


def test_a_retry_is_answered_as_the_schema_says(operation):
    sent = {"headers": {"Idempotency-Key": str(uuid.uuid4())}, "media_type": "application/json"}
    answers = [operation.Case(body={"amount": amount}, **sent).call_and_validate() for amount in (5, 5, 6)]
    assert [answer.status_code for answer in answers] == [201, 201, 422]
    assert answers[0].content == answers[1].content
