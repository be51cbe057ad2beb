"""Requests of a DRF view that staff runs again: whatever its client has authenticated with, it is forced to be the same."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

pytest.importorskip("rest_framework")

from django_idempotency.models import IdempotencyIncident
from django_idempotency.resolution import NotSent
from tests.resolution.retries import failed, payments, post, replay
from tests.resolution.shop import TILL

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.resolution.shop")]


def test_who_has_brought_a_token(user):
    anybody = Client(raise_request_exception=False)
    number = failed(anybody, "/api/v1/pay", headers={"Authorization": "Token ada"})
    assert replay(number).kept
    assert TILL.seen == [{"user": user.pk, "by": "ada", "dry": False, "auth": None}]
    retry = post(anybody, "/api/v1/pay", headers={"Authorization": "Token ada"})
    assert retry["Idempotent-Replayed"] == "true"


def test_who_has_a_session(buyer, user):
    assert replay(failed(buyer, "/api/v1/pay")).kept
    assert TILL.seen[0]["user"] == user.pk


def test_a_session_needs_no_page_to_vouch_for_it(user):
    strict = Client(raise_request_exception=False, enforce_csrf_checks=True)
    strict.force_login(user)
    assert post(strict, "/api/v1/pay").status_code == 403
    number = failed(Client(raise_request_exception=False), "/api/v1/pay", headers={"Authorization": "Token ada"})
    assert replay(number).kept


def test_a_callable_gives_what_the_view_finds_as_auth(buyer, settings):
    by_name = {"SCOPE": lambda request: f"name:{request.user.username}", "PRINCIPAL": "tests.resolution.shop.user_of"}
    settings.IDEMPOTENCY = {"default": by_name}
    assert replay(failed(buyer, "/api/v1/pay")).kept
    assert TILL.seen[0]["auth"] == "token of ada"


def test_another_version_of_the_api_is_another_request(buyer):
    number = failed(buyer, "/api/v1/pay")
    IdempotencyIncident.objects.update(path="/api/v2/pay")
    with pytest.raises(NotSent, match="another request"):
        replay(number)
    assert (TILL.seen, payments()) == ([], [])


def test_what_the_view_refuses_today_has_not_come_to_it(buyer, monkeypatch):
    from rest_framework.permissions import IsAdminUser

    from tests.resolution.shop_api import Api

    number = failed(buyer, "/api/v1/pay")
    monkeypatch.setattr(Api, "permission_classes", [IsAdminUser])
    with pytest.raises(NotSent, match="answered 403"):
        replay(number)
    assert payments() == []


def test_a_principal_that_is_no_user_of_djangos(settings, user):
    """Merchant 1 is not user 1."""
    settings.IDEMPOTENCY = {"default": {"SCOPE": lambda request: f"auth.user:{request.user.pk}"}}
    number = failed(Client(raise_request_exception=False), "/api/v1/pay", headers={"Authorization": "Token ada"})
    assert replay(number).kept
    assert User.objects.get().pk == TILL.seen[0]["user"]
