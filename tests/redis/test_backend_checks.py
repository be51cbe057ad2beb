"""The system checks of RedisBackend: settings and views of which they speak, and those next to them of which they do not."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django import db
from django.contrib import auth
from django.contrib.auth import models as accounts
from django.core.checks import run_checks
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from django.views import View

import django_idempotency
from django_idempotency import idempotent
from tests.bank import models
from tests.bank.models import Payment
from tests.support.redis_contender import ALIAS, REDIS, server
from tests.support.redis_servers import RedisServer, cache

BRIEF = {"SOCKET_TIMEOUT": 0.2, "SOCKET_CONNECT_TIMEOUT": 0.2}
OURS = ("E020", "E022", "E023", "W010", "W011", "W012", "W013", "W014")


@pytest.fixture(autouse=True)
def redis(settings: Any) -> None:
    REDIS.ready(settings)
    settings.CACHES = {**settings.CACHES, ALIAS: cache(server().url, **BRIEF)}
    settings.IDEMPOTENCY = profile()
    settings.ROOT_URLCONF = ()


def profile(**chosen: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": "django_idempotency.backends.RedisBackend", "CACHE": ALIAS, **chosen}}


def found(*views: Any, deploy: bool = False) -> list[str]:
    """Return the ids of our checks that speak."""
    urls = tuple(path(f"{number}", view) for number, view in enumerate(views))
    with override_settings(ROOT_URLCONF=urls):
        ids = [str(message.id).rpartition(".")[2] for message in run_checks(include_deployment_checks=deploy)]
    return sorted(set(ids) & set(OURS))


@idempotent
def pays(request: Any) -> HttpResponse:
    return written(request)


def written(request: Any) -> HttpResponse:
    Payment.objects.create(key=request.idempotency.key)
    return HttpResponse(status=201)


@idempotent
def sends(request: Any) -> HttpResponse:
    return HttpResponse(models.__name__)


@idempotent
def pays_by_module(request: Any) -> HttpResponse:
    accounts.Group.objects.create(name=request.idempotency.key)
    return HttpResponse(status=201)


@idempotent
def pays_by_package(request: Any) -> HttpResponse:
    auth.models.Group(name=request.idempotency.key).save()
    return HttpResponse(status=201)


LIMITS = SimpleNamespace(most=5)
"""One of those values that cannot be hashed."""
LIMITS.__module__ = __name__


@idempotent
def asks_what_it_has(request: Any) -> HttpResponse:
    """Names of Django's own, and a model's name that is another thing's here."""
    found = isinstance(request, db.models.Model) or db.models.Q() or SimpleNamespace(Payment=models.__name__).Payment
    return HttpResponse(str((found, LIMITS)))


@idempotent("elsewhere")
def stores(request: Any) -> HttpResponse:
    return written(request)


class Method(View):
    @idempotent
    def post(self, request: Any) -> HttpResponse:
        return written(request)


class Plain(View):
    def post(self, request: Any) -> HttpResponse:
        return written(request)


class Reads(View):
    def get(self, request: Any) -> HttpResponse:
        return written(request)

    @idempotent
    def post(self, request: Any) -> HttpResponse:
        return sends(request)


def test_every_check_of_the_backend_is_tested_here():
    package = Path(django_idempotency.__file__).parent / "backends" / "redis"
    told = {number for path in package.glob("*.py") for number in re.findall(r"\b[EW]0\d\d\b", path.read_text())}
    assert told <= set(OURS)
    assert {*OURS} - told == {"E020", "W010"}


class TestSettings:
    def test_a_cache_is_needed(self, settings):
        settings.IDEMPOTENCY = profile(CACHE=None)
        assert found() == ["E022"]

    def test_it_is_one_of_django_redis(self, settings):
        settings.CACHES = {ALIAS: {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        assert found() == ["E020"]

    def test_it_does_not_keep_a_request_waiting(self, settings):
        settings.CACHES = {ALIAS: cache(server().url, SOCKET_TIMEOUT=None)}
        assert found() == ["W010"]

    def test_live_keys_are_not_counted(self, settings):
        settings.IDEMPOTENCY = profile(MAX_LIVE_KEYS=5)
        assert found() == ["E023"]

    def test_nothing_else_is_asked_for(self):
        assert found() == []


class TestViews:
    @pytest.mark.parametrize(
        "view", [pays, pays_by_module, pays_by_package, Method.as_view(), idempotent(Plain.as_view())]
    )
    def test_one_that_names_a_model_is_warned_of(self, view):
        assert found(view) == ["W011"]

    @pytest.mark.parametrize("view", [sends, asks_what_it_has, Reads.as_view()])
    def test_one_whose_protected_part_names_none_is_not(self, view):
        assert found(view) == []

    def test_nor_is_one_on_a_database(self, settings):
        settings.IDEMPOTENCY = {**profile(), "elsewhere": {}}
        assert found(stores) == []


class TestDeployment:
    def test_what_redis_cannot_promise_is_said(self):
        assert found(deploy=True) == ["W012"]

    def test_one_that_drops_keys_when_it_is_full_is_warned_of(self, settings):
        dropping = RedisServer("--maxmemory-policy", "volatile-ttl")
        settings.CACHES = {ALIAS: cache(dropping.url, **BRIEF)}
        assert found(deploy=True) == ["W012", "W013"]
        assert found() == []
        dropping.close()

    def test_one_that_cannot_be_asked_is_said_to_be_so(self, settings):
        dead = RedisServer()
        dead.close()
        settings.CACHES = {ALIAS: cache(dead.url, **BRIEF)}
        assert found(deploy=True) == ["W012", "W014"]

    def test_sqlite_is_no_matter_where_no_record_lives_in_it(self, settings):
        ids = [message.id for message in run_checks(include_deployment_checks=True)]
        assert "django_idempotency.W003" not in ids
