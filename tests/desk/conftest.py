"""
Members of staff with exactly the permissions a test names, at Django's test client or at a real browser.

`visit` needs Debian's chromium (or CHROMIUM) and Playwright; without them the test is skipped and said so.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.support import services

APP = "django_idempotency"
VIEW = ("view_idempotencyrecord", "view_idempotencyincident")
"""Who may look at requests and incidents, and do nothing."""


@pytest.fixture
def staff_user(db: None) -> Callable[..., User]:
    """A new member of staff with these permissions of ours, by codename, and no other."""

    def make(*codenames: str, name: str = "ada") -> User:
        user = User.objects.create_user(name, is_staff=True)
        chosen = Permission.objects.filter(content_type__app_label=APP, codename__in=codenames)
        assert set(chosen.values_list("codename", flat=True)) == set(codenames)
        user.user_permissions.set(chosen)
        return user

    return make


@pytest.fixture
def staff_client(staff_user: Callable[..., User]) -> Callable[..., Client]:
    """The same, logged in at Django's test client."""

    def make(*codenames: str, name: str = "ada") -> Client:
        client = Client()
        client.force_login(staff_user(*codenames, name=name))
        return client

    return make


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """
    A browser for the tests of one module.

    Playwright keeps an event loop running in this thread, so that Django refuses its ORM here unless told otherwise, and
    no test of coroutines could run: it ends with the module.
    """
    if importlib.util.find_spec("playwright") is None:
        services.unavailable("Playwright", "the package playwright is not installed")
    from playwright.sync_api import sync_playwright

    from tests.desk.browsers import executable

    path = executable()
    if path is None:
        services.unavailable("Chromium", "no chromium on PATH, and CHROMIUM is not set")
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    with sync_playwright() as playwright:
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def visit(
    chromium: Any, transactional_db: None, live_server: Any, staff_user: Callable[..., User]
) -> Iterator[Callable[..., Any]]:
    """
    A member of staff with these permissions at a browser of his own, with or without JavaScript.

    At the end of the test no visitor's browser may have complained: of a script, or of what the policy forbids.
    """
    from tests.desk.browsers import Visitor, session_cookie

    visitors: list[Any] = []

    def make(*codenames: str, name: str = "ada", javascript: bool = True, locale: str = "en-GB") -> Visitor:
        user = staff_user(*codenames, name=name)
        context = chromium.new_context(java_script_enabled=javascript, locale=locale)
        context.add_cookies([session_cookie(user, live_server.url)])
        visitor = Visitor(context.new_page(), live_server.url)
        visitors.append((context, visitor))
        return visitor

    yield make
    complaints = [complaint for _, visitor in visitors for complaint in visitor.complaints]
    for context, _ in visitors:
        context.close()
    assert complaints == []


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def javascript(request: pytest.FixtureRequest) -> bool:
    """Each page works both ways."""
    return bool(request.param)
