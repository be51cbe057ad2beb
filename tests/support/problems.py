"""Problem documents, RFC 9457."""

from httpx import Response


def problem(answer: Response, status: int, code: str, *, retryable: bool) -> dict[str, object]:
    """Check a problem document and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document: dict[str, object] = answer.json()
    assert (document["status"], document["code"], document["retryable"]) == (status, code, retryable)
    assert document["title"]
    assert document["detail"]
    assert str(document["type"]).endswith(code)
    assert "Idempotent-Replayed" not in answer.headers
    return document
