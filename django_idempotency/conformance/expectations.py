"""What a vector expects of an answer, and what to say when it is not so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from .wire import Answer

Answers = Mapping[str, Answer]
"""Earlier answers of the same vector, by the names that its steps gave them."""


def faults(expected: Mapping[str, Any], answer: Answer, earlier: Answers) -> list[str]:
    """What is wrong with an answer, a sentence each. Raises KeyError for an expectation that nobody knows."""
    return [fault for name, value in expected.items() for fault in CHECKS[name](value, answer, earlier)]


def _status(expected: int, answer: Answer, earlier: Answers) -> Iterator[str]:
    if answer.status != expected:
        yield f"the status is not {expected}: {answer}"


def _same_as(name: str, answer: Answer, earlier: Answers) -> Iterator[str]:
    first = earlier[name]
    if (answer.status, answer.body) != (first.status, first.body):
        yield f"status and body are not those of the {name} answer: {answer} after {first}"


def _new_since(name: str, answer: Answer, earlier: Answers) -> Iterator[str]:
    if answer.body == earlier[name].body:
        yield f"the body is that of the {name} answer, which is another request's: {answer}"


def _same_headers(names: list[str], answer: Answer, earlier: Answers) -> Iterator[str]:
    for name in names:
        value, first = answer.headers.get(name.lower()), earlier["first"].headers.get(name.lower())
        if value is None or value != first:
            yield f"{name} is {value!r} and was {first!r}"


def _headers(expected: Mapping[str, str | None], answer: Answer, earlier: Answers) -> Iterator[str]:
    for name, value in expected.items():
        found = answer.headers.get(name.lower())
        if found != value:
            yield f"{name} is {found!r}, not {value!r}"


def _retry_after(expected: bool, answer: Answer, earlier: Answers) -> Iterator[str]:
    found = answer.headers.get("retry-after")
    if expected and not re.fullmatch(r"[1-9]\d*", found or ""):
        yield f"Retry-After is {found!r}, not a whole number of seconds, 1 or more"


def _documented(expected: bool, answer: Answer, earlier: Answers) -> Iterator[str]:
    document = answer.json()
    link = urlsplit(str(document.get("type", ""))) if isinstance(document, dict) else urlsplit("")
    if expected and not link.netloc and not answer.headers.get("link"):
        yield f"nothing leads to documentation, neither Link nor the type of a problem document: {answer}"


def _problem(expected: Mapping[str, Any], answer: Answer, earlier: Answers) -> Iterator[str]:
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind != "application/problem+json":
        yield f"Content-Type is {kind!r}, not 'application/problem+json'"
    document = answer.json()
    if not isinstance(document, dict):
        yield f"the body is no JSON object: {answer}"
        return
    for name, value in {**expected, "status": answer.status}.items():
        if document.get(name) != value:
            yield f"{name} is {document.get(name)!r} in the problem document, not {value!r}"
    for name in ("type", "title", "detail"):
        if not document.get(name):
            yield f"the problem document has no {name}"


CHECKS: dict[str, Callable[[Any, Answer, Answers], Iterator[str]]] = {
    "status": _status,
    "same_as": _same_as,
    "new_since": _new_since,
    "same_headers": _same_headers,
    "headers": _headers,
    "retry_after": _retry_after,
    "documented": _documented,
    "problem": _problem,
}
