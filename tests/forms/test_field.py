"""The hidden field: what it looks like, when it is the key, and what a form that is sent twice does."""

import re
import uuid
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.template import engines
from django.test import Client, RequestFactory, override_settings

from django_idempotency import idempotent
from django_idempotency.bodies import KEY_FIELD
from django_idempotency.core.policies import Policy
from django_idempotency.http import Exchange
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.forms.urls")]

URLENCODED = "application/x-www-form-urlencoded"
KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"


def rendered(text="{% load idempotency %}{% idempotency_key %}", **context):
    return engines["django"].from_string(text).render(context)


def key_in(html):
    (found,) = re.findall(r'<input type="hidden" name="idempotency_key" value="([^"]*)">', html)
    return found


def submit(path="/pay", *, kind="multipart", key=KEY, headers=None, **fields):
    """Post a form as a browser does."""
    data = {"amount": 5, **({} if key is None else {KEY_FIELD: key}), **fields}
    if kind == "multipart":
        return Client().post(path, data, headers=headers)
    return Client().post(path, urlencode(data, doseq=True), content_type=URLENCODED, headers=headers)


KINDS = pytest.mark.parametrize("kind", ["multipart", "urlencoded"])


class TestTag:
    def test_each_rendering_has_a_key_of_its_own(self):
        keys = {key_in(rendered()) for _ in range(3)}
        assert len(keys) == 3
        assert all(str(uuid.UUID(key)) == key for key in keys)

    def test_two_forms_on_one_page_have_two_keys(self):
        text = "{% load idempotency %}{% idempotency_key %}{% idempotency_key %}"
        assert len(set(re.findall(r'value="([^"]*)"', rendered(text)))) == 2

    def test_nothing_of_the_request_gets_into_the_page(self):
        posted = RequestFactory().post("/pay", {KEY_FIELD: '"><script>alert(1)</script>'})
        html = rendered(request=posted, idempotency_key="<b>")
        assert html.count("<") == 1
        key_in(html)

    def test_it_is_no_text_to_escape_again(self):
        text = "{% load idempotency %}{% idempotency_key as field %}{{ field }}"
        assert rendered(text).startswith("<input ")


class TestDoubleSubmission:
    def page(self):
        client = Client(enforce_csrf_checks=True)
        html = client.get("/form").content.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', html)
        hidden = {KEY_FIELD: key_in(html), **({"csrfmiddlewaretoken": token[1]} if token else {})}
        return client, hidden

    def test_a_form_submitted_twice_takes_effect_once_and_gets_the_first_redirect(self):
        client, hidden = self.page()
        first, again = (client.post("/form", {"amount": 5, **hidden}) for _ in range(2))
        assert (first.status_code, again.status_code) == (302, 302)
        assert again.headers["Location"] == first.headers["Location"]
        assert again.url == first.url
        assert again.headers["Idempotent-Replayed"] == "true"
        assert Payment.objects.count() == 1

    def test_the_form_of_a_page_fetched_again_is_another_request(self):
        for _ in range(2):
            client, hidden = self.page()
            client.post("/form", {"amount": 5, **hidden})
        assert Payment.objects.count() == 2

    def test_a_form_that_comes_back_with_errors_can_be_corrected(self):
        client, hidden = self.page()
        refused = client.post("/form", {"amount": 500, **hidden})
        assert (refused.status_code, Payment.objects.count()) == (200, 0)
        corrected = client.post("/form", {"amount": 50, **hidden, KEY_FIELD: key_in(refused.content.decode())})
        assert (corrected.status_code, Payment.objects.count()) == (302, 1)

    def test_a_page_that_was_left_open_does_not_pay_another_amount_under_its_key(self):
        client, hidden = self.page()
        client.post("/form", {"amount": 5, **hidden})
        assert client.post("/form", {"amount": 6, **hidden}).status_code == 422

    def test_works_under_the_middleware_that_reads_the_form_for_its_token(self):
        with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, "django.middleware.csrf.CsrfViewMiddleware"]):
            client, hidden = self.page()
            assert "csrfmiddlewaretoken" in hidden
            assert client.post("/form", {"amount": 5}).status_code == 403
            answers = [client.post("/form", {"amount": 5, **hidden}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [302, 302]
        assert Payment.objects.count() == 1


class TestKey:
    @KINDS
    def test_the_field_is_the_key_where_there_is_no_header(self, kind):
        first, again = submit(kind=kind), submit(kind=kind)
        assert again.headers["Location"] == first.headers["Location"]
        assert IdempotencyRecord.objects.get().key == KEY
        assert Payment.objects.count() == 1

    @KINDS
    def test_without_header_and_field_the_key_is_missing(self, kind):
        answer = submit(kind=kind, key=None)
        assert (answer.status_code, answer.json()["code"]) == (400, "key-missing")

    @KINDS
    def test_the_header_goes_before_the_field(self, kind):
        submit(kind=kind, headers={"Idempotency-Key": "from-the-header"})
        assert IdempotencyRecord.objects.get().key == "from-the-header"

    @KINDS
    def test_the_same_key_in_the_header_in_the_field_or_in_both_is_one_request(self, kind):
        header = {"Idempotency-Key": f'"{KEY}"'}
        answers = [submit(kind=kind, headers=header, key=key) for key in (KEY, None)] + [submit(kind=kind)]
        assert {answer.headers["Location"] for answer in answers} == {answers[0].headers["Location"]}
        assert Payment.objects.count() == 1

    @KINDS
    def test_a_field_with_something_else_is_compared_like_any_other(self, kind):
        header = {"Idempotency-Key": "from-the-header"}
        assert submit(kind=kind, headers=header, key="one").status_code == 302
        assert submit(kind=kind, headers=header, key="two").status_code == 422

    @KINDS
    def test_another_content_under_the_same_key_is_refused(self, kind):
        submit(kind=kind)
        assert submit(kind=kind, amount=6).json()["code"] == "key-reused"

    def test_another_file_under_the_same_key_is_refused(self):
        files = [SimpleUploadedFile("receipt.txt", content) for content in (b"one", b"two")]
        assert [submit(receipt=file).status_code for file in files] == [302, 422]

    @KINDS
    def test_the_view_finds_the_whole_form(self, kind):
        submit(kind=kind)
        assert Payment.objects.get().nonce == KEY

    @KINDS
    def test_a_view_that_requires_no_key_takes_it_from_the_field_all_the_same(self, kind):
        for _ in range(2):
            submit("/optional", kind=kind)
        assert Payment.objects.count() == 1
        for _ in range(2):
            submit("/optional", kind=kind, key=None)
        assert Payment.objects.count() == 3

    @KINDS
    @pytest.mark.parametrize("key", ["", "x" * 256, "ä", "tab\t"], ids=ascii)
    def test_a_malformed_field_is_refused_and_never_taken_for_none(self, kind, key):
        answer = submit("/optional", kind=kind, key=key)
        assert (answer.status_code, answer.json()["code"]) == (400, "key-invalid")
        assert not Payment.objects.exists()

    @KINDS
    def test_a_repeated_field_is_refused(self, kind):
        assert submit(kind=kind, key=["one", "two"]).json()["code"] == "key-invalid"

    def test_a_file_of_that_name_is_no_key(self):
        assert submit(key=SimpleUploadedFile("key.txt", b"k")).json()["code"] == "key-missing"

    def test_the_rules_for_keys_hold_and_a_form_need_not_quote(self):
        with override_settings(IDEMPOTENCY={"default": {"UUID_KEYS": True, "STRICT_KEYS": True, "MIN_KEY_LENGTH": 30}}):
            assert submit().status_code == 302
            assert submit(key="no-uuid-but-long-enough-to-be-one").json()["code"] == "key-invalid"
        with override_settings(IDEMPOTENCY={"default": {"MIN_KEY_LENGTH": 30}}):
            assert submit(key="short").json()["code"] == "key-invalid"

    def test_a_field_in_json_or_in_the_query_is_no_key(self):
        answer = Client().post("/pay", {KEY_FIELD: KEY}, content_type="application/json")
        assert answer.json()["code"] == "key-missing"
        assert Client().post(f"/pay?{KEY_FIELD}={KEY}").json()["code"] == "key-missing"

    def test_a_form_that_cannot_be_parsed_is_refused(self):
        answer = Client().post("/pay", b"--x\r\n", content_type="multipart/form-data; boundary=" + "x" * 300)
        assert (answer.status_code, answer.json()["code"]) == (400, "body-invalid")

    @pytest.mark.parametrize("kind", ["multipart", "urlencoded"])
    def test_a_form_larger_than_max_request_is_refused_before_it_is_read(self, kind):
        with override_settings(IDEMPOTENCY={"default": {"MAX_REQUEST": 10}}):
            assert submit(kind=kind).json()["code"] == "body-too-large"

    def test_a_multipart_form_is_left_alone_where_the_view_has_a_fingerprint_of_its_own(self):
        seen = []

        @idempotent(fingerprint=lambda request: "own", required=False)
        def upload(request):
            request.upload_handlers = request.upload_handlers
            seen.append(request.POST["amount"])
            return HttpResponse()

        upload(RequestFactory().post("/pay", {"amount": 5}))
        assert seen == ["5"]


class TestWaiting:
    def of(self, headers=None, kind=URLENCODED, **choices):
        request = RequestFactory().post("/pay", b"amount=5", content_type=kind, headers=headers)
        return Exchange(request, Policy(wait=timedelta(seconds=9), **choices)).wait()

    def test_only_a_form_without_the_header_waits_unasked(self):
        assert [self.of(), self.of(kind="multipart/form-data; boundary=x")] == [9, 9]
        assert self.of(kind="application/json") == 0
        assert self.of({"Idempotency-Key": "abc"}) == 0
        assert self.of(key=lambda request: "evt_1") == 0


class TestFingerprint:
    def of(self, body, key, kind=URLENCODED):
        request = RequestFactory().post("/pay", body, content_type=kind)
        return Exchange(request, Policy()).body_part(key)

    def test_only_the_pair_with_the_key_is_left_out(self):
        assert self.of("a=1&idempotency_key=k&b=2", "k") == self.of("a=1&b=2", "k") == self.of("a=1&b=2", "other")
        assert self.of("a=1&idempotency_key=k", "k") != self.of("a=1&idempotency_key=k", "other")
        assert self.of("a=1&not_idempotency_key=k", "k") != self.of("a=1", "k")
        assert self.of("a=idempotency_key=k", "k") != self.of("a=", "k")

    def test_in_other_bodies_nothing_is_left_out(self):
        assert self.of("idempotency_key=k", "k", "text/plain") != self.of("", "k", "text/plain")
