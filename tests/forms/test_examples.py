"""The how-to's form, submitted as a browser does."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client, override_settings

from tests.bank.models import Payment
from tests.test_docs import DOCS, at, load, shop

__all__ = ["shop"]

pytestmark = pytest.mark.django_db(transaction=True)

CSRF = "django.middleware.csrf.CsrfViewMiddleware"


def templates():
    """The how-to's own template, and two short ones."""
    (form,) = re.findall(r"```html\+django\n(.*?)```", Path(DOCS / "howto/forms.md").read_text(), re.DOTALL)
    pages = {
        "shop/donate.html": form,
        "shop/thanks.html": "{{ payment.amount }}",
        "shop/not_sent.html": "{{ error.code }}",
    }
    options = {"loaders": [("django.template.loaders.locmem.Loader", pages)]}
    return [{"BACKEND": "django.template.backends.django.DjangoTemplates", "OPTIONS": options}]


@pytest.fixture
def browser():
    profile = {"ERROR_RESPONSE": "shop.form_errors.error_page"}
    chosen = {"TEMPLATES": templates(), "MIDDLEWARE": [*settings.MIDDLEWARE, CSRF], "IDEMPOTENCY": {"forms": profile}}
    with at(*load("form_views").urlpatterns), override_settings(**chosen):
        yield Client(enforce_csrf_checks=True)


def fields(page):
    """The hidden fields of a page's form."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)">', page.content.decode()))


def test_a_form_submitted_twice_donates_once_and_ends_on_one_page(browser):
    hidden = fields(browser.get("/donate"))
    assert hidden.keys() == {"csrfmiddlewaretoken", "idempotency_key"}
    pages = [browser.post("/donate", {"amount": 5, **hidden}, follow=True) for _ in range(2)]
    assert [page.content for page in pages] == [b"5", b"5"]
    assert pages[0].redirect_chain == pages[1].redirect_chain
    assert Payment.objects.count() == 1


def test_a_form_with_errors_comes_back_with_a_new_key_and_can_be_corrected(browser):
    hidden = fields(browser.get("/donate"))
    refused = browser.post("/donate", {"amount": 0, **hidden})
    assert (refused.status_code, Payment.objects.count()) == (200, 0)
    assert fields(refused)["idempotency_key"] != hidden["idempotency_key"]
    assert browser.post("/donate", {"amount": 6, **fields(refused)}).status_code == 302
    assert Payment.objects.get().amount == 6


def test_a_changed_form_under_the_old_key_is_told_so_in_a_page(browser):
    hidden = fields(browser.get("/donate"))
    browser.post("/donate", {"amount": 5, **hidden})
    page = browser.post("/donate", {"amount": 6, **hidden})
    assert (page.status_code, page.content) == (422, b"key-reused")
    assert Payment.objects.count() == 1
