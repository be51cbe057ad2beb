"""The rules of idempotent requests, free of HTTP and of any database."""
