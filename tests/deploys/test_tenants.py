"""Sites with several tenants: by row, by schema, by database. Tenants number their users each from 1."""

from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import RequestFactory

from django_idempotency import idempotent
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment

TABLES = (IdempotencyRecord._meta.db_table, Payment._meta.db_table)


@idempotent
def pay(request):
    payment = Payment.objects.create(nonce="", user=request.tenant)
    return HttpResponse(f"{payment.user} paid", status=201)


def post(tenant, key="key-1"):
    """Send a request of the first user of a tenant, all of whom like the same keys."""
    request = RequestFactory().post("/pay", b"amount=5", content_type="text/plain", headers={"Idempotency-Key": key})
    request.user, request.tenant = User(pk=1), tenant
    return pay(request)


def scope(request):
    return f"{request.tenant}/user:{request.user.pk}"


@pytest.mark.django_db(transaction=True)
class TestByRow:
    def test_a_scope_that_names_the_tenant_keeps_them_apart(self, settings):
        settings.IDEMPOTENCY = {"default": {"SCOPE": scope}}
        assert [post(tenant).content for tenant in ("a", "b", "a", "b")] == [b"a paid", b"b paid"] * 2
        assert Payment.objects.count() == 2

    def test_the_user_alone_does_not(self):
        """Which is why the documentation asks for it."""
        assert [post(tenant).content for tenant in ("a", "b")] == [b"a paid", b"a paid"]


@contextmanager
def schema(name):
    with connection.cursor() as cursor:
        cursor.execute(f"SET search_path TO tenant_{name}, public")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET search_path")


@pytest.fixture
def schemas(transactional_db):
    if connection.vendor != "postgresql":
        pytest.skip("schemas are PostgreSQL's")
    with connection.cursor() as cursor:
        for name in "ab":
            cursor.execute(f"CREATE SCHEMA tenant_{name}")
            for table in TABLES:
                cursor.execute(f"CREATE TABLE tenant_{name}.{table} (LIKE public.{table} INCLUDING ALL)")
    yield
    with connection.cursor() as cursor:
        for name in "ab":
            cursor.execute(f"DROP SCHEMA tenant_{name} CASCADE")


class TestBySchema:
    def test_a_connection_that_goes_from_one_to_the_other_keeps_them_apart(self, schemas):
        """Statements that were prepared under one search_path are sent under another."""
        with schema("a"):
            assert [post("a", key).content for key in ("key-1", "key-2", "key-3")] == [b"a paid"] * 3
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'django_idempotency%'")
                assert cursor.fetchone()[0] > 0
        for key in ("key-1", "key-2", "key-3"):
            for tenant in ("b", "a", "b", "a"):
                with schema(tenant):
                    assert post(tenant, key).content == f"{tenant} paid".encode()
        for tenant in "ab":
            with schema(tenant):
                assert set(Payment.objects.values_list("user", flat=True)) == {tenant}
                assert (Payment.objects.count(), IdempotencyRecord.objects.count()) == (3, 3)
        assert (Payment.objects.count(), IdempotencyRecord.objects.count()) == (0, 0)


class TenantRouter:
    """Sends everything to the database of the tenant that is being served."""

    serving = "default"

    def db_for_read(self, model, **hints):
        return self.serving

    db_for_write = db_for_read


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class TestByDatabase:
    def test_records_are_where_the_router_sends_them_for_each_request(self, settings, monkeypatch):
        settings.DATABASE_ROUTERS = ["tests.deploys.test_tenants.TenantRouter"]
        for alias in ("default", "other", "default", "other"):
            monkeypatch.setattr(TenantRouter, "serving", alias)
            assert post(alias).content == f"{alias} paid".encode()
        for alias in ("default", "other"):
            assert Payment.objects.using(alias).count() == 1
            assert IdempotencyRecord.objects.using(alias).count() == 1
