"""The body as a DRF view sees it, whichever parser made it and whoever read it first."""

import datetime
import decimal
import json
from urllib.parse import urlencode

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rest_framework.parsers import BaseParser, FileUploadParser, FormParser, JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from django_idempotency.core.policies import Policy
from django_idempotency.drf import DRFExchange
from django_idempotency.exceptions import BodyTooLarge, IdempotencyError
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment
from tests.drf.views import view_of

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"
LARGE = 3_000_000


class TextParser(BaseParser):
    media_type = "text/plain"

    def parse(self, stream, media_type=None, parser_context=None):
        return stream.read().decode()


class BytesParser(BaseParser):
    media_type = "application/octet-stream"

    def parse(self, stream, media_type=None, parser_context=None):
        return stream.read()


class RichParser(BaseParser):
    """Makes values that JSON has no words for, as those of YAML and MessagePack do."""

    media_type = "application/x-rich"

    def parse(self, stream, media_type=None, parser_context=None):
        amount = decimal.Decimal(stream.read().decode())
        return {"amount": amount, "on": datetime.date(2026, 1, 1), "raw": b"seven", "none": ()}


PARSERS = [JSONParser, FormParser, MultiPartParser, TextParser, BytesParser, RichParser]


class ReadsFirst(BaseThrottle):
    """Reads the body, so that its bytes are gone when the view is called."""

    def allow_request(self, request, view):
        return request.data is not None


def nothing_happened():
    return not Payment.objects.exists() and not IdempotencyRecord.objects.exists()


def request_of(body, kind, *, read_first=False):
    request = APIRequestFactory().generic("POST", "/pay", body, content_type=kind)
    view = APIView()
    wrapped = Request(request, [parser() for parser in PARSERS], parser_context={"view": view})
    return _read(wrapped) if read_first else wrapped


def _read(request):
    request.data  # noqa: B018 -- reading it is what takes the bytes
    return request


def part(body, kind, *, read_first=False, **choices):
    return DRFExchange(request_of(body, kind, read_first=read_first), Policy(**choices)).body_part()


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("read_first", [False, True], ids=["bytes first", "parsed first"])
class TestWhoeverReadsFirst:
    @pytest.mark.parametrize(
        ("kind", "same", "other"),
        [
            ("application/json", (b'{"a": 1, "b": 2}', b'{"b":2,"a":1}'), b'{"a": 1, "b": 2.0}'),
            (FORM, (b"a=1&b=2", b"a=1&b=2"), b"a=1&b=3"),
            ("text/plain", (b"pay 5", b"pay 5"), b"pay 6"),
            ("application/octet-stream", (b"\xff\x00", b"\xff\x00"), b"\xff\x01"),
            ("application/x-rich", (b"5.00", b"5.00"), b"6.00"),
        ],
    )
    def test_the_same_input_is_the_same_and_another_another(self, read_first, kind, same, other):
        one, again = (part(body, kind, read_first=read_first) for body in same)
        assert one == again != part(other, kind, read_first=read_first)

    def test_the_view_can_still_read_both(self, read_first):
        request = request_of(b'{"a": 1}', "application/json", read_first=read_first)
        DRFExchange(request, Policy()).body_part()
        assert request.data == {"a": 1}

    def test_pointers_leave_out_what_they_name(self, read_first):
        bodies = (b'{"a": 1, "at": 1}', b'{"a": 1, "at": 2}')
        one, other = (part(body, "application/json", read_first=read_first, fingerprint=("/at",)) for body in bodies)
        assert one == other

    @hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(one=documents, other=documents)
    def test_json_is_equal_only_where_the_view_sees_it_so(self, read_first, one, other):
        parts = [part(json.dumps(body), "application/json", read_first=read_first) for body in (one, other)]
        assert (parts[0] == parts[1]) == (
            repr(one) == repr(other) or json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
        )


class TestParsers:
    def test_json_is_the_same_whoever_reads_first(self):
        assert part(b'{"a": 1}', "application/json") == part(b'{"a": 1}', "application/json", read_first=True)

    def test_an_empty_json_body_is_a_body(self, post):
        assert part(b"", "application/json") == part(b"", "application/json")

    def test_a_type_without_a_parser_is_drfs_415_only_where_the_view_reads_it(self, post):
        unread = view_of(lambda request: Response(status=204))
        assert post(unread, b"pay", kind="text/csv").status_code == 204
        read = view_of(lambda request: Response(request.data))
        assert post(read, b"pay", kind="text/csv", key="other").status_code == 415

    def test_json_of_a_type_without_a_parser_counts_by_its_bytes(self):
        bodies = (b'{"a": 1, "b": 2}', b'{"a": 1, "b": 2}', b'{"b": 2, "a": 1}')
        one, same, other = (part(body, "application/vnd.bank+json") for body in bodies)
        assert one == same != other

    @pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"a": NaN}', b"9" * 5000])
    def test_what_drf_cannot_parse_is_drfs_400_and_leaves_nothing(self, post, body):
        answer = post(view_of(), body, kind="application/json")
        assert (answer.status_code, list(json.loads(answer.content))) == (400, ["detail"])
        assert nothing_happened()

    def test_json_that_is_too_deep_is_400_and_leaves_nothing(self, post):
        assert post(view_of(), b"[" * 100_000, kind="application/json").status_code == 400
        assert nothing_happened()

    def test_data_without_a_canonical_form_asks_for_a_fingerprint_of_its_own(self):
        request = request_of(b"", "application/x-rich")
        request._full_data = {("a", "pair"): 5}
        with pytest.raises(ImproperlyConfigured, match="give idempotent a FINGERPRINT"):
            DRFExchange(request, Policy())._parsed_part()

    @pytest.mark.parametrize("text", ["é", "\ud800"])
    def test_a_text_of_any_characters_has_a_part(self, text):
        request = request_of(b"", "text/plain")
        request._full_data = text
        assert DRFExchange(request, Policy())._parsed_part()[-1] == text.encode(errors="surrogatepass")

    def test_one_charset_is_not_another(self):
        """The bytes are the same; the view sees another text."""
        body = b'{"to": "\xc3\xa9"}'
        kinds = ["application/json", "application/json; charset=utf-8", "application/json; charset=latin-1"]
        one, same, other = (part(body, kind) for kind in kinds)
        assert one == same != other

    def test_json_in_a_charset_that_drf_reads_has_a_part(self):
        kind = "application/json; charset=latin-1"
        assert part('{"to": "é"}'.encode("latin-1"), kind) != part('{"to": "è"}'.encode("latin-1"), kind)

    def test_a_callable_says_what_counts(self, post):
        view = view_of(choices={"fingerprint": lambda request: str(request.data["order"])})
        first = post(view, {"order": 7, "at": 1})
        assert post(view, {"order": 7, "at": 2}).content == first.content
        assert post(view, {"order": 8, "at": 1}).status_code == 422

    @pytest.mark.parametrize("kind", ["multipart", FORM, "json"])
    def test_a_throttle_that_reads_the_body_first_changes_nothing(self, post, kind):
        view = view_of(throttle_classes=[ReadsFirst])
        bodies = [urlencode({"amount": n}) if kind == FORM else {"amount": n} for n in (5, 5, 6)]
        assert [post(view, body, kind=kind).status_code for body in bodies] == [201, 201, 422]

    def test_one_that_reads_text_gets_it_and_the_view_too(self, post):
        view = view_of(
            lambda request: Response({"read": request.data}), throttle_classes=[ReadsFirst], parser_classes=[TextParser]
        )
        first, again, other = (post(view, body, kind="text/plain") for body in (b"pay 5", b"pay 5", b"pay 6"))
        assert json.loads(first.content) == {"read": "pay 5"}
        assert (again.content, other.status_code) == (first.content, 422)

    def test_one_that_reads_a_type_without_a_parser_is_drfs_415(self, post):
        view = view_of(throttle_classes=[ReadsFirst], parser_classes=[JSONParser])
        assert post(view, b"pay", kind="text/plain").status_code == 415
        assert nothing_happened()


def upload(content, name="receipt.bin"):
    return {"receipt": SimpleUploadedFile(name, content), "amount": "5"}


class TestUploads:
    @pytest.fixture(autouse=True)
    def in_memory(self, settings):
        # Larger than what Django hands out as bytes, and yet no temporary file to close.
        settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * LARGE

    @pytest.mark.parametrize("size", [10, LARGE])
    def test_the_last_byte_of_a_form_upload_counts(self, post, size):
        view, content = view_of(), b"x" * size
        asked = [post(view, upload(body), kind="multipart") for body in (content, content, content[:-1] + b"y")]
        assert [answer.status_code for answer in asked] == [201, 201, 422]
        assert Payment.objects.count() == 1

    @pytest.mark.parametrize("size", [10, LARGE])
    def test_the_last_byte_of_a_raw_upload_counts_and_the_view_reads_it_all(self, post, size):
        def read(request):
            return Response({"size": len(request.data["file"].read())})

        view, content = view_of(read, parser_classes=[FileUploadParser]), b"x" * size
        sent = [
            post(view, body, kind="application/octet-stream", **{"Content-Disposition": "attachment; filename=r.bin"})
            for body in (content, content, content[:-1] + b"y")
        ]
        assert json.loads(sent[0].content) == {"size": size}
        assert (sent[1].content, sent[2].status_code) == (sent[0].content, 422)

    @pytest.mark.parametrize("kind", ["application/octet-stream", "application/json"])
    def test_the_name_of_a_raw_upload_counts(self, post, kind):
        view = view_of(lambda request: Response(request.data["file"].name), parser_classes=[FileUploadParser])
        sent = [
            post(view, b'{"a": 1}', kind=kind, **{"Content-Disposition": f"attachment; filename={name}"})
            for name in ("r.bin", "r.bin", "s.bin")
        ]
        assert sent[0].data == "r.bin"
        assert (sent[1].content, sent[2].status_code) == (sent[0].content, 422)

    def test_a_file_in_a_dict_counts_by_name_and_content(self):
        def of(data):
            request = request_of(b"", "application/octet-stream")
            request._full_data = data
            return DRFExchange(request, Policy())._parsed_part()

        one = of({"file": SimpleUploadedFile("a.bin", b"x"), "note": "n"})
        assert one == of({"note": "n", "file": SimpleUploadedFile("a.bin", b"x")})
        assert one != of({"file": SimpleUploadedFile("a.bin", b"y"), "note": "n"})

    @pytest.mark.parametrize("nest", [lambda file: [file], lambda file: {"scan": file}, lambda file: [{"a": (file,)}]])
    def test_files_in_nested_data_count_by_content(self, nest):
        """Parsers that nest form fields: another file of the same name is another request."""

        def of(content):
            request = request_of(b"", "multipart/form-data")
            request._full_data = {"receipt": nest(SimpleUploadedFile("a.bin", content))}
            return DRFExchange(request, Policy()).body_part()

        assert of(b"pay 1") == of(b"pay 1") != of(b"pay 9")


class TestLimits:
    def test_json_beyond_djangos_limit_is_413_and_leaves_nothing(self, post):
        with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=10):
            answer = post(view_of(), {"padding": "x" * 20})
        assert (answer.status_code, json.loads(answer.content)["code"]) == (413, "body-too-large")
        assert nothing_happened()

    @pytest.mark.parametrize("kind", ["json", "multipart"])
    def test_more_than_max_request_is_413_and_leaves_nothing(self, post, settings, kind):
        settings.IDEMPOTENCY = {"default": {"MAX_REQUEST": 20}}
        answer = post(view_of(), {"padding": "x" * 20}, kind=kind)
        assert (answer.status_code, json.loads(answer.content)["code"]) == (413, "body-too-large")
        assert nothing_happened()

    def test_the_error_names_the_limit_and_not_the_parser(self):
        with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=10), pytest.raises(BodyTooLarge) as raised:
            part(b'{"padding": "xxxxxxxx"}', "application/json")
        assert isinstance(raised.value, IdempotencyError)

    @pytest.mark.parametrize("limit", ["DATA_UPLOAD_MAX_NUMBER_FIELDS", "DATA_UPLOAD_MAX_NUMBER_FILES"])
    def test_a_form_of_more_parts_than_django_takes_is_413_and_leaves_nothing(self, post, limit):
        parts = {f"part{n}": SimpleUploadedFile("a", b"a") if limit.endswith("FILES") else "a" for n in range(5)}
        with override_settings(**{limit: 2}):
            answer = post(view_of(), parts, kind="multipart")
        assert (answer.status_code, json.loads(answer.content)["code"]) == (413, "body-too-large")
        assert nothing_happened()
