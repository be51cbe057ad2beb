"""What the schema says of protected operations, in every order of decorators, and of those beside them."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_idempotency.core import keys
from django_idempotency.core.policies import Policy
from django_idempotency.exceptions import KeyInvalid
from tests.openapi import views

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = {400, 409, 412, 422, 503}
PROTECTED = [
    *("post /above", "post /below", "post /wrapped", "post /named", "post /function", "put /function"),
    *("post /function/below", "post /actions/above/", "delete /actions/above/", "post /actions/below/"),
    *(
        "post /assigned/",
        "post /described/",
        "put /models/{id}/",
        "patch /models/{id}/",
        "post /created",
        "post /posted",
    ),
    *("post /event", "post /optional", "post /errors", "post /header", "post /tagged"),
]


OURS, BARE = "django_idempotency.openapi.IdempotentAutoSchema", "drf_spectacular.openapi.AutoSchema"


@cache
def made(schema_class=OURS):
    """The valid schema that drf-spectacular's own command makes in a project of its own, and what it complains of."""
    command = [sys.executable, "-m", "django", "spectacular", "--validate", "--format=openapi-json"]
    names = {"DJANGO_SETTINGS_MODULE": "tests.openapi.settings", "SCHEMA_CLASS": schema_class, "PYTHONPATH": str(ROOT)}
    # A schema needs no database, but Django's checks may ask one for its version: SQLite is always there.
    names["IDEMPOTENCY_TEST_DB"] = "sqlite"
    done = subprocess.run(command, env=os.environ | names, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture
def schema():
    return made()[0]


@pytest.fixture
def bare():
    """The same without us."""
    return made(BARE)[0]


def operations(schema):
    return {f"{method} {path}": found for path, methods in schema["paths"].items() for method, found in methods.items()}


def headers(operation):
    return [found for found in operation.get("parameters", []) if found["in"] == "header"]


def problems(operation):
    """The answers that are told to be problem documents."""
    answers = operation["responses"].items()
    return {int(status) for status, answer in answers if "application/problem+json" in answer.get("content", {})}


class TestOperations:
    def test_exactly_the_protected_operations_say_so(self, schema):
        found = {name for name, operation in operations(schema).items() if "409" in operation["responses"]}
        assert found == set(PROTECTED)

    @pytest.mark.parametrize(
        "name", [name for name in PROTECTED if name.split("/")[1] not in {"event", "optional", "errors"}]
    )
    def test_a_protected_operation_has_the_header_and_the_answers(self, schema, name):
        operation = operations(schema)[name]
        (header,) = headers(operation)
        assert header["name"].lower() == "idempotency-key"
        assert problems(operation) == ANSWERS
        assert operation["responses"]["409"]["headers"].keys() == {"Retry-After"}

    def test_the_other_operations_are_as_they_would_be_without_us(self, schema, bare):
        theirs, ours = operations(bare), operations(schema)
        assert theirs.keys() == ours.keys()
        assert {name for name in ours if ours[name] != theirs[name]} == {*PROTECTED} - {"post /tagged"}

    @pytest.mark.parametrize("name", PROTECTED)
    def test_what_extend_schema_says_stays(self, schema, bare, name):
        theirs, ours = operations(bare)[name], operations(schema)[name]
        for part in ("summary", "requestBody", "operationId"):
            assert ours.get(part) == theirs.get(part)
        for status, answer in theirs["responses"].items():
            assert ours["responses"][status].get("content", {}).items() >= answer.get("content", {}).items()

    def test_an_operation_written_by_hand_is_left_alone(self, schema):
        assert operations(schema)["post /byhand"] == views.BY_HAND

    def test_the_mixin_goes_in_front_of_a_schema_class_of_the_projects_own(self, schema):
        assert operations(schema)["post /tagged"]["tags"] == ["ours"]


class TestPolicies:
    def test_the_header_is_that_of_the_profile_and_required_where_the_view_requires_a_key(self, schema):
        (required,), (optional,) = (headers(operations(schema)[f"post /{name}"]) for name in ("above", "optional"))
        assert (required["name"], required["required"]) == ("Idempotency-Key", True)
        # The schema leaves out what is false.
        assert (optional["name"], optional.get("required", False)) == ("X-Key", False)

    def test_an_endpoint_with_a_key_of_its_own_has_no_header_and_is_never_reused_or_expired(self, schema):
        operation = operations(schema)["post /event"]
        assert headers(operation) == []
        assert problems(operation) == {400, 409, 503}
        assert not {"412", "422"} & operation["responses"].keys()

    def test_an_answer_that_is_described_already_gets_one_more_media_type(self, schema):
        answer = operations(schema)["post /optional"]["responses"]["400"]
        assert answer["content"].keys() == {"application/json", "application/problem+json"}

    def test_errors_in_a_shape_of_the_projects_own_are_described_without_one(self, schema):
        operation = operations(schema)["post /errors"]
        assert problems(operation) == set()
        assert "`in-flight`" in operation["responses"]["409"]["description"]
        assert headers(operation)

    def test_a_header_that_is_described_already_is_not_described_twice(self, schema):
        (header,) = headers(operations(schema)["post /header"])
        assert header["description"] == "Ours"

    def test_the_problem_is_one_component(self, schema):
        problem = schema["components"]["schemas"]["IdempotencyProblem"]
        assert set(problem["required"]) == {"type", "title", "status", "detail", "code", "retryable"}
        content = operations(schema)["post /above"]["responses"]["422"]["content"]["application/problem+json"]
        assert content["schema"] == {"$ref": "#/components/schemas/IdempotencyProblem"}

    def test_each_answer_names_its_codes(self, schema):
        answers = operations(schema)["post /above"]["responses"]
        named = {status: set(re.findall(r"`([a-z-]+)`", answers[str(status)]["description"])) for status in ANSWERS}
        assert named == {
            400: {"key-missing", "key-invalid", "body-invalid"},
            409: {"in-flight", "outcome-unknown"},
            412: {"key-expired"},
            422: {"key-reused"},
            503: {"scope-unavailable", "store-unavailable"},
        }


class TestLimits:
    def test_a_limit_of_keys_is_one_answer_more(self):
        openapi = pytest.importorskip("django_idempotency.openapi")
        assert set(openapi.statuses(Policy(max_live_keys=5))) == {*ANSWERS, 429} == {*openapi.statuses(Policy()), 429}
        assert openapi.described(429) == "- `too-many-keys`: Too many idempotency keys are in use"


class TestValidity:
    def test_the_command_finds_the_schema_valid_and_has_nothing_more_to_complain_of_than_without_us(self):
        assert made()[1] == made(BARE)[1]

    @pytest.mark.parametrize(
        "rules", [{}, {"strict": True}, {"min_length": 20}, {"uuid_only": True, "strict": True}], ids=str
    )
    def test_whatever_matches_the_headers_pattern_is_a_key(self, rules):
        pattern = keys.pattern(**rules)

        @given(st.from_regex(pattern.replace("$", r"\Z"), alphabet=st.characters(codec="ascii")))
        def check(header):
            assert keys.parse_key(header, **rules)

        check()

    @given(st.text(st.characters(codec="ascii"), max_size=8), st.booleans())
    def test_what_does_not_match_it_is_none(self, header, strict):
        matched = re.fullmatch(keys.pattern(strict=strict), header) is not None
        try:
            keys.parse_key(header, strict=strict)
        except KeyInvalid:
            assert not matched
        else:
            # A quoted string may have parameters and space round it, which no client needs.
            assert matched or ";" in header or header != header.strip(" ")


def test_the_demos_schema_is_made_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "testproject", "spectacular", "--validate", "--fail-on-warn"]
    names = {"TESTPROJECT_DATA": str(tmp_path), "DJANGO_SETTINGS_MODULE": "testproject.settings"}
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | names, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("name: Idempotency-Key") == 2
