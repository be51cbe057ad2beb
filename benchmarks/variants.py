"""Who is measured, and how each is put round the same view, as its own documentation says."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from benchmarks.client import Client
from benchmarks.views import AtomicPaymentView, PaymentView

View = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Variant:
    slug: str
    title: str
    view: Callable[[], View]
    distribution: str = ""
    module: str = ""
    middleware: tuple[str, ...] = ()
    replays: bool = True
    remembers: bool = False
    """Whether the first repetition puts the answer where the others find it; then it is not the one that is measured."""

    @property
    def path(self) -> str:
        return f"/{self.slug}/payments"

    @property
    def installed(self) -> bool:
        return not self.module or find_spec(self.module) is not None

    @property
    def label(self) -> str:
        if not self.distribution:
            return self.title
        return f"{self.distribution} {version(self.distribution)}"

    @cached_property
    def client(self) -> Client:
        return Client(self.path, self.middleware)


def bare() -> View:
    return PaymentView.as_view()


def bare_atomic() -> View:
    return AtomicPaymentView.as_view()


def committed() -> View:
    from django_idempotency import idempotent

    class CommittedPaymentView(PaymentView):
        post = idempotent(PaymentView.post)

    return CommittedPaymentView.as_view()


def joined() -> View:
    from django_idempotency import idempotent

    class JoinedPaymentView(PaymentView):
        post = idempotent(claim="joined")(PaymentView.post)

    return JoinedPaymentView.as_view()


def cached() -> View:
    from django_idempotency import idempotent

    class CachedPaymentView(PaymentView):
        post = idempotent("cached")(PaymentView.post)

    return CachedPaymentView.as_view()


def redis() -> View:
    from django_idempotency import idempotent

    class RedisPaymentView(PaymentView):
        post = idempotent("redis")(PaymentView.post)

    return RedisPaymentView.as_view()


def large() -> View:
    from django_idempotency import idempotent

    class LargePaymentView(PaymentView):
        database = "large"
        post = idempotent("large")(PaymentView.post)

    return LargePaymentView.as_view()


def django_idempotency_key() -> View:
    from idempotency_key.decorators import idempotency_key

    return idempotency_key(PaymentView.as_view())


def drf_idempotencykey() -> View:
    from drf_idempotencykey.mixins import DrfIdempotencyKeyMixin

    class MixedInPaymentView(DrfIdempotencyKeyMixin, PaymentView):
        pass

    return MixedInPaymentView.as_view()


def djangorestframework_idempotency_key() -> View:
    from rest_framework_idempotency_key.decorators import simple_idempotency_key_method

    class SimplePaymentView(PaymentView):
        post = simple_idempotency_key_method(PaymentView.post)

    return SimplePaymentView.as_view()


BARE = Variant(slug="bare", title="bare view", view=bare, replays=False)
BARE_ATOMIC = Variant(slug="bare-atomic", title="bare view in `atomic()`", view=bare_atomic, replays=False)
COMMITTED = Variant(slug="committed", title="django-idempotency, committed claim", view=committed)
JOINED = Variant(slug="joined", title="django-idempotency, joined claim", view=joined)
CACHED = Variant(
    slug="cached",
    title="django-idempotency, committed claim with CACHE",
    view=cached,
    module="django_redis",
    remembers=True,
)
REDIS = Variant(slug="redis", title="django-idempotency, RedisBackend", view=redis, module="django_redis")
LARGE = Variant(slug="large", title="django-idempotency, large table", view=large)
COMPARED = (
    BARE,
    BARE_ATOMIC,
    COMMITTED,
    JOINED,
    CACHED,
    REDIS,
    Variant(
        slug="cache",
        title="django-idempotency-key",
        view=django_idempotency_key,
        distribution="django-idempotency-key",
        module="idempotency_key",
        middleware=("idempotency_key.middleware.ExemptIdempotencyKeyMiddleware",),
    ),
    Variant(
        slug="mixin",
        title="drf-idempotencykey",
        view=drf_idempotencykey,
        distribution="drf-idempotencykey",
        module="drf_idempotencykey",
    ),
    Variant(
        slug="points",
        title="djangorestframework-idempotency-key",
        view=djangorestframework_idempotency_key,
        distribution="djangorestframework-idempotency-key",
        module="rest_framework_idempotency_key",
        middleware=("rest_framework_idempotency_key.middleware.IdempotencyKeyMiddleware",),
    ),
)
