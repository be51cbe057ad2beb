"""What is stored of a request for the staff: its parts, masked or encrypted, and the money it is about."""

from __future__ import annotations

import codecs
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest

from .bodies import FORMS, is_json, media_type
from .core.engine import RequestParts
from .core.policies import Policy
from .currencies import EXACT
from .encryption import sealed
from .masking import Masking, dumped, pointer_steps

logger = logging.getLogger("django_idempotency")

# Nothing else: Authorization and Cookie are the client's alone.
HEADERS = (
    ("Host", "HTTP_HOST"),
    ("Content-Type", "CONTENT_TYPE"),
    ("Accept", "HTTP_ACCEPT"),
    ("Accept-Language", "HTTP_ACCEPT_LANGUAGE"),
    ("User-Agent", "HTTP_USER_AGENT"),
    ("X-Request-ID", "HTTP_X_REQUEST_ID"),
    ("traceparent", "HTTP_TRACEPARENT"),
)
LONGEST_HEADER = 1000
FORM, MULTIPART = FORMS
# In which ASCII is what it looks like. Others would hide what the view may read all the same, or take minutes (punycode).
CHARSETS = ("utf-8", "ascii", "iso8859", "cp125")
# What DecimalField(max_digits=20, decimal_places=4) holds.
LARGEST = Decimal(10) ** 16
SMALLEST = Decimal("0.0001")

NOTHING = RequestParts()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Body:
    """What the fingerprint has read of a body: its bytes, what was parsed of it, or neither."""

    raw: bytes | None = field(default=None, repr=False)
    fields: Sequence[tuple[str, list[Any]]] | None = field(default=None, repr=False)
    """Of a multipart form, files among them."""
    parsed: Any = field(default=None, repr=False)
    """What a parser has made of a body whose bytes are gone."""

    @property
    def known(self) -> bool:
        """Whether anything of it was read as it came."""
        return self.raw is not None or self.fields is not None


def body_of(http: HttpRequest) -> Body:
    """What has been read already: nothing is read for the staff's sake that the view may want to stream."""
    if media_type(http).startswith("multipart/"):
        # Never its bytes, which hold the files, and the names of fields apart from what is in them.
        return Body(fields=[*http.POST.lists(), *http.FILES.lists()]) if "_post" in http.__dict__ else Body()
    return Body(raw=http.__dict__.get("_body"))


def stored_path(path: str) -> str:
    """A request's path with its query, as it may be stored."""
    bare, mark, query = path.partition("?")
    masking = Masking()
    clean = masking.text(bare)
    return (bare if clean == bare else quote(clean, safe="/*[]")) + mark + (masking.query(query) if query else "")


class StoredParts:
    """
    The parts to store, made once, when a store asks for them: to mask a request costs more than to tell that it is a
    retry. A request is never refused for their sake, whatever is wrong with it.

    `request` is what an AMOUNT or a CURRENCY is called with; `same_path` says whether its path is stored as it is. The body
    is taken as it stands now: what a view reads of it later was not read for us.
    """

    def __init__(
        self, request: Any, http: HttpRequest, policy: Policy, body: Callable[[], Body], *, same_path: bool
    ) -> None:
        wanted = policy.store_request or policy.amount is not None or policy.currency is not None
        self._reader = partial(_Reader, request, http, policy, body()) if wanted else None
        self._same_path = same_path
        self._made = NOTHING
        if callable(policy.amount) or callable(policy.currency):
            self()  # It sees the request before the view, and may ask the database: in no transaction of ours.

    def __call__(self) -> RequestParts:
        reader, self._reader = self._reader, None
        if reader is None:
            return self._made
        try:
            self._made = reader().parts(same_path=self._same_path)
        except Exception as exc:  # noqa: BLE001 - whose text may hold what must not be logged
            logger.warning("A request could not be stored for the staff: %s.", type(exc).__name__)
        return self._made


class _Reader:
    """Reads one request, parsing it once."""

    def __init__(self, request: Any, http: HttpRequest, policy: Policy, body: Body) -> None:
        self.request = request
        self.http = http
        self.policy = policy
        self.body = body
        self.media = media_type(http)
        self.masking = Masking(policy.mask, encrypted=bool(policy.encryption_keys))
        self.data: Any = None
        """What was parsed of the body, as it came until it is masked."""
        self.text: str | None = None

    def parts(self, *, same_path: bool) -> RequestParts:
        policy = self.policy
        if policy.store_request or isinstance(policy.amount, str) or isinstance(policy.currency, str):
            self._parse()
        amount = self._chosen("AMOUNT", policy.amount, money)
        currency = self._chosen("CURRENCY", policy.currency, currency_code)
        if not policy.store_request:
            return RequestParts(amount=amount, currency=currency or "")
        stored = self._stored()
        body, key_id = sealed(stored, policy.encryption_keys)
        return RequestParts(
            headers=stored_headers(self.http),
            body=body,
            whole=stored is not None and self.body.raw is not None and not self.masking.changed and same_path,
            key_id=key_id,
            amount=amount,
            currency=currency or "",
        )

    def _parse(self) -> None:
        """Tell what kind of body it is: `data` is set of JSON and forms, `text` of all that can be read as text."""
        body = self.body
        if body.fields is not None:
            self.data = {name: values if len(values) > 1 else values[0] for name, values in body.fields if values}
        elif body.raw is None:
            self.data = self.masking.json(json.dumps(body.parsed, default=str)) if body.parsed is not None else None
        elif _fits(body.raw, self.policy) and "HTTP_CONTENT_ENCODING" not in self.http.META:
            self.text = self._decoded(body.raw)
            self._parse_text(self.text or "")

    def _parse_text(self, text: str) -> None:
        if self.media == FORM:
            most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
            self.data = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=most))
        elif is_json(self.media) or text.lstrip()[:1] in ("{", "["):
            with suppress(ValueError):
                self.data = self.masking.json(text)

    def _decoded(self, raw: bytes) -> str | None:
        """A body as text; None where it is none."""
        charset = (self.http.content_params or {}).get("charset", "utf-8")
        try:
            if is_json(self.media):
                charset = json.detect_encoding(raw)
            elif not codecs.lookup(charset).name.startswith(CHARSETS):
                return None
            text = raw.decode(charset).removeprefix("\ufeff")
        except (LookupError, ValueError):
            return None
        return None if "\0" in text else text

    def _stored(self) -> bytes | None:
        """The body as it is stored, before encryption; None where it is not."""
        masking, raw = self.masking, self.body.raw
        if self.body.fields is not None:
            return _written(masking.form([(name, _described(values)) for name, values in self.body.fields]))
        if raw is None:
            return None if self.data is None else _written(masking.data(self.data))
        if self.text is None:
            return raw if not raw else None
        if self.media == FORM:
            clean = masking.query(self.text)
        elif self.data is not None:
            data = masking.data(self.data)
            clean = dumped(data) if masking.changed else self.text
        else:
            clean = masking.text(self.text)
        return clean.encode(errors="surrogatepass") if masking.changed else raw

    def _chosen(self, setting: str, chosen: Any, read: Callable[[Any], T]) -> T | None:
        """What a pointer or a callable finds, read; None where it finds nothing of use."""
        if chosen is None:
            return None
        try:
            return read(chosen(self.request) if callable(chosen) else pointed(self.data, pointer_steps(chosen)))
        except Exception as exc:  # noqa: BLE001 - a payment does not fail over what is shown to the staff
            logger.debug("%s found nothing of use in a request: %s.", setting, type(exc).__name__)
            return None


def stored_headers(http: HttpRequest) -> str:
    """Those headers of a request that are stored, as a JSON list of pairs."""
    found = ((name, http.META.get(place)) for name, place in HEADERS)
    return f"[{', '.join([_header(name, value[: LONGEST_HEADER + 1]) for name, value in found if value])}]"


@lru_cache(maxsize=1024)
def _header(name: str, value: str) -> str:
    if len(value) > LONGEST_HEADER:
        # Without what may be the beginning of a card number.
        value = value[:LONGEST_HEADER].rstrip("0123456789 -")
    return json.dumps([name, Masking().text(value)])


def money(value: Any) -> Decimal:
    """An amount as its column holds it. Raises ValueError and ArithmeticError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise TypeError("an amount is a number")
    amount = Decimal(_harmless(str(value).removeprefix("\0")))
    if not amount.is_finite() or abs(amount) >= LARGEST or amount != amount.quantize(SMALLEST, context=EXACT):
        raise ValueError("an amount has 16 digits before the point and 4 after it")
    return amount


def currency_code(value: Any) -> str:
    """A currency as its column holds it. Raises ValueError."""
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= 16:
        raise ValueError("a currency is a text of 1 to 16 characters")
    return _harmless(value)


def _harmless(text: str) -> str:
    """These columns are never encrypted, and a pointer may lead anywhere."""
    if Masking().text(text) != text:
        raise ValueError("this is a card number, or another secret")
    return text


def pointed(data: Any, steps: list[str]) -> Any:
    """What is in data under the steps of a pointer. Raises LookupError, ValueError and TypeError where there is nothing."""
    for step in steps:
        data = data[int(step)] if isinstance(data, list) else data[step]
    return data


def _fits(raw: bytes, policy: Policy) -> bool:
    limit: Any = settings.DATA_UPLOAD_MAX_MEMORY_SIZE if policy.max_request is None else policy.max_request
    return limit is None or len(raw) <= limit


def _described(values: list[Any]) -> list[Any]:
    """Fields as they are; of files, which they were."""
    return [
        f"[file {value.name}, {value.content_type}, {value.size} bytes]" if isinstance(value, UploadedFile) else value
        for value in values
    ]


def _written(data: Any) -> bytes:
    return dumped(
        dict(data) if isinstance(data, list) and all(isinstance(one, tuple) for one in data) else data
    ).encode(errors="surrogatepass")
