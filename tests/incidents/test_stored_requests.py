"""What is stored of a request: which headers, which bodies, how much of them, and the money."""

import json
from decimal import Decimal, localcontext

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

from django_idempotency import idempotent, stored_requests, timelines
from django_idempotency.core.policies import Policy
from django_idempotency.http import Exchange
from django_idempotency.maintenance import purge
from django_idempotency.models import IdempotencyRecord
from tests.settings import HAVE_DRF
from tests.support.records import HOUR, completed

FORM = "application/x-www-form-urlencoded"


def parts(body=b"{}", *, content_type="application/json", path="/pay", headers=None, read=True, **choices):
    """Return what would be stored of a request."""
    request = RequestFactory().generic("POST", path, body, content_type=content_type, headers=headers)
    exchange = Exchange(request, Policy(**choices))
    if not read:
        exchange.fingerprints = lambda key: (b"\x01",)
    return exchange.operation("key-1").request


class TestBodies:
    def test_json_without_secrets_is_kept_byte_for_byte(self):
        body = b'{ "amount": 5.00,\n "a": [1] }'
        assert (parts(body).body, parts(body).whole) == (body, True)

    def test_json_with_secrets_is_kept_masked_and_is_not_whole(self):
        found = parts(b'{"card": "4111 1111 1111 1111", "cvv": "123", "amount": 5}')
        assert json.loads(found.body) == {"card": "****1111", "cvv": "[dropped]", "amount": 5}
        assert found.whole is False

    def test_mask_adds_to_what_is_masked(self):
        found = parts(b'{"customer": {"name": "Jane"}}', mask=["/customer/name"])
        assert json.loads(found.body) == {"customer": {"name": "[masked]"}}

    def test_a_form_is_masked(self):
        found = parts(b"amount=5&cvv=123", content_type=FORM)
        assert (found.body, found.whole) == (b"amount=5&cvv=%5Bdropped%5D", False)
        assert parts(b"amount=5", content_type=FORM).whole is True

    def test_json_that_calls_itself_something_else_is_json(self):
        found = parts(b'{"cvv": "123", "a": 1}', content_type="text/plain")
        assert json.loads(found.body) == {"cvv": "[dropped]", "a": 1}

    def test_other_text_is_masked_by_pattern(self):
        found = parts(b"<pay><card>4111111111111111</card></pay>", content_type="application/xml")
        assert (found.body, found.whole) == (b"<pay><card>****1111</card></pay>", False)

    def test_of_a_multipart_form_the_fields_are_masked_and_no_file_is_stored(self):
        scan = SimpleUploadedFile("scan 4111111111111111.png", b"\x89PNG secret bytes", "image/png")
        request = RequestFactory().post("/pay", {"amount": "5", "cvv": "123", "scan": scan})
        found = Exchange(request, Policy()).operation("key-1").request
        stored = json.loads(found.body)
        assert (stored["amount"], stored["cvv"]) == (["5"], "[dropped]")
        assert stored["scan"] == ["[file scan ****1111.png, image/png, 17 bytes]"]
        assert found.whole is False

    def test_nor_is_one_whose_bytes_somebody_has_read_before(self):
        request = RequestFactory().post("/pay", {"scan": SimpleUploadedFile("scan.txt", b"cardholder Jane")})
        assert b"cardholder" in request.body
        assert b"cardholder" not in Exchange(request, Policy()).operation("key-1").request.body

    @pytest.mark.parametrize("body", [b"\x89PNG\x00\xff", b"\xff\xfe cvv=123", "cvv=123".encode("utf-16")])
    def test_what_is_no_text_is_not_stored(self, body):
        found = parts(body, content_type="application/octet-stream")
        assert (found.body, found.whole) == (None, False)

    def test_a_compressed_body_is_not_stored(self):
        assert parts(b"cvv=123", content_type="text/plain", headers={"Content-Encoding": "gzip"}).body is None

    def test_text_in_another_charset_is_read_as_what_it_is(self):
        body = "Tür; cvv=123".encode("latin-1")
        assert parts(body, content_type="text/plain; charset=latin-1").body.decode() == "Tür; cvv=[dropped]"

    def test_no_body_is_whole(self):
        assert (parts(b"").body, parts(b"").whole) == (b"", True)

    def test_a_larger_body_than_is_allowed_is_not_stored(self):
        with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=None):
            assert parts(b'"' + b"x" * 100 + b'"').body is not None
        request = RequestFactory().post("/pay", b"x" * 100, content_type="text/plain")
        exchange = Exchange(request, Policy(max_request=10))
        request.body  # noqa: B018 - read before anybody asked how long it is
        exchange.fingerprints = lambda key: (b"\x01",)
        assert exchange.operation("key-1").request.body is None

    def test_nothing_is_read_that_the_fingerprint_has_not_read(self):
        request = RequestFactory().post("/pay", b"streamed", content_type="text/plain")
        exchange = Exchange(request, Policy(fingerprint=lambda request: b"own"))
        assert exchange.operation("key-1").request.body is None
        assert request.read() == b"streamed"

    def test_a_body_nested_too_deeply_is_not_stored_and_not_refused(self, caplog):
        found = parts(b"[" * 100_000, read=False)
        assert found.body is None
        request = RequestFactory().post("/pay", b'{"a":' * 100_000, content_type="application/json")
        exchange = Exchange(request, Policy(fingerprint=lambda request: request.body))
        assert exchange.operation("key-1").request.body is None
        assert "could not be stored for the staff: RecursionError" in caplog.text

    def test_a_form_of_more_fields_than_django_reads_is_not_stored(self, caplog):
        assert parts(b"&".join([b"a=1"] * 1001), content_type=FORM).body is None
        assert "could not be stored for the staff: ValueError" in caplog.text

    def test_without_store_request_nothing_is_stored_but_the_money(self):
        found = parts(b'{"amount": "5"}', store_request=False, amount="/amount")
        assert (found.headers, found.body, found.whole, found.amount) == ("", None, None, 5)


class TestHeaders:
    def test_only_those_on_the_list_are_stored(self):
        sent = {
            "Accept": "application/json",
            "Accept-Language": "de",
            "User-Agent": "till/1",
            "X-Request-ID": "r-1",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        }
        never = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Signature": "y", "Idempotency-Key": "k"}
        stored = json.loads(parts(headers={**sent, **never}).headers)
        assert dict(stored) == {"Content-Type": "application/json", **sent}

    def test_a_card_number_in_one_is_masked_and_a_long_one_is_cut(self):
        stored = dict(json.loads(parts(headers={"User-Agent": "4111111111111111", "Accept": "x" * 5000}).headers))
        assert (stored["User-Agent"], len(stored["Accept"])) == ("****1111", 1000)


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "stored"),
        [
            ("/pay?a=1&b=%41", "/pay?a=1&b=%41"),
            ("/pay?token=abc&a=1", "/pay?token=%5Bmasked%5D&a=1"),
            ("/pay?%63vv=123", "/pay?cvv=%5Bdropped%5D"),
            ("/cards/4111111111111111/charge", "/cards/****1111/charge"),
        ],
    )
    def test_a_path_is_stored_without_secrets(self, path, stored):
        request = RequestFactory().post("/pay", b"{}", content_type="application/json")
        request.get_full_path = lambda: path
        operation = Exchange(request, Policy(encryption_keys=())).operation("key-1")
        assert operation.path == stored
        assert operation.request.whole is (path == stored)


class TestMoney:
    @pytest.mark.parametrize(
        ("body", "amount"),
        [
            ('{"amount": 100.10}', Decimal("100.10")),
            ('{"amount": "100.10"}', Decimal("100.10")),
            ('{"amount": 1e2}', Decimal(100)),
            ('{"amount": -5}', Decimal(-5)),
            ('{"amount": 9999999999999999.9999}', Decimal("9999999999999999.9999")),
            ('{"amount": 10000000000000000}', None),
            ('{"amount": 0.00001}', None),
            ('{"amount": "NaN"}', None),
            ('{"amount": 1e999999999}', None),
            ('{"amount": true}', None),
            ('{"amount": [1]}', None),
            ('{"other": 1}', None),
            ("[1, 2]", None),
        ],
    )
    def test_an_amount_that_fits_is_found_and_any_other_is_none(self, body, amount):
        assert parts(body.encode(), amount="/amount").amount == amount

    @pytest.mark.parametrize("precision", [6, 28])
    def test_it_is_what_it_is_whatever_the_project_s_precision(self, precision):
        with localcontext(prec=precision):
            found = parts(b'{"amount": 1234567890123456.1234}', amount="/amount").amount
            assert found == Decimal("1234567890123456.1234")
            assert timelines.money(found, "EUR") == "1,234,567,890,123,456.1234 EUR"

    def test_pointers_lead_into_lists_and_forms(self):
        assert parts(b'{"items": [{"price": 7}]}', amount="/items/0/price").amount == 7
        found = parts(b"amount=5.50&currency=EUR", content_type=FORM, amount="/amount", currency="/currency")
        assert (found.amount, found.currency) == (Decimal("5.50"), "EUR")
        request = RequestFactory().post("/pay", {"amount": "5"})
        assert Exchange(request, Policy(amount="/amount")).operation("key-1").request.amount == 5

    @pytest.mark.parametrize(
        ("currency", "found"), [("EUR", "EUR"), ("x" * 17, ""), ("", ""), (978, ""), ("E\x00R", "")]
    )
    def test_a_currency_is_a_short_text(self, currency, found):
        assert parts(json.dumps({"currency": currency}).encode(), currency="/currency").currency == found

    def test_a_callable_is_given_the_request(self):
        found = parts(
            headers={"X-Amount": "7.5"}, amount=lambda r: Decimal(r.headers["X-Amount"]), currency=lambda r: "EUR"
        )
        assert (found.amount, found.currency) == (Decimal("7.5"), "EUR")

    def test_one_that_fails_fails_no_payment_and_logs_no_content(self, caplog):
        caplog.set_level("DEBUG", "django_idempotency")
        assert parts(amount=lambda request: int("4111-secret")).amount is None
        assert "AMOUNT found nothing of use in a request: ValueError." in caplog.text
        assert "secret" not in caplog.text


@pytest.mark.django_db
class TestInTheRecord:
    @override_settings(IDEMPOTENCY={"default": {"AMOUNT": "/amount", "CURRENCY": "/currency"}})
    def test_it_is_all_stored_with_the_claim(self, send):
        assert send(currency="EUR").status_code == 201
        record = IdempotencyRecord.objects.get()
        assert bytes(record.request_body) == b'{"amount": 5, "currency": "EUR"}'
        assert (record.request_whole, record.amount, record.currency) == (True, 5, "EUR")
        assert dict(json.loads(record.request_headers))["Content-Type"] == "application/json"

    def test_a_view_can_say_otherwise(self, key):
        view = idempotent(store_request=False)(lambda request: HttpResponse("ok"))
        view(RequestFactory().post("/pay", b"{}", content_type="application/json", headers={"Idempotency-Key": key}))
        assert IdempotencyRecord.objects.get().request_body is None

    @pytest.mark.django_db(transaction=True)
    def test_what_looks_for_an_amount_finds_no_transaction_of_ours(self, key):
        inside = []

        def amount(request):
            inside.append(connection.in_atomic_block)

        view = idempotent(amount=amount, claim="joined")(lambda request: HttpResponse("ok"))
        view(RequestFactory().post("/pay", b"{}", content_type="application/json", headers={"Idempotency-Key": key}))
        assert inside == [False]

    def test_the_purge_takes_it_away_with_the_answer(self):
        parts = {"request_headers": "[]", "request_body": b"{}", "request_whole": True, "request_key_id": "0"}
        completed(expired=HOUR, forgotten=-HOUR, **parts, amount=5)
        assert purge().shrunk == 1
        record = IdempotencyRecord.objects.get()
        assert [getattr(record, name) for name in parts] == ["", None, None, ""]
        assert record.amount == 5

    @pytest.mark.skipif(not HAVE_DRF, reason="without Django REST framework")
    def test_what_drf_has_parsed_before_us_is_stored_as_it_was_parsed(self, key):
        from rest_framework.parsers import JSONParser
        from rest_framework.response import Response
        from rest_framework.throttling import BaseThrottle
        from rest_framework.views import APIView

        class Reading(BaseThrottle):
            def allow_request(self, request, view):
                return bool(request.data)

        class View(APIView):
            throttle_classes = [Reading]
            parser_classes = [JSONParser]

            @idempotent(amount="/amount")
            def post(self, request):
                return Response({})

        request = RequestFactory().post(
            "/pay", {"amount": 5.5, "cvv": "987"}, "application/json", headers={"Idempotency-Key": key}
        )
        assert View.as_view()(request).status_code == 200
        record = IdempotencyRecord.objects.get()
        assert json.loads(bytes(record.request_body)) == {"amount": 5.5, "cvv": "[dropped]"}
        assert (record.request_whole, record.amount) == (False, Decimal("5.5"))

    @pytest.mark.skipif(not HAVE_DRF, reason="without Django REST framework")
    @pytest.mark.parametrize("kind", ["application/json", FORM, "multipart/form-data; boundary=x"])
    def test_drf_requests_are_stored_alike(self, send, kind):
        raw = {
            "application/json": b'{"amount": 5, "cvv": "123"}',
            FORM: b"amount=5&cvv=123",
        }.get(kind, multipart({"amount": "5", "cvv": "123"}))
        assert send("/api/pay", raw=raw, content_type=kind).status_code == 201
        record = IdempotencyRecord.objects.get()
        assert b"123" not in bytes(record.request_body)
        assert b"5" in bytes(record.request_body)
        assert record.request_whole is False


def multipart(fields):
    found = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    return "".join([*found, "--x--\r\n"]).encode()


class TestWhenTheyAreMade:
    def test_once_and_not_before_a_store_asks(self, monkeypatch):
        read, made = stored_requests.stored_headers, []
        monkeypatch.setattr(stored_requests, "stored_headers", lambda http: made.append(http) or read(http))
        request = RequestFactory().post("/pay", b"{}", content_type="application/json")
        operation = Exchange(request, Policy()).operation("key-1")
        assert made == []
        assert operation.request is operation.request
        assert made == [request]

    def test_of_the_body_as_it_stood_before_the_view(self):
        request = RequestFactory().post("/pay", b"streamed", content_type="text/plain")
        operation = Exchange(request, Policy(fingerprint=lambda request: b"own")).operation("key-1")
        assert request.body == b"streamed"
        assert operation.request.body is None
