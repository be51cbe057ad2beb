"""What keeps one client's answers and bodies from another: the secret in the fingerprint, and the decorator's place."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse

from django_idempotency import idempotent
from django_idempotency.core import fingerprints, keys
from django_idempotency.core.policies import Policy
from django_idempotency.http import Exchange


def test_a_fingerprint_cannot_be_made_without_the_secret():
    parts = [b"POST", b"/pay", b'{"card":"4242"}']
    assert fingerprints.fingerprint("one", parts) != fingerprints.fingerprint("another", parts)


@pytest.mark.parametrize("other", [("other", "user:1", "k"), ("default", "user:2", "k"), ("default", "user:1", "l")])
def test_a_record_belongs_to_one_namespace_scope_and_key(other):
    assert keys.record_id(*other) != keys.record_id("default", "user:1", "k")


@pytest.mark.parametrize("name", ["Set-Cookie", "set-cookie"])
def test_a_cookie_set_as_a_header_is_not_kept_whatever_a_project_allows(rf, name):
    response = HttpResponse(headers={name: "session=secret", "X-Paid": "yes"})
    policy = Policy(replay_headers=["Set-Cookie", "X-Paid"])
    names = [name for name, _ in Exchange(rf.post("/"), policy).freeze(response).headers]
    assert names == ["X-Paid", "Content-Type"]


def test_the_decorator_is_refused_round_a_drf_view():
    views = pytest.importorskip("rest_framework.views")
    with pytest.raises(ImproperlyConfigured, match="before authentication"):
        idempotent(views.APIView.as_view())


def test_the_decorator_is_refused_on_dispatch(rf):
    views = pytest.importorskip("rest_framework.views")

    class Payments(views.APIView):
        @idempotent
        def dispatch(self, request, *args, **kwargs):
            raise AssertionError("ran")

    with pytest.raises(ImproperlyConfigured, match="before authentication"):
        Payments.as_view()(rf.post("/", headers={"Idempotency-Key": "k"}))
