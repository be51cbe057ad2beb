import os

IDEMPOTENCY = {
    "default": {
        # The newest first.
        "ENCRYPTION_KEYS": os.environ.get("IDEMPOTENCY_KEYS", "").split(),
    },
}
