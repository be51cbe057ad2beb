"""The request that a record or an incident has kept, as a request again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.urls import get_script_prefix
from django.utils.translation import gettext as _

from ..bodies import FORMS, with_key
from ..core.policies import Policy
from ..encryption import KeyLost, opened
from ..stored_requests import HEADERS
from .acts import Row
from .refusals import Unreadable, WrongState

OF_REQUEST = ("request_headers", "request_body", "request_whole", "request_key_id")
# Of no network that anybody trusts: a view that lets this machine in does not let the staff in.
NOWHERE = "0.0.0.0"  # noqa: S104


def refuse_incomplete(row: Row) -> None:
    """Raises WrongState where what is stored is not all that the client has sent."""
    if row["request_whole"]:
        return
    if not row["request_headers"] and row["request_body"] is None:
        raise WrongState(_("Its request is not stored, or was erased. Only the client can send it again."))
    if "multipart/" in row["request_headers"]:
        raise WrongState(
            _("It is a multipart form, which is not stored as it came. Only the client can send it again.")
        )
    raise WrongState(
        _(
            "Its request is not stored as it came: parts are masked, were too large or are no text. Only the client can "
            "send it again. With ENCRYPTION_KEYS, nothing is masked but what must never be stored."
        )
    )


def path_info(row: Row) -> tuple[str, str]:
    """What the application is mounted under, and the rest of the path without its query, as WSGI has them."""
    path, prefix = row["path"].partition("?")[0], get_script_prefix()
    mounted = prefix[:-1] if path.startswith(prefix) else ""
    return mounted, unquote_to_bytes(path[len(mounted) :]).decode("iso-8859-1")


def environ(row: Row, key: str, policies: Iterable[Policy]) -> dict[str, Any]:
    """The request as a server would hand it over, with its key in the header. Raises Unreadable."""
    policies = list(policies)
    body = _body(row, policies)
    mounted, path = path_info(row)
    headers = dict(json.loads(row["request_headers"] or "[]"))
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() == FORMS[0]:
        # One whose field says another key would come out as another request.
        body = with_key(body, row["key"], key)
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return {
        "REQUEST_METHOD": row["method"],
        "SCRIPT_NAME": mounted,
        "PATH_INFO": path,
        "QUERY_STRING": row["path"].partition("?")[2],
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": next((host for host in settings.ALLOWED_HOSTS if host[:1] not in ("*", ".", "[")), "localhost"),
        "SERVER_PORT": "443" if _is_secure() else "80",
        "REMOTE_ADDR": NOWHERE,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "https" if _is_secure() else "http",
        "wsgi.input": BytesIO(body),
        **{place: headers[name] for name, place in HEADERS if name in headers},
        **{"HTTP_" + policy.header.upper().replace("-", "_"): quoted for policy in policies},
    }


def _is_secure() -> bool:
    """Whether clients came over TLS, as far as the settings tell."""
    return bool(settings.SECURE_SSL_REDIRECT or settings.SECURE_PROXY_SSL_HEADER)


def _body(row: Mapping[str, Any], policies: list[Policy]) -> bytes:
    keys = [key for policy in policies for key in policy.encryption_keys]
    stored = row["request_body"]
    try:
        return opened(None if stored is None else bytes(stored), row["request_key_id"], keys) or b""
    except KeyLost:
        raise Unreadable from None
