"""The body of a request as its view sees it, for the fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, RawPostDataException, UnreadablePostError
from django.http.multipartparser import MultiPartParserError

from .core import fingerprints
from .core.keys import length_prefixed
from .core.policies import Policy
from .exceptions import BodyInvalid, BodyTooLarge

Parts = tuple[bytes, ...]

KEY_FIELD = "idempotency_key"
"""The field of a form that carries its key where there is no header."""
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def media_type(request: HttpRequest) -> str:
    return str(request.META.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()


def is_json(media: str) -> bool:
    return media == "application/json" or media.endswith("+json")


def refuse_too_large(request: HttpRequest, policy: Policy) -> None:
    """Raises BodyTooLarge before anything of the body is read."""
    length = announced_length(request)
    if policy.max_request is not None and length > policy.max_request:
        raise BodyTooLarge


def announced_length(request: HttpRequest) -> int:
    """The length that the client announced, in bytes. Raises BodyInvalid where it is no number: Django would fail."""
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError as exc:
        raise BodyInvalid("The Content-Length is not a number of bytes.") from exc


TOO_LARGE = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)
INVALID = (MultiPartParserError, UnreadablePostError, RawPostDataException, RecursionError)


class Reading:
    """Says what went wrong in reading a body: BodyTooLarge or BodyInvalid. A generator would take as long as the reading."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, TOO_LARGE):
            raise BodyTooLarge from exc
        if isinstance(exc, INVALID):
            raise BodyInvalid from exc


def reading() -> Reading:
    return Reading()


def bounded(body: bytes, policy: Policy) -> bytes:
    """The body; BodyTooLarge where it is larger than allowed, though its length was not announced."""
    if policy.max_request is not None and len(body) > policy.max_request:
        raise BodyTooLarge
    return body


def form_values(request: HttpRequest, policy: Policy) -> list[str]:
    """What a posted form has in the field for the key. Raises BodyInvalid and BodyTooLarge."""
    media = media_type(request)
    if request.method != "POST" or media not in FORMS or (media == FORMS[1] and callable(policy.fingerprint)):
        # A multipart form of a view with a fingerprint of its own is left to the view: it may want to set upload handlers.
        return []
    refuse_too_large(request, policy)
    with reading():
        return request.POST.getlist(KEY_FIELD)


def body_part(request: HttpRequest, policy: Policy, key: str = "") -> Parts:
    """The body's part of the fingerprint, without a form's field with the key. Raises BodyInvalid and BodyTooLarge."""
    refuse_too_large(request, policy)
    media = media_type(request)
    with reading():
        # Django parses a form that was posted; of another method's it leaves the bytes to the view.
        if media == FORMS[1] and request.method == "POST":
            return form_part(without_key([*request.POST.lists(), *request.FILES.lists()], key))
        body = bounded(request.body, policy)
    if is_json(media) and body:
        return json_part(request, body, policy)
    return bytes_part(request, without_pair(request, body, key))


def without_key(lists: Iterable[tuple[str, list[Any]]], key: str) -> list[tuple[str, list[Any]]]:
    """A form's fields without the one that carries the key: a retry may send it in the header instead."""
    return [(name, values) for name, values in lists if name != KEY_FIELD or values != [key]]


def without_pair(request: HttpRequest, body: bytes, key: str) -> bytes:
    """The same for a form as it came."""
    if media_type(request) != FORMS[0]:
        return body
    pair = urlencode({KEY_FIELD: key}).encode()
    return b"&".join(found for found in body.split(b"&") if found != pair)


def with_key(body: bytes, key: str, other: str) -> bytes:
    """A posted form as it came, with another key in the field for it, if it is there."""
    pair, instead = (urlencode({KEY_FIELD: one}).encode() for one in (key, other))
    return b"&".join(instead if found == pair else found for found in body.split(b"&"))


def json_part(request: HttpRequest, body: bytes, policy: Policy) -> Parts:
    """JSON in its canonical form. Raises BodyInvalid where it is none."""
    ignored = () if callable(policy.fingerprint) else policy.fingerprint
    try:
        return (*json_kind(request), fingerprints.canonical_json(body, ignored))
    except (ValueError, RecursionError) as exc:
        raise BodyInvalid("The body is not the JSON that its content type promises.") from exc


def json_kind(request: HttpRequest) -> Parts:
    """What else decides how a view reads JSON: the media type, and a charset that is not UTF-8."""
    charset = (request.content_params or {}).get("charset", "utf-8").lower()
    return (b"json", media_type(request).encode(), charset.replace("utf8", "utf-8").encode())


def bytes_part(request: HttpRequest, body: bytes) -> Parts:
    kind = request.META.get("CONTENT_TYPE", "").strip().encode()
    # DRF's FileUploadParser takes the name of the file from this header.
    disposition = request.META.get("HTTP_CONTENT_DISPOSITION", "").strip().encode()
    return (b"file", kind, disposition, body) if disposition else (b"bytes", kind, body)


def form_part(lists: Iterable[tuple[str, list[Any]]]) -> Parts:
    """Fields and digests of files; neither the boundary nor the order of different names counts."""
    entries = sorted((name.encode(errors="surrogatepass"), list(_values(values))) for name, values in lists)
    return (b"form", length_prefixed(part for name, values in entries for part in (name, length_prefixed(values))))


def _values(values: Iterable[Any]) -> Iterator[bytes]:
    for value in values:
        if isinstance(value, UploadedFile):
            yield b"file" + length_prefixed(_file_parts(value))
        elif isinstance(value, Mapping):
            yield b"form" + length_prefixed(form_part((str(name), [one]) for name, one in value.items()))
        elif isinstance(value, list | tuple):
            yield b"list" + length_prefixed(_values(value))
        else:
            yield b"text" + str(value).encode(errors="surrogatepass")


def _file_parts(file: Any) -> Iterator[bytes]:
    yield (file.name or "").encode(errors="surrogatepass")
    yield (file.content_type or "").encode()
    file.seek(0)
    yield fingerprints.digest_chunks(file.chunks())
    file.seek(0)


def fits_memory(request: HttpRequest) -> bool:
    """Whether Django would hand out this body as bytes."""
    limit: Any = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return limit is None or announced_length(request) <= limit
