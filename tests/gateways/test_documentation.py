"""The guide's example runs as a reader would run it, and the tables say what the code does."""

import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from django_idempotency.gateways import adyen, checkout, paypal, results, square, stripe
from django_idempotency.gateways.fake import Kind
from django_idempotency.gateways.sending import REFUSED, RETRYABLE

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

if not DOCS.exists():
    pytest.skip("the documentation is not beside the tests", allow_module_level=True)

ADAPTERS = {
    "Stripe": stripe.Stripe,
    "Adyen": adyen.Adyen,
    "PayPal": paypal.PayPal,
    "Square": square.Square,
    "Checkout.com": checkout.Checkout,
}
SPANS = {
    "24 hours": timedelta(hours=24),
    "7 days": timedelta(days=7),
    "6 hours": timedelta(hours=6),
    "`None`: not published": None,
}
SETTINGS = """
SECRET_KEY = "not secret"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_idempotency"]
"""


def guide():
    return (DOCS / "howto" / "write-a-gateway.md").read_text()


def reference():
    return (DOCS / "reference" / "gateways.md").read_text()


def row(name):
    """The cells of a row of the providers' table, by provider."""
    line = next(line for line in reference().splitlines() if line.startswith(f"| {name} |"))
    return dict(zip(ADAPTERS, [cell.strip() for cell in line.strip("|").split("|")][1:], strict=True))


def run(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings")
    pytester.makepyfile(settings=SETTINGS)
    shutil.copytree(DOCS / "examples" / "gateway_cases", pytester.path / "gateway_cases")
    shutil.copy(DOCS / "examples" / "test_example_gateway.py", pytester.path)
    return pytester.runpytest_subprocess("-W", "error", "test_example_gateway.py")


def test_the_example_passes(pytester, monkeypatch):
    outcomes = run(pytester, monkeypatch).parseoutcomes()
    assert outcomes.keys() == {"passed"}
    assert outcomes["passed"] > 15


def test_each_fault_is_described():
    assert {kind.value for kind in Kind} - set(re.findall(r"`([a-z-]+)`", guide())) == set()


def test_the_statuses_are_those_of_the_code():
    rows = re.findall(r"^\| ([\d, ]+) \| `Failed", guide(), re.MULTILINE)
    assert [{int(status) for status in cell.split(",")} for cell in rows] == [set(RETRYABLE), set(REFUSED)]


def test_each_result_is_described():
    described = re.findall(r"^\| `([A-Z]\w+)`, `([a-z-]+)` \|", reference(), re.MULTILINE)
    assert described == [(kind.__name__, status) for status, kind in results.KINDS.items()]


def test_how_long_keys_live_is_what_the_code_says():
    assert {name: SPANS[cell] for name, cell in row("`key_ttl`").items()} == {
        name: adapter.key_ttl for name, adapter in ADAPTERS.items()
    }


@pytest.mark.parametrize("call", ["find", "capture", "find_capture", "refund"])
def test_the_calls_are_those_of_the_code(call):
    title = next(line for line in reference().splitlines() if line.startswith("|") and f"`{call}`" in line)
    cells = row(title.strip("|").split("|")[0].strip())
    assert {name for name, cell in cells.items() if cell != "no"} == {
        name for name, adapter in ADAPTERS.items() if hasattr(adapter, call)
    }


@pytest.mark.parametrize(
    ("name", "module"), [("Stripe", stripe), ("Adyen", adyen), ("PayPal", paypal), ("Checkout.com", checkout)]
)
def test_each_currency_that_is_counted_otherwise_is_named(name, module):
    line = next(line for line in reference().splitlines() if line.startswith(f"| {name} |"))
    units = module.UNITS
    assert set(re.findall(r"\b[A-Z]{3}\b", line)) - {"ISO"} == {*units.decimals, *units.multiples, *units.refused}
