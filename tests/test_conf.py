"""The IDEMPOTENCY setting: each setting's type, what is said about a wrong one, and when it is read."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_idempotency import conf, idempotent
from django_idempotency.backends import MemoryBackend
from django_idempotency.core.policies import Policy

HOUR = timedelta(hours=1)


def view(request):
    """Stand for a view, a scope and whatever else is called with a request."""
    return "user:1"


RIGHT = [
    *[("BACKEND", value) for value in ("django_idempotency.backends.MemoryBackend", MemoryBackend)],
    *[("DATABASE", value) for value in ("other", None)],
    *[("CACHE", value) for value in ("default", None)],
    *[("MAX_LIVE_KEYS", value) for value in (1, 10_000, None)],
    *[("NAMESPACE", value) for value in ("payments", "n" * 100, "Zahlungen für é")],
    *[("CLAIM", value) for value in ("committed", "joined")],
    *[(name, "X-Header") for name in ("HEADER", "REPLAYED_HEADER")],
    *[(name, value) for name in ("REQUIRED", "STRICT_KEYS", "UUID_KEYS", "STORE_REQUEST") for value in (True, False)],
    *[(name, timedelta(0)) for name in ("TOMBSTONE", "WAIT", "JOIN_TIMEOUT")],
    *[(name, HOUR) for name in ("RETENTION", "TOMBSTONE", "LEASE", "WAIT", "JOIN_TIMEOUT")],
    *[(name, None) for name in ("SCOPE", "KEEP", "AUTHORIZE", "ERROR_RESPONSE", "PRINCIPAL")],
    *[
        (name, value)
        for name in ("SCOPE", "KEEP", "AUTHORIZE", "ERROR_RESPONSE", "FINGERPRINT", "PRINCIPAL")
        for value in (view, "tests.test_conf.view")
    ],
    *[("FINGERPRINT", value) for value in ([], ["/sent_at", "/meta/at"], ("/sent_at",))],
    *[("MIN_KEY_LENGTH", value) for value in (1, 20, 255)],
    ("MAX_RESPONSE", 1),
    *[("MAX_REQUEST", value) for value in (0, 1024, None)],
    *[("REPLAY_HEADERS", value) for value in ([], ["X-Request-Id"], ("X-Request-Id",))],
    *[("CALLBACK_HOSTS", value) for value in ([], ["hooks.shop.example"], ("hooks.shop.example:8443",))],
    *[("MASK", value) for value in ([], ["/customer/name", "/items/*/note"], ("/name",))],
    *[("ENCRYPTION_KEYS", value) for value in ([], ["a key"])],
    *[
        (name, value)
        for name in ("AMOUNT", "CURRENCY", "CALLBACK")
        for value in (None, "/amount", view, "tests.test_conf.view")
    ],
    *[("COUNT_REQUESTS", value) for value in (True, False, None)],
    *[("BULK_IN_CELERY", value) for value in (True, False)],
    ("PROBLEM_TYPES", "urn:problem:"),
    *[("APPROVALS", value) for value in ({}, {"release": None, "go-on": {"EUR": Decimal("1000.50"), "JPY": 9}})],
    *[("AUDIT_HEADS", value) for value in (None, "heads", Path("heads"))],
]

WRONG = [
    *[("BACKEND", value) for value in (None, 1, MemoryBackend(Policy()))],
    *[("DATABASE", value) for value in (1, ["default"])],
    *[("CACHE", value) for value in (1, ["default"])],
    *[("MAX_LIVE_KEYS", value) for value in (0, True, 1.5, "10")],
    *[("NAMESPACE", value) for value in (None, 1, "", "n" * 101, "a\0b")],
    *[("CLAIM", value) for value in ("commited", None, True)],
    *[
        ("APPROVALS", value)
        for value in (None, ["release"], {"relase": None}, {"release": 5}, {"release": {"EUR": 0.5}})
    ],
    *[("AUDIT_HEADS", value) for value in (5, b"heads", True)],
    *[(name, value) for name in ("HEADER", "REPLAYED_HEADER", "PROBLEM_TYPES") for value in (None, 1, b"X")],
    *[
        (name, value)
        for name in ("REQUIRED", "STRICT_KEYS", "UUID_KEYS", "STORE_REQUEST")
        for value in (1, 0, None, "yes")
    ],
    *[(name, value) for name in ("RETENTION", "TOMBSTONE", "WAIT", "JOIN_TIMEOUT") for value in (60, None, -HOUR)],
    *[("COUNT_REQUESTS", value) for value in (1, "yes")],
    *[("BULK_IN_CELERY", value) for value in (1, None)],
    ("RETENTION", timedelta(0)),
    *[
        (name, value)
        for name in ("RETENTION", "TOMBSTONE", "LEASE", "WAIT", "JOIN_TIMEOUT")
        for value in (timedelta(days=36_526), timedelta.max)
    ],
    *[("LEASE", value) for value in (60, None, timedelta(seconds=0.5))],
    *[(name, 1) for name in ("SCOPE", "KEEP", "AUTHORIZE", "ERROR_RESPONSE", "FINGERPRINT", "PRINCIPAL")],
    *[(name, "tests.test_conf.HOUR") for name in ("SCOPE", "KEEP", "AUTHORIZE", "ERROR_RESPONSE", "FINGERPRINT")],
    *[("FINGERPRINT", value) for value in (None, ["sent_at"], [1])],
    *[("MIN_KEY_LENGTH", value) for value in (0, 256, True, "8", None)],
    *[("MAX_RESPONSE", value) for value in (0, True, 1.5, None)],
    *[("MAX_REQUEST", value) for value in (-1, True, "1 MB")],
    *[("REPLAY_HEADERS", value) for value in ("X-Request-Id", [1], None)],
    *[("CALLBACK_HOSTS", value) for value in ("hooks.shop.example", [1], None)],
    *[("MASK", value) for value in ("/name", ["name"], [1], None)],
    *[("ENCRYPTION_KEYS", value) for value in ("a key", [b"a key"], None)],
    *[
        (name, value)
        for name in ("AMOUNT", "CURRENCY", "CALLBACK")
        for value in (1, ["/amount"], "tests.test_conf.HOUR")
    ],
]


class TestTypes:
    def test_every_setting_has_a_right_and_a_wrong_value_here(self):
        assert {name for name, _ in RIGHT} == {name for name, _ in WRONG} == set(conf.VALIDATORS)

    @pytest.mark.parametrize(("name", "value"), RIGHT)
    def test_a_right_value_has_no_fault(self, name, value):
        assert conf.setting_fault(name, value) is None
        with override_settings(IDEMPOTENCY={"default": {name: value}}):
            assert isinstance(conf.get_policy(), Policy)

    @pytest.mark.parametrize(("name", "value"), WRONG)
    def test_a_wrong_value_is_a_fault_that_names_setting_and_value(self, name, value):
        with (
            override_settings(IDEMPOTENCY={"default": {name: value}}),
            pytest.raises(ImproperlyConfigured) as raised,
        ):
            conf.get_policy()
        assert str(raised.value).startswith(f"IDEMPOTENCY['default']: {name} must be ")
        assert "not " in str(raised.value)

    def test_a_path_that_leads_nowhere_is_a_fault(self):
        assert conf.setting_fault("SCOPE", "tests.nowhere.scope").startswith("SCOPE cannot be imported: ")

    def test_an_unknown_setting_is_answered_with_the_nearest(self):
        assert conf.setting_fault("RETENSION", HOUR) == "there is no setting 'RETENSION'; did you mean 'RETENTION'?"

    def test_one_that_is_like_none_is_answered_with_all(self):
        assert conf.setting_fault("xyz", 1).endswith(f". There is {', '.join(sorted(conf.VALIDATORS))}.")

    def test_a_name_that_is_no_text_is_unknown(self):
        assert "there is no setting 7" in conf.setting_fault(7, 1)

    @pytest.mark.parametrize("profile", [None, [], "RETENTION"])
    def test_a_profile_is_a_dict(self, profile):
        assert list(conf.faults(profile)) == ["it must be a dict of settings."]

    def test_every_fault_of_a_profile_is_named(self):
        assert len(list(conf.faults({"WAIT": 1, "RETENTION": HOUR, "CLAIM": "no", "WHAT": 2}))) == 3


class TestProfiles:
    def test_no_setting_is_needed(self):
        assert conf.get_policy() == Policy()

    def test_there_is_a_default_profile_beside_the_others(self):
        with override_settings(IDEMPOTENCY={"webhooks": {"RETENTION": HOUR}}):
            assert conf.get_policy() == Policy()
            assert conf.get_policy("webhooks").retention == HOUR

    def test_a_namespace_is_the_profiles_name_unless_given(self):
        with override_settings(IDEMPOTENCY={"webhooks": {}, "renamed": {"NAMESPACE": "webhooks"}}):
            assert conf.get_policy("webhooks").namespace == conf.get_policy("renamed").namespace == "webhooks"
            assert conf.get_policy("renamed").profile == "renamed"

    def test_profiles_do_not_inherit(self):
        with override_settings(IDEMPOTENCY={"default": {"RETENTION": HOUR}, "webhooks": {}}):
            assert conf.get_policy("webhooks").retention == Policy().retention

    def test_an_unknown_profile_is_answered_with_the_nearest(self):
        with (
            override_settings(IDEMPOTENCY={"webhooks": {}}),
            pytest.raises(ImproperlyConfigured, match="no profile 'webhook'; did you mean 'webhooks'"),
        ):
            conf.get_policy("webhook")

    def test_a_setting_that_is_no_dict_leaves_the_default_profile(self):
        with override_settings(IDEMPOTENCY=[1]):
            assert conf.profiles() == {"default": {}}

    def test_dotted_paths_are_imported_and_lists_frozen(self):
        profile = {"SCOPE": "tests.test_conf.view", "REPLAY_HEADERS": ["X-Id"], "FINGERPRINT": ["/at"]}
        with override_settings(IDEMPOTENCY={"default": profile}):
            policy = conf.get_policy()
        assert (policy.scope, policy.replay_headers, policy.fingerprint) == (view, ("X-Id",), ("/at",))


class TestReading:
    def test_a_changed_setting_is_read_anew_and_the_old_one_after_it(self):
        with override_settings(IDEMPOTENCY={"default": {"RETENTION": HOUR}}):
            assert conf.get_policy().retention == HOUR
        assert conf.get_policy() == Policy()

    def test_another_settings_change_forgets_nothing(self):
        before = conf.get_policy()
        with override_settings(LANGUAGE_CODE="de"):
            assert conf.get_policy() is before

    def test_a_views_choices_go_over_its_profile(self):
        policy = conf.overridden(conf.get_policy(), {"retention": HOUR, "scope": "tests.test_conf.view"})
        assert (policy.retention, policy.scope, policy.tombstone) == (HOUR, view, Policy().tombstone)


class TestDecoratorArguments:
    ARGUMENTS = {
        "claim": "joined",
        "required": False,
        "retention": HOUR,
        "tombstone": timedelta(0),
        "wait": HOUR,
        "scope": view,
        "fingerprint": ["/at"],
        "keep": "tests.test_conf.view",
        "authorize": view,
        "lease": HOUR,
        "store_request": False,
        "amount": "/amount",
        "currency": view,
        "key": view,
        "rerun": True,
        "dry_run": True,
    }

    def test_all_of_them_are_tested_here(self):
        assert {name.upper() for name in self.ARGUMENTS} == {
            name.upper() for name in (*conf.DECORATOR, *conf.DECORATOR_ONLY)
        }

    @pytest.mark.parametrize("name", conf.DECORATOR_ONLY)
    def test_what_belongs_to_one_view_is_no_setting(self, name):
        assert "there is no setting" in conf.setting_fault(name, view)

    @pytest.mark.parametrize(("name", "value"), ARGUMENTS.items())
    def test_each_ends_in_the_views_policy(self, name, value):
        policy, _ = idempotent(**{name: value})(view).idempotent.resolve()
        chosen = {"fingerprint": ("/at",), "keep": view}.get(name, value)
        assert getattr(policy, name) == chosen != getattr(Policy(), name)

    @pytest.mark.parametrize(("name", "value"), [(n.lower(), v) for n, v in WRONG if n.lower() in conf.DECORATOR])
    def test_a_wrong_value_is_refused_at_import(self, name, value):
        with pytest.raises(ImproperlyConfigured, match=rf"idempotent\(\): {name.upper()} must be "):
            idempotent(**{name: value})

    def test_an_unknown_one_is_a_type_error_with_the_nearest(self):
        with pytest.raises(TypeError, match="no argument 'retension'; did you mean 'retention'"):
            idempotent(retension=HOUR)

    def test_a_setting_of_the_profile_alone_is_no_argument(self):
        with pytest.raises(TypeError, match="no argument 'header'"):
            idempotent("webhooks", header="X-Key")

    def test_a_view_follows_a_change_of_its_profile(self):
        rule = idempotent(retention=HOUR)(view).idempotent
        assert rule.resolve()[0].required
        assert rule.resolve()[1] is rule.resolve()[1]
        with override_settings(IDEMPOTENCY={"default": {"REQUIRED": False}}):
            policy, _ = rule.resolve()
        assert (policy.required, policy.retention) == (False, HOUR)

    def test_a_backend_may_be_a_class(self):
        with override_settings(IDEMPOTENCY={"default": {"BACKEND": MemoryBackend}}):
            assert isinstance(idempotent(view).idempotent.resolve()[1], MemoryBackend)
