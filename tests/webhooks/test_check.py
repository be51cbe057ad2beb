"""The system check of views that share a scope has nothing to say where the key is not a client's."""

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.test import override_settings
from django.urls import path

from tests.webhooks.views import endpoint, event_id

WITHOUT_USERS = [name for name in settings.MIDDLEWARE if "AuthenticationMiddleware" not in name]


@pytest.mark.parametrize(("key", "expected"), [(event_id, False), (None, True)], ids=["by id", "by header"])
def test_an_endpoint_that_authenticates_nobody_is_warned_of_only_where_clients_choose_keys(key, expected):
    with override_settings(MIDDLEWARE=WITHOUT_USERS, ROOT_URLCONF=(path("hook", endpoint(key)),)):
        found = {message.id for message in run_checks()}
    assert ("django_idempotency.W002" in found) is expected
