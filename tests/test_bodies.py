"""The body's part of the fingerprint: equal if and only if a plain view sees equal input."""

import io
import json
import tempfile
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import UnreadablePostError
from django.test import RequestFactory, override_settings
from django.test.client import encode_multipart
from hypothesis import given
from hypothesis import strategies as st

from django_idempotency.bodies import body_part, fits_memory
from django_idempotency.core.policies import Policy
from django_idempotency.exceptions import BodyInvalid, BodyTooLarge

requests = RequestFactory()
DEFAULT = Policy()
JSON = "application/json"


def part(body, content_type, *, policy=DEFAULT, **extra):
    return body_part(requests.post("/pay", body, content_type=content_type, CONTENT_TYPE=content_type, **extra), policy)


def form(fields, files=(), *, boundary="first"):
    """The part of a multipart body of (name, value) and (name, (file's name, type, content))."""
    pairs = [(name, value) for name, value in fields]
    pairs += [(name, SimpleUploadedFile(file, content, kind)) for name, (file, kind, content) in files]
    body = b"".join(encode_multipart(boundary, {name: value})[: -len(f"--{boundary}--\r\n")] for name, value in pairs)
    return part(body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}")


names = st.text("abcé", min_size=1, max_size=2)
fields = st.lists(st.tuples(names, st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6)))
files = st.lists(
    st.tuples(
        st.sampled_from(["receipt", "photo"]),
        st.tuples(
            st.sampled_from(["a.txt", "b.txt"]), st.sampled_from(["text/plain", "image/png"]), st.binary(max_size=6)
        ),
    ),
    max_size=3,
)


def grouped(pairs):
    """What request.POST and request.FILES make of it: the values of each name, in order."""
    found = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


class TestMultipart:
    @given(fields, files, fields, files)
    def test_two_forms_are_equal_only_where_the_view_sees_them_so(self, fields, files, others, other_files):
        seen = (grouped(fields), grouped(files))
        assert (form(fields, files) == form(others, other_files)) == (seen == (grouped(others), grouped(other_files)))

    @given(fields, files)
    def test_neither_the_boundary_nor_the_order_of_names_counts(self, fields, files):
        by_name = sorted(fields, key=lambda pair: pair[0], reverse=True)
        assert form(fields, files) == form(by_name, files, boundary="second")

    def test_the_order_of_one_names_values_counts(self):
        assert form([("a", "1"), ("a", "2")]) != form([("a", "2"), ("a", "1")])

    @pytest.mark.parametrize(
        "file", [("b.txt", "text/plain", b"paid"), ("a.txt", "image/png", b"paid"), ("a.txt", "text/plain", b"paie")]
    )
    def test_name_type_and_content_of_a_file_count(self, file):
        assert form([], [("receipt", file)]) != form([], [("receipt", ("a.txt", "text/plain", b"paid"))])

    def test_a_file_is_not_a_text_of_its_content(self):
        assert form([("receipt", "paid")]) != form([], [("receipt", ("receipt", "text/plain", b"paid"))])

    @pytest.mark.parametrize("size", [10, 100_000])
    def test_the_view_can_still_read_the_files(self, size):
        with override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=1000, FILE_UPLOAD_TEMP_DIR=tempfile.gettempdir()):
            request = requests.post("/pay", {"receipt": SimpleUploadedFile("a.bin", b"x" * size)})
            body_part(request, DEFAULT)
            assert request.FILES["receipt"].read() == b"x" * size
            request.FILES["receipt"].close()

    @pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
    def test_a_form_without_a_boundary_is_invalid(self, content_type):
        with pytest.raises(BodyInvalid):
            part(b"--x--", content_type)

    def test_too_many_fields_and_files_are_too_large(self):
        with override_settings(DATA_UPLOAD_MAX_NUMBER_FIELDS=1), pytest.raises(BodyTooLarge):
            form([("a", "1"), ("b", "2")])
        with override_settings(DATA_UPLOAD_MAX_NUMBER_FILES=1), pytest.raises(BodyTooLarge):
            form([], [("a", ("a", "text/plain", b"")), ("b", ("b", "text/plain", b""))])

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_a_form_that_django_leaves_to_the_view_counts_by_its_bytes(self, method):
        def of(amount):
            body = encode_multipart("first", {"amount": amount})
            return body_part(requests.generic(method, "/pay", body, "multipart/form-data; boundary=first"), DEFAULT)

        assert of("1") == of("1") != of("2")


class TestJson:
    @pytest.mark.parametrize("kind", [JSON, "Application/JSON; charset=utf-8", "application/vnd.bank+json"])
    def test_order_and_white_space_do_not_count(self, kind):
        assert part(b'{"a": 1, "b": 2}', kind) == part(b'{ "b":2,"a":1 }', kind)

    @pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"a": "\xff"}', b"a=1", b"[" * 100_000, b"9" * 5000])
    def test_what_does_not_parse_is_invalid(self, body):
        with pytest.raises(BodyInvalid, match="not the JSON"):
            part(body, JSON)

    def test_an_empty_body_is_one(self):
        assert part(b"", JSON) == part(b"", JSON) != part(b"{}", JSON)

    def test_another_json_type_is_another_request(self):
        assert part(b"{}", JSON) != part(b"{}", "application/vnd.bank+json")

    def test_another_charset_is_another_request(self):
        one, same, other = (part(b"{}", f"{JSON}; charset={charset}") for charset in ("UTF8", "utf-8", "latin-1"))
        assert one == same != other

    def test_what_a_pointer_names_does_not_count(self):
        policy = Policy(fingerprint=("/sent_at",))
        assert part(b'{"a": 1, "sent_at": 1}', JSON, policy=policy) == part(b'{"a": 1}', JSON)

    def test_a_nul_is_a_character(self):
        assert part(b'{"a": "\\u0000"}', JSON) != part(b'{"a": ""}', JSON)


class TestBytes:
    kinds = st.sampled_from(["text/plain", "text/csv", "application/x-www-form-urlencoded", ""])

    @given(st.binary(max_size=16), kinds, st.binary(max_size=16), kinds)
    def test_bodies_are_equal_only_where_bytes_and_type_are(self, one, kind, other, other_kind):
        assert (part(one, kind) == part(other, other_kind)) == ((one, kind) == (other, other_kind))

    @given(st.binary(max_size=16))
    def test_no_bytes_pass_for_json_or_for_a_form(self, body):
        assert part(body, "text/plain")[0] != part(json.dumps({}), JSON)[0] != form([])[0]

    def test_a_form_post_is_the_same_as_itself_and_as_no_other(self):
        kind = "application/x-www-form-urlencoded"
        assert part(urlencode({"amount": 5}), kind) == part(urlencode({"amount": 5}), kind)
        assert part(urlencode({"amount": 5}), kind) != part(urlencode({"amount": 6}), kind)

    def test_the_view_can_still_read_a_form_post(self):
        request = requests.post("/pay", "amount=5", content_type="application/x-www-form-urlencoded")
        body_part(request, DEFAULT)
        assert request.POST["amount"] == "5"


class Torn(io.BytesIO):
    def read(self, *args):
        raise OSError("the client has gone")


class TestLimits:
    def test_more_than_django_takes_is_too_large(self):
        with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=10), pytest.raises(BodyTooLarge):
            part(b"x" * 11, "text/plain")

    @pytest.mark.parametrize(
        ("limit", "size", "refused"), [(10, 11, True), (10, 10, False), (0, 1, True), (None, 99, False)]
    )
    def test_more_than_max_request_is_refused_unread(self, limit, size, refused):
        request = requests.post("/pay", b"x" * size, content_type="text/plain")
        if refused:
            with pytest.raises(BodyTooLarge):
                body_part(request, Policy(max_request=limit))
        else:
            body_part(request, Policy(max_request=limit))
        assert hasattr(request, "_body") is not refused

    @pytest.mark.parametrize(("size", "refused"), [(10, False), (11, True)])
    def test_more_than_max_request_is_refused_though_its_length_was_not_announced(self, size, refused):
        request = requests.generic("POST", "/pay", b"x" * size, content_type="text/plain")
        request._body = b"x" * size
        del request.META["CONTENT_LENGTH"]
        if refused:
            with pytest.raises(BodyTooLarge):
                body_part(request, Policy(max_request=10))
        else:
            assert body_part(request, Policy(max_request=10))[-1] == b"x" * size

    def test_a_body_that_was_read_before_cannot_be_told(self):
        request = requests.post("/pay", b"x", content_type="text/plain")
        request.read()
        with pytest.raises(BodyInvalid):
            body_part(request, DEFAULT)

    @pytest.mark.parametrize("announced", ["", "-1"])
    def test_an_odd_content_length_is_no_reason_to_fail(self, announced):
        assert part(b"", "text/plain", policy=Policy(max_request=1), CONTENT_LENGTH=announced)

    @pytest.mark.parametrize("announced", ["many", "9" * 5000])
    def test_a_content_length_that_is_no_number_is_invalid(self, announced):
        with pytest.raises(BodyInvalid, match="Content-Length"):
            part(b"", "text/plain", CONTENT_LENGTH=announced)

    def test_a_client_that_goes_away_sent_no_valid_body(self):
        request = requests.generic("POST", "/pay", b"x" * 10, content_type="text/plain")
        request._stream = Torn()
        with pytest.raises(BodyInvalid) as raised:
            body_part(request, DEFAULT)
        assert isinstance(raised.value.__cause__, UnreadablePostError)

    @pytest.mark.parametrize(
        ("limit", "announced", "fits"),
        [(10, "10", True), (10, "11", False), (10, "", True), (None, "99", True)],
    )
    def test_what_django_would_hand_out_as_bytes_fits_memory(self, limit, announced, fits):
        with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=limit):
            assert fits_memory(requests.post("/pay", CONTENT_LENGTH=announced)) is fits
