"""
The wire conformance kit: does a server, in whatever language, answer as docs/reference/answers.md says?

    python -m django_idempotency.conformance http://127.0.0.1:8000/fixtures

It needs nothing but the standard library, and nothing of the rest of this package.
"""
