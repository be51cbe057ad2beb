"""Each system check: settings under which it speaks, and settings next to them under which it does not."""

import re
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.db import connections
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View

import django_idempotency
from django_idempotency import checks, idempotent, operation
from django_idempotency.operations import checks as operations
from django_idempotency.operations import definitions
from tests.settings import HAVE_DRF

MEMORY = "django_idempotency.backends.MemoryBackend"
BERLIN = {"USE_TZ": False, "TIME_ZONE": "Europe/Berlin"}
WITHOUT_USERS = [name for name in settings.MIDDLEWARE if "AuthenticationMiddleware" not in name]


async def pay_later(request):
    """A coroutine that commits nothing."""


def pay(request):
    return HttpResponse("paid")


class Pay(View):
    post = pay


@method_decorator(idempotent("nowhere"), name="post")
class Named(Pay):
    """Protected by name, under a profile that there is not."""


@method_decorator(idempotent("nowhere"), name="dispatch")
class Dispatched(Pay):
    """Protected as a whole, which is fine for a plain view."""


class Nested(View):
    @idempotent("nowhere")
    def post(self, request):
        return pay(request)


def profile(**chosen):
    return {"IDEMPOTENCY": {"default": chosen}}


def routes(*views):
    """A URLconf of these views, behind an include() for good measure."""
    return {"ROOT_URLCONF": (path("api/", include([path(f"{place}", view) for place, view in enumerate(views)])),)}


def atomic(value):
    """DATABASES cannot be overridden, but what is read of it can."""
    return {"databases": {"ATOMIC_REQUESTS": value}}


PLAIN = routes(idempotent(pay))
# Where each check speaks, and where it has nothing to say.
CASES = {
    "E001": [
        ({"IDEMPOTENCY": []}, {"IDEMPOTENCY": {}}),
        ({"IDEMPOTENCY": {"default": None}}, {"IDEMPOTENCY": {"default": {}}}),
    ],
    "E002": [(profile(RETENSION=1), profile())],
    "E003": [(profile(MAX_RESPONSE="1 MB"), profile(MAX_RESPONSE=1024))],
    "E004": [(profile(SCOPE="tests.nowhere.scope"), profile(SCOPE="tests.test_checks.pay"))],
    "E005": [
        (profile(BACKEND="tests.nowhere.Backend"), profile(BACKEND="django_idempotency.backends.DatabaseBackend")),
        (profile(BACKEND="tests.test_checks.pay"), profile()),
        (profile(BACKEND=View), profile()),
    ],
    "E006": [(profile(DATABASE="elsewhere"), profile(DATABASE="other"))],
    "E007": [
        (profile(BACKEND=MEMORY), {**profile(BACKEND=MEMORY), "DEBUG": True}),
        (profile(BACKEND=MEMORY), profile()),
    ],
    "E008": [({"vendor": "oracle"}, {"vendor": "postgresql"}), ({"vendor": "oracle"}, {"vendor": "mysql"})],
    "E009": [
        (profile(REPLAY_HEADERS=["set-Cookie"]), profile(REPLAY_HEADERS=["X-Request-Id"])),
        (profile(REPLAY_HEADERS=["X-Id", "Transfer-Encoding"]), profile(REPLAY_HEADERS=["X-Id"])),
    ],
    "E011": [
        (routes(idempotent("nowhere")(pay)), PLAIN),
        (routes(Named.as_view()), routes(Pay.as_view())),
        (routes(Nested.as_view()), {**routes(Nested.as_view()), "IDEMPOTENCY": {"nowhere": {}}}),
        (routes(idempotent("nowhere")(Pay.as_view())), routes(pay)),
    ],
    "E014": [
        (
            {"vendor": "mysql", "databases": {"OPTIONS": {"isolation_level": "READ UNCOMMITTED"}}},
            {"vendor": "mysql", "databases": {"OPTIONS": {"isolation_level": "repeatable read"}}},
        ),
        (
            {"vendor": "mysql", "databases": {"OPTIONS": {"isolation_level": "read uncommitted"}}},
            {"vendor": "postgresql", "databases": {"OPTIONS": {"isolation_level": "read uncommitted"}}},
        ),
    ],
    "W001": [
        ({**PLAIN, **atomic(True)}, {**PLAIN, **atomic(False)}),
        ({**PLAIN, **atomic(True)}, {**routes(pay), **atomic(True)}),
    ],
    "W002": [
        ({**PLAIN, "MIDDLEWARE": WITHOUT_USERS}, PLAIN),
        ({**PLAIN, "MIDDLEWARE": WITHOUT_USERS}, {**routes(pay), "MIDDLEWARE": WITHOUT_USERS}),
        (
            {**PLAIN, "MIDDLEWARE": WITHOUT_USERS},
            {**routes(idempotent(scope=pay)(pay)), "MIDDLEWARE": WITHOUT_USERS},
        ),
    ],
    "W003": [({"vendor": "sqlite"}, {"vendor": "postgresql"})],
    "W004": [({"databases": {"TEST": {"MIRROR": "default"}}}, {"databases": {"TEST": {"MIRROR": None}}})],
    "W007": [
        ({"vendor": "mysql", **BERLIN}, {"vendor": "mysql", **BERLIN, "USE_TZ": True}),
        ({"vendor": "sqlite", **BERLIN}, {"vendor": "postgresql", **BERLIN}),
        (
            {"vendor": "mysql", "databases": {"TIME_ZONE": "Europe/Berlin"}},
            {"vendor": "mysql", "databases": {"TIME_ZONE": "Asia/Kolkata"}},
        ),
    ],
    "W005": [(routes(idempotent(pay_later)), routes(idempotent(rerun=True)(pay_later)))],
}
FLAT = [(number, *case) for number, cases in CASES.items() for case in cases]
BY_DRF = {"E010"}
OF_OPERATIONS = {"E015", "E016", "W006"}


class Connections:
    """Django's connections, but what is said of `default` is given."""

    def __init__(self, given):
        of_default = {**connections.settings["default"], **given.get("databases", {})}
        self.settings = {"default": of_default, "other": connections.settings["other"]}
        self.default = SimpleNamespace(
            vendor=given.get("vendor", "postgresql"), display_name="MySQL", settings_dict=of_default
        )

    def __getitem__(self, alias):
        return self.default


@pytest.fixture
def registry(monkeypatch):
    """The operations that there are: at first, none."""
    found = {}
    monkeypatch.setattr(definitions, "REGISTRY", found)
    return found


@pytest.fixture
def messages(monkeypatch, registry):
    """Our messages under some settings."""
    from django_idempotency.backends import db

    def found(given):
        fake = {name: value for name, value in given.items() if name.islower()}
        with ExitStack() as stack:
            stack.enter_context(override_settings(**{name: given[name] for name in given.keys() - fake.keys()}))
            patch = stack.enter_context(monkeypatch.context())
            if fake:
                patch.setattr(db, "connections", Connections(fake))
                patch.setattr(checks, "connections", Connections(fake))
                patch.setattr(operations, "connections", Connections(fake))
            return ours(include_deployment_checks=True)

    return found


def ours(**options):
    walking = [checks.check_views, checks.check_coroutines]
    everything = [checks.check_settings, checks.check_atomic_requests, checks.check_operations, *walking]
    everything.append(checks.check_sqlite)
    found = [message for check in everything for message in check(None, **options)]
    assert all(message.id.startswith("django_idempotency.") for message in found)
    return found


def numbers(found):
    return {message.id.removeprefix("django_idempotency.") for message in found}


class TestCases:
    def test_every_check_of_the_package_is_tested(self):
        root = Path(django_idempotency.__file__).parent
        # Those of RedisBackend and of the cache are tested with them.
        backends = [path for path in (root / "backends").rglob("*.py") if "redis" not in path.parts]
        sources = [root / "checks.py", root / "operations" / "checks.py", *backends]
        told = {number for source in sources for number in re.findall(r"\b[EW]0\d\d\b", source.read_text())}
        assert told == {*CASES, *BY_DRF, *OF_OPERATIONS}

    @pytest.mark.parametrize(("number", "given", "_"), FLAT)
    def test_it_speaks(self, messages, number, given, _):
        found = {message.id: message for message in messages(given)}
        assert number in numbers(found.values())
        message = found[f"django_idempotency.{number}"]
        assert message.is_serious() == (number.startswith("E"))
        assert "\n" not in message.msg

    @pytest.mark.parametrize(("number", "_", "given"), FLAT)
    def test_it_has_nothing_to_say(self, messages, number, _, given):
        assert number not in numbers(messages(given))

    def test_the_settings_that_fit_are_quiet(self, messages):
        assert messages({**PLAIN, "IDEMPOTENCY": {"webhooks": {}}, "vendor": "postgresql"}) == []


class TestMessages:
    def test_an_unknown_setting_is_answered_with_the_nearest(self, messages):
        (message,) = messages({**profile(RETENSION=1), **PLAIN, "vendor": "postgresql"})
        assert "IDEMPOTENCY['default']: there is no setting 'RETENSION'; did you mean 'RETENTION'?" in message.msg

    def test_one_faulty_setting_does_not_hide_another(self, messages):
        found = messages({"IDEMPOTENCY": {"default": {"WAIT": 1, "WHAT": 1}, "webhooks": {"CLAIM": "x"}}})
        assert len([message for message in found if message.level >= 40]) == 3

    def test_atomic_requests_are_told_with_the_way_out(self, messages):
        (message,) = [found for found in messages({**PLAIN, **atomic(True)}) if found.id.endswith("W001")]
        assert "'default'" in message.msg
        assert "non_atomic_requests" in message.hint

    @pytest.mark.parametrize("view", [Named, Dispatched, Nested])
    def test_a_view_is_named_once(self, messages, view):
        found = [message for message in messages(routes(view.as_view())) if message.id.endswith("E011")]
        assert [message.msg.split(" ")[0] for message in found] == [f"{__name__}.{view.__name__}"]
        assert "default" in found[0].hint

    def test_a_faulty_profile_is_told_once_and_not_for_each_view(self, messages):
        found = messages({**profile(WAIT=1), **PLAIN, "MIDDLEWARE": WITHOUT_USERS, "vendor": "postgresql"})
        assert numbers(found) == {"E003"}

    def test_sqlite_is_told_only_where_the_records_live(self, messages):
        found = messages({**profile(DATABASE="elsewhere"), "vendor": "sqlite"})
        assert "W003" not in numbers(found)


class TestWalk:
    def test_without_a_urlconf_there_is_no_view(self):
        with override_settings(ROOT_URLCONF=None):
            assert list(checks.protected_views()) == []

    def test_the_views_of_the_tests_are_found_and_free_of_faults(self):
        names = {name for name, _, _ in checks.protected_views()}
        assert "tests.bank.plain.pay" in names
        assert checks.check_views(None) == []

    def test_an_empty_cell_is_no_view(self):
        def outer():
            def inner(request):
                return later

            if outer is None:
                later = 1
            return inner

        class Late(View):
            post = staticmethod(outer())

        with override_settings(**routes(Late.as_view())):
            assert list(checks.protected_views()) == []

    @pytest.mark.django_db(databases="__all__")
    def test_django_runs_them_all(self):
        with override_settings(IDEMPOTENCY=[], **routes(idempotent("nowhere")(pay))):
            found = numbers(m for m in run_checks() if m.id.startswith("django_idempotency"))
        assert found == {"E001", "E011"}

    @pytest.mark.django_db(databases="__all__")
    def test_sqlite_is_told_on_deployment_only(self):
        registered = {"sqlite": {"W003"}}.get(settings.TEST_DATABASE, set())
        deployed = run_checks(include_deployment_checks=True)
        assert numbers(m for m in deployed if m.id.startswith("django_idempotency")) == registered
        assert [m for m in run_checks() if m.id.startswith("django_idempotency")] == []


@pytest.mark.skipif(not HAVE_DRF, reason="E010 is about DRF's views")
class TestMisplaced:
    def speaks(self, view):
        with override_settings(**routes(view)):
            return [message for message in checks.check_views(None) if message.id.endswith("E010")]

    def view_class(self, **members):
        from rest_framework.views import APIView

        return type("Payments", (APIView,), {"__module__": __name__, **members})

    def test_on_dispatch_by_name_it_speaks_and_shows_the_right_order(self):
        (message,) = self.speaks(method_decorator(idempotent, name="dispatch")(self.view_class()).as_view())
        assert message.msg.startswith(f"{__name__}.")
        assert "@api_view(['POST'])\n    @idempotent" in message.msg

    def test_on_a_dispatch_of_its_own_it_speaks(self):
        @idempotent
        def dispatch(self, request, *args, **kwargs):
            return super().dispatch(request, *args, **kwargs)

        assert len(self.speaks(self.view_class(dispatch=dispatch).as_view())) == 1

    def test_round_a_view_that_was_not_known_for_drfs_it_speaks(self):
        view = self.view_class().as_view()

        def opaque(request):
            return view(request)

        hidden = idempotent(opaque)
        hidden.cls = view.cls
        assert len(self.speaks(hidden)) == 1

    def test_on_a_method_it_has_nothing_to_say(self):
        assert self.speaks(self.view_class(post=idempotent(lambda self, request: None)).as_view()) == []

    def test_below_api_view_the_rule_is_found_where_drf_has_hidden_it(self):
        from rest_framework.decorators import api_view

        with override_settings(**routes(api_view(["POST"])(idempotent("nowhere")(pay)))):
            assert numbers(checks.check_views(None)) == {"E011"}

    def test_a_drf_view_without_authentication_is_anonymous(self):
        post = idempotent(lambda self, request: None)
        for classes, expected in (([], {"W002"}), ([object], set())):
            view = self.view_class(post=post, authentication_classes=classes).as_view()
            with override_settings(**routes(view)):
                assert numbers(checks.check_views(None)) == expected


class Gateway:
    key_ttl = timedelta(days=45)

    def charge(self, *, idempotency_key):
        """Charge nothing."""


GATEWAY = Gateway()


def paying(op):
    return op.remote(GATEWAY.charge)


def refunding(op):
    return op.phase(pay)


SERVED = {"vendor": "postgresql"}


class TestOperations:
    """Each speaks for an operation that it is true of, and not for the one beside it."""

    def test_without_operations_there_is_nothing_to_say(self, messages):
        assert numbers(messages({**routes(pay), **atomic(True)})) == set()

    def test_a_gateway_must_not_remember_keys_for_longer_than_we_do(self, messages, registry):
        operation(refunding)
        assert numbers(messages(SERVED)) == set()
        operation(paying)
        (message,) = messages(SERVED)
        assert (message.id, "GATEWAY" in message.msg, "45 days" in message.msg) == (
            "django_idempotency.E016",
            True,
            True,
        )
        assert messages({**SERVED, **profile(TOMBSTONE=timedelta(days=42))}) == []
        operation(tombstone=timedelta(days=42))(paying)
        assert messages(SERVED) == []

    def test_the_journal_needs_a_database(self, messages, registry):
        operation("fast")(refunding)
        fast = {"IDEMPOTENCY": {"fast": {"BACKEND": MEMORY}}}
        assert "E015" in numbers(messages({**SERVED, **fast}))
        assert numbers(messages({**SERVED, "IDEMPOTENCY": {"fast": {}}})) == set()

    def test_its_profile_must_be_there_and_without_fault(self, messages, registry):
        operation("fast")(paying)
        assert numbers(messages(SERVED)) == {"E011"}
        assert numbers(messages({**SERVED, "IDEMPOTENCY": {"fast": {"RETENSION": 1}}})) == {"E002"}
        assert numbers(messages({**SERVED, "IDEMPOTENCY": {"fast": {"BACKEND": "nowhere.Backend"}}})) >= {"E005"}

    def test_atomic_requests_are_in_the_way(self, messages, registry):
        operation(refunding)
        assert numbers(messages({**routes(pay), **atomic(True)})) == {"W006"}
        assert numbers(messages({**routes(pay), **atomic(False)})) == set()
