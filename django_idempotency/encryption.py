"""
Stored requests and answers under the keys of ENCRYPTION_KEYS, the newest first. The only module that imports cryptography.

Each encrypted value is stored with the id of its key, so that a key can be told to be in use, and a lost one to be lost.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from functools import lru_cache

from .exceptions import StoreUnavailable

logger = logging.getLogger("django_idempotency")


class KeyLost(Exception):
    """A stored value cannot be decrypted: its key is not in ENCRYPTION_KEYS, or somebody has changed the value."""


class Vault:
    """Encrypts under the newest key and decrypts under any. Raises ValueError for what is no Fernet key."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        from cryptography.fernet import Fernet, MultiFernet

        self._fernets = MultiFernet([Fernet(key) for key in keys])
        self._ids = frozenset(map(key_id, keys))
        self.newest = key_id(keys[0])
        """The id of the key under which everything new is encrypted."""

    def encrypted(self, value: bytes) -> bytes:
        return self._fernets.encrypt(value)

    def decrypted(self, value: bytes, under: str) -> bytes:
        """The value that was encrypted under the key of this id. Raises KeyLost."""
        from cryptography.fernet import InvalidToken

        if under not in self._ids:
            raise KeyLost
        try:
            return self._fernets.decrypt(value)
        except InvalidToken as exc:
            raise KeyLost from exc


def key_id(key: str) -> str:
    """Names a key without giving anything of it away."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


@lru_cache(maxsize=16)
def vault(keys: tuple[str, ...]) -> Vault:
    return Vault(keys)


def sealed(value: bytes | None, keys: Sequence[str]) -> tuple[bytes | None, str]:
    """A value as it is stored, and the id of its key: encrypted where there are keys, else as it is."""
    if value is None or not keys:
        return value, ""
    safe = vault(tuple(keys))
    return safe.encrypted(value), safe.newest


def opened(value: bytes | None, under: str, keys: Sequence[str]) -> bytes | None:
    """A stored value as it was. Raises KeyLost."""
    if value is None or not under:
        return value
    if not keys:
        raise KeyLost
    return vault(tuple(keys)).decrypted(value, under)


def answer_body(value: bytes | None, under: str, keys: Sequence[str]) -> bytes | None:
    """The body of a stored answer, for a replay. Raises StoreUnavailable where it cannot be read: never a wrong answer."""
    try:
        return opened(value, under, keys)
    except KeyLost:
        # Without the traceback, and out of this block: what collects errors shows the variables of each frame, and
        # these frames have the keys.
        keys = ()
        logger.error(  # noqa: TRY400
            "A stored answer cannot be read: key %s is not in ENCRYPTION_KEYS, or its bytes were changed.", under
        )
    raise StoreUnavailable(
        "The answer to this request is stored and cannot be read right now. Send the same request again later."
    )


def faults(keys: Sequence[str]) -> list[tuple[str, str]]:
    """What is wrong with the keys, and the system check that says so. Never shows one."""
    try:
        from cryptography.fernet import Fernet
    except ImportError:
        return [("E013", "cryptography is not installed: pip install django-idempotency[encryption].")] if keys else []
    found = []
    for place, key in enumerate(keys):
        try:
            Fernet(key)
        except ValueError:
            found.append(("E012", f"entry {place} is no Fernet key. Make one with Fernet.generate_key()."))
    return found
