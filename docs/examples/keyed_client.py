from uuid import uuid4

from django.test import Client


class KeyedClient(Client):
    """Sends a fresh key with every request that names none itself."""

    def generic(self, method, path, *args, headers=None, **kwargs):
        headers = {"Idempotency-Key": str(uuid4()), **(headers or {})}
        return super().generic(method, path, *args, headers=headers, **kwargs)
