"""The documentation says what the code does: its examples run, and nothing of the package is left out."""

import importlib
import importlib.util
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class
from django.dispatch import Signal
from django.test import Client, override_settings
from django.urls import path as url

import django_idempotency
from django_idempotency import conf, http, signals
from django_idempotency.core.policies import Policy
from tests.bank.models import Payment

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"

if not DOCS.exists():
    pytest.skip("the documentation is not beside the tests", allow_module_level=True)

HAVE_DRF = importlib.util.find_spec("rest_framework") is not None
PAGES = [ROOT / "README.md", *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
INCLUDED = re.compile(r"\{literalinclude\} \S*examples/(\w+\.py)")
SIGNALS = {name: signal for name, signal in vars(signals).items() if isinstance(signal, Signal)}
HEADERS = {"Authorization": "Test 1", "Idempotency-Key": "key-1"}


def page(name: str) -> str:
    return (DOCS / name).read_text()


def blocks() -> Iterator[Any]:
    for source in PAGES:
        for number, found in enumerate(BLOCK.finditer(source.read_text()), 1):
            yield pytest.param(found[1], id=f"{source.relative_to(ROOT)}:{number}")


@pytest.fixture(autouse=True)
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The project that the examples speak of: the examples themselves, and a model of the tests' bank."""
    package = types.ModuleType("shop")
    package.__path__ = [str(EXAMPLES)]
    models = types.ModuleType("shop.models")
    models.Payment = Payment  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop", package)
    monkeypatch.setitem(sys.modules, "shop.models", models)
    for signal in SIGNALS.values():
        monkeypatch.setattr(signal, "receivers", [*signal.receivers])
    yield
    for name in [name for name in sys.modules if name.startswith("shop.")]:
        del sys.modules[name]


def skip_without_drf(code: str) -> None:
    if not HAVE_DRF and re.search(r"rest_framework|drf_spectacular|django_idempotency\.drf", code):
        pytest.skip("without Django REST framework")


def load(name: str) -> Any:
    """Run one example as the module that it would be."""
    skip_without_drf((EXAMPLES / f"{name}.py").read_text())
    return importlib.import_module(f"shop.{name}")


def at(*patterns: Any) -> Any:
    """Settings under which the project consists of these URLs."""
    urlconf = types.ModuleType("urlconf")
    urlconf.urlpatterns = patterns  # type: ignore[attr-defined]
    return override_settings(ROOT_URLCONF=urlconf)


def post(view: Any, body: Any, *, content_type: str = "application/json", **headers: str) -> Any:
    """Send a request to one view, at /pay."""
    with at(url("pay", view)):
        data = json.dumps(body) if content_type == "application/json" else body
        return Client().post("/pay", data, content_type=content_type, headers={**HEADERS, **headers})


def assert_runs_once(view: Any, body: Any, **options: Any) -> Any:
    """Send a request twice: one effect, one answer."""
    before = Payment.objects.count()
    first, again = post(view, body, **options), post(view, body, **options)
    assert first.status_code in (200, 201), first.content
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert Payment.objects.count() == before + 1
    return first


class TestBlocks:
    @pytest.mark.parametrize("code", list(blocks()))
    def test_each_block_runs_and_its_settings_have_no_fault(self, code: str) -> None:
        skip_without_drf(code)
        namespace: dict[str, Any] = {"__name__": "block"}
        exec(compile(code, "block", "exec"), namespace)
        for profile in namespace.get("IDEMPOTENCY", {}).values():
            assert list(conf.faults(profile)) == []

    def test_there_are_blocks_to_run(self) -> None:
        assert len(list(blocks())) > 10

    def test_the_readme_shows_the_example_of_the_quickstart(self) -> None:
        shown = BLOCK.findall((ROOT / "README.md").read_text())
        assert shown == [(EXAMPLES / "quickstart.py").read_text()]

    def test_each_example_is_shown(self) -> None:
        shown = {name for source in PAGES for name in INCLUDED.findall(source.read_text())}
        # The gateway stands for a library that readers have already.
        assert shown | {"gateway.py"} == {example.name for example in EXAMPLES.glob("*.py")}


@pytest.mark.django_db(transaction=True)
class TestExamples:
    def test_quickstart(self) -> None:
        first = assert_runs_once(load("quickstart").Payments.as_view(), {"amount": 5})
        assert first.json()["amount"] == 5
        assert post(load("quickstart").Payments.as_view(), {"amount": 6}).status_code == 422

    def test_a_view_that_calls_a_gateway_charges_once(self) -> None:
        view, gateway = load("gateway_view").Payments.as_view(), load("gateway")
        assert_runs_once(view, {"amount": 5})
        assert list(gateway.CHARGES.values()) == [5]

    @pytest.mark.parametrize(
        ("card", "status", "payments"), [("4242424242424242", 201, 1), ("4000000000000002", 402, 0)]
    )
    def test_a_payment_through_a_gateway(
        self, card: str, status: int, payments: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("httpx", reason="without httpx")
        from django_idempotency.gateways import Journaled
        from django_idempotency.gateways.example import ExampleGateway
        from django_idempotency.gateways.fake import FakeGateway
        from django_idempotency.gateways.sending import new_client

        class Gateway(ExampleGateway):
            def charge(self, *, payment_method: str, **asked: Any) -> Any:  # type: ignore[override]
                return super().charge(card=payment_method, **asked)

        found, body = load("gateway_payment"), {"amount": 1250, "currency": "EUR", "payment_method": card}
        with FakeGateway() as fake, new_client() as client:
            monkeypatch.setattr(found, "stripe", Journaled(Gateway(fake.url, client=client)))
            answers = [post(found.Payments.as_view(), body) for _ in range(2)]
            assert len(fake.book.entries("charges")) == 1
        assert [answer.status_code for answer in answers] == [status, status]
        assert answers[1].headers["Idempotent-Replayed"] == "true"
        assert Payment.objects.count() == payments

    def test_a_declined_charge_is_an_answer_that_is_kept(self) -> None:
        view = load("gateway_view").Payments.as_view()
        answers = [post(view, {"amount": 402}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [402, 402]
        assert answers[1].headers["Idempotent-Replayed"] == "true"

    def test_a_kept_answer_out_of_a_service(self) -> None:
        view, form = load("declined").pay, "application/x-www-form-urlencoded"
        assert_runs_once(view, "amount=5", content_type=form)
        declined = [post(view, "amount=402", content_type=form, **{"Idempotency-Key": "key-2"}) for _ in range(2)]
        assert [answer.status_code for answer in declined] == [402, 402]
        assert declined[1].headers["Idempotent-Replayed"] == "true"

    @pytest.mark.parametrize("method", ["create", "refund"])
    def test_drf_view_sets(self, method: str) -> None:
        payment = Payment.objects.create(amount=5)
        view = load("drf_views").PaymentViewSet.as_view({"post": method})
        assert_runs_once(lambda request: view(request, pk=payment.pk), {"amount": 5})

    @override_settings(IDEMPOTENCY={"webhooks": {}})
    def test_drf_functions(self) -> None:
        assert_runs_once(load("drf_views").hook, {"amount": 5})

    @pytest.mark.parametrize("name", ["pay", "refunds"])
    def test_plain_views(self, name: str) -> None:
        views = {pattern.pattern._route: pattern.callback for pattern in load("plain_views").urlpatterns}
        assert_runs_once(views[name], {"amount": 5})

    @pytest.mark.parametrize("name", ["transfers", "payouts"])
    def test_plain_class_based_views(self, name: str) -> None:
        views = {pattern.pattern._route: pattern.callback for pattern in load("plain_views").urlpatterns}
        assert_runs_once(views[name], "amount=5", content_type="application/x-www-form-urlencoded")

    @pytest.mark.parametrize("name", ["Payments", "pay"])
    def test_views_that_opt_out_of_atomic_requests(self, name: str) -> None:
        found = getattr(load("non_atomic"), name)
        view = found.as_view() if name == "Payments" else found
        assert_runs_once(view, {"amount": 5})
        handler = view if name == "pay" else view.cls.dispatch
        assert handler._non_atomic_requests == {"default"}

    @pytest.mark.parametrize("name", ["async_commit", "async_gateway"])
    def test_coroutine_views(self, name: str) -> None:
        found = load(name)
        assert_runs_once(found.pay if name == "async_commit" else found.Payments.as_view(), {"amount": 5})

    def test_rolling_out_counts_who_sends_no_key(self, caplog: pytest.LogCaptureFixture) -> None:
        view = load("rolling_out").Payments.as_view()
        assert_runs_once(view, {"amount": 5})
        assert "sends no key" not in caplog.text
        with at(url("pay", view)):
            answer = Client().post("/pay", {"amount": 5}, content_type="application/json")
        assert answer.status_code == 201
        assert "somebody sends no key" in caplog.text

    def test_the_keyed_client_sends_a_fresh_key_each_time(self) -> None:
        client = load("keyed_client").KeyedClient()
        with at(*load("plain_views").urlpatterns):
            answers = [client.post("/pay", {"amount": 5}, content_type="application/json") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].content != answers[1].content

    @override_settings(IDEMPOTENCY={"default": {"ERROR_RESPONSE": "shop.errors.error_response"}})
    def test_an_error_in_the_shape_of_the_api(self) -> None:
        view = load("quickstart").Payments.as_view()
        post(view, {"amount": 5})
        answer = post(view, {"amount": 6})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["code"] == "key-reused"

    @override_settings(IDEMPOTENCY={"default": {"ERROR_RESPONSE": "django_idempotency.drf.raise_api_exception"}})
    def test_an_error_through_the_exception_handler_of_drf(self) -> None:
        view = load("quickstart").Payments.as_view()
        post(view, {"amount": 5})
        answer = post(view, {"amount": 6})
        assert answer.status_code == 422
        assert "another request" in answer.json()["detail"]

    def test_observers_see_replays_and_refusals(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO")
        load("observers")
        view = load("plain_views").pay
        assert_runs_once(view, {"amount": 5})
        post(view, {"amount": 6})
        assert "A retry of POST /pay got its first answer." in caplog.text
        assert "/pay was refused: key-reused" in caplog.text


class TestReference:
    def test_the_settings_are_those_of_the_code(self) -> None:
        named = re.findall(r"^\| `([A-Z_]+)`(\*?) \|", page("reference/settings.md"), re.MULTILINE)
        assert sorted(name for name, _ in named) == sorted(conf.VALIDATORS)
        assert {name.lower() for name, star in named if star} == set(conf.DECORATOR)

    def test_the_checks_are_those_of_the_code(self) -> None:
        sources = Path(django_idempotency.__file__).parent.rglob("*.py")
        used = {found for source in sources for found in re.findall(r"[\".]([EWI]\d{3})\"", source.read_text())}
        told = re.findall(r"^`django_idempotency\.(\w+)`$", page("reference/checks.md"), re.MULTILINE)
        assert told == sorted(used)

    def test_the_signals_are_those_of_the_code(self) -> None:
        told = re.findall(r"^\| `(\w+)` \|", page("reference/signals.md"), re.MULTILINE)
        assert sorted(told) == sorted(SIGNALS)

    def test_the_commands_and_their_options_are_those_of_the_code(self) -> None:
        text = page("reference/commands.md")
        ours = sorted(name for name, app in get_commands().items() if app == "django_idempotency")
        assert re.findall(r"^## (idempotency_\w+)$", text, re.MULTILINE) == ours
        for name in ours:
            parser = load_command_class("django_idempotency", name).create_parser("manage.py", name)
            general = {"--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback"}
            general |= {"--no-color", "--force-color", "--skip-checks"}
            options = {option for option in parser._option_string_actions if option.startswith("--")} - general
            (line,) = re.findall(rf"^\$ python manage.py {name} (.*)$", text, re.MULTILINE)
            assert set(re.findall(r"--[a-z-]+", line)) == options

    def test_each_problem_code_has_the_anchor_that_its_type_leads_to(self) -> None:
        anchors = re.findall(r"^\((\S+)\)=\n### (\S+)$", page("reference/answers.md"), re.MULTILINE)
        assert [anchor for anchor, _ in anchors] == [heading for _, heading in anchors] == list(http.STATUSES)
        assert Policy().problem_types.endswith("/reference/answers.html#")

    @pytest.mark.parametrize(("code", "status"), [(code, status) for code, (status, _) in http.STATUSES.items()])
    def test_each_problem_code_has_its_status(self, code: str, status: int) -> None:
        text = page("reference/answers.md")
        assert re.search(rf"^### {code}\n\nStatus {status}\b", text, re.MULTILINE)
        assert re.search(rf"^\|[^|]*\| {status}\b[^|]*\| \[`{code}`\]\(#{code}\) \|", text, re.MULTILINE)

    def test_each_column_of_the_record_is_told(self) -> None:
        from django_idempotency.models import IdempotencyRecord

        told = re.findall(r"`(\w+)`", page("reference/api.md"))
        assert {field.name for field in IdempotencyRecord._meta.get_fields()} - set(told) == set()

    def test_what_is_not_kept_is_said_in_bold(self) -> None:
        assert "**What is not kept rolls back everything the view wrote" in page("quickstart.md")
        assert "**What is not kept rolls back everything the view wrote" in page("explanation/guarantees.md")
