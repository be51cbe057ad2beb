"""The body of a request as its view sees it, for the fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

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


def media_type(request: HttpRequest) -> str:
    return str(request.META.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()


def is_json(media: str) -> bool:
    return media == "application/json" or media.endswith("+json")


def refuse_too_large(request: HttpRequest, policy: Policy) -> None:
    """Raises BodyTooLarge before anything of the body is read."""
    announced = request.META.get("CONTENT_LENGTH") or "0"
    if policy.max_request is not None and announced.isdecimal() and int(announced) > policy.max_request:
        raise BodyTooLarge


@contextmanager
def reading() -> Iterator[None]:
    """Say what went wrong in reading a body: BodyTooLarge or BodyInvalid."""
    try:
        yield
    except (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent) as exc:
        raise BodyTooLarge from exc
    except (MultiPartParserError, UnreadablePostError, RawPostDataException, RecursionError) as exc:
        raise BodyInvalid from exc


def bounded(body: bytes, policy: Policy) -> bytes:
    """The body; BodyTooLarge where it is larger than allowed, though its length was not announced."""
    if policy.max_request is not None and len(body) > policy.max_request:
        raise BodyTooLarge
    return body


def body_part(request: HttpRequest, policy: Policy) -> Parts:
    """The body's part of the fingerprint. Raises BodyInvalid and BodyTooLarge."""
    refuse_too_large(request, policy)
    media = media_type(request)
    with reading():
        # Django parses a form that was posted; of another method's it leaves the bytes to the view.
        if media == "multipart/form-data" and request.method == "POST":
            return form_part([*request.POST.lists(), *request.FILES.lists()])
        body = bounded(request.body, policy)
    if is_json(media) and body:
        return json_part(request, body, policy)
    return bytes_part(request, body)


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
    return (b"bytes", request.META.get("CONTENT_TYPE", "").strip().encode(), body)


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
    announced = request.META.get("CONTENT_LENGTH") or "0"
    return limit is None or (announced.isdecimal() and int(announced) <= limit)
