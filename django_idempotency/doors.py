"""How a key comes in: in the header, in a hidden field of a form, or by a callable of the view's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpRequest
from django.utils.encoding import escape_uri_path

from . import bodies
from .core import keys
from .core.engine import Snapshot
from .core.policies import Policy
from .exceptions import KeyInvalid, KeyMissing

logger = logging.getLogger("django_idempotency")

ACKNOWLEDGED = Snapshot(200, (), None)
"""The answer to a delivery whose first answer is no longer kept: its sender only wants to hear that it has arrived."""

# What reading an id out of a body of another shape than expected ends with.
_NOT_FOUND = (LookupError, ValueError, TypeError, AttributeError)


def from_header(header: str, policy: Policy) -> str:
    """The key in the header's value. Raises KeyInvalid."""
    return keys.parse_key(
        header, strict=policy.strict_keys, min_length=policy.min_key_length, uuid_only=policy.uuid_keys
    )


def from_form(values: Sequence[Any], policy: Policy) -> str | None:
    """The key among what a form has in its field; None without the field. Raises KeyInvalid."""
    if not values:
        return None
    if len(values) > 1 or not isinstance(values[0], str):
        raise KeyInvalid(f"Send one idempotency key: the form has its field {bodies.KEY_FIELD} more than once.")
    return keys.checked(values[0], min_length=policy.min_key_length, uuid_only=policy.uuid_keys)


def from_callable(take: Callable[[Any], str | None], request: Any) -> str | None:
    """
    The key that the view's callable takes from a request; None where it finds none.

    Raises KeyInvalid where it fails on the request, BodyInvalid and BodyTooLarge. STRICT_KEYS, MIN_KEY_LENGTH and
    UUID_KEYS do not hold here: whoever delivers events chooses their ids.
    """
    try:
        with bodies.reading():
            key: Any = take(request)
    except _NOT_FOUND as exc:
        # Without the exception's text, which may quote the body.
        logger.warning("%s found no key in a request: %s.", _name(take), type(exc).__name__)
        raise KeyInvalid("The request does not have its id where this endpoint looks for it.") from exc
    if key is None or key == "":
        return None
    if not isinstance(key, str):
        logger.warning("%s must return a text, not %s.", _name(take), type(key).__name__)
        raise KeyInvalid("The request's id is not a text.")
    return keys.checked(key)


def endpoint_scope(scope: str, request: HttpRequest) -> str:
    """
    The scope of ids that a sender chooses: one for each URL, since a sender delivers one event to each that asked for it.

    Nor does a client who sends such an id in the header, to another view, come near it.
    """
    return f"{scope}@{escape_uri_path(request.path)}"


def missing(policy: Policy) -> KeyMissing:
    """The error for a request without a key, which says where one belongs."""
    if policy.key:
        return KeyMissing("The request does not have the id that this endpoint takes for its idempotency key.")
    return KeyMissing(f"{KeyMissing().detail} The header is {policy.header}.")


def _name(take: Callable[..., Any]) -> str:
    return getattr(take, "__qualname__", type(take).__qualname__)
