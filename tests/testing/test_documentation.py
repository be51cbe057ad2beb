"""The examples of the how-to run as a reader would run them, and each message leads to its paragraph."""

import re
import shutil
from pathlib import Path

import pytest

from django_idempotency import pytest_plugin
from django_idempotency.testing import rounds
from tests.settings import HAVE_DRF

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

if not DOCS.exists():
    pytest.skip("the documentation is not beside the tests", allow_module_level=True)

SETTINGS = """
SECRET_KEY = "not secret"
DATABASES = {{
    "default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3", "TEST": {{"NAME": {database!r}}}}}
}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "django_idempotency", "tests.bank"
]
ROOT_URLCONF = "urls"
"""
MODELS = "from tests.bank.models import Payment\n"
URLS = (
    "from django.urls import path\nfrom {view} import Payments\nurlpatterns = [path('payments', Payments.as_view())]\n"
)
BROKEN = {"from django_idempotency import idempotent": "idempotent = lambda view: view"}


@pytest.fixture
def shop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The project that the examples speak of."""
    if not HAVE_DRF:
        pytest.skip("without Django REST framework")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copytree(DOCS / "examples", pytester.path / "shop")
    (pytester.path / "shop" / "models.py").write_text(MODELS)
    pytester.makepyfile(settings=SETTINGS.format(database="test.sqlite3"))
    return pytester


def run(shop: pytest.Pytester, example: str, view: str) -> dict[str, int]:
    """Run one example against one view, and return how many of its tests ended how."""
    (shop.path / "urls.py").write_text(URLS.format(view=f"shop.{view}"))
    return shop.runpytest_subprocess(f"shop/{example}.py").parseoutcomes()


class TestExamples:
    def test_payments(self, shop):
        assert run(shop, "test_payments", "quickstart") == {"passed": 3}

    def test_charges(self, shop):
        assert run(shop, "test_charges", "gateway_view") == {"passed": 2}

    def test_they_fail_where_the_view_is_not_protected(self, shop):
        view = shop.path / "shop" / "quickstart.py"
        view.write_text(view.read_text().replace(*BROKEN.popitem()))
        assert run(shop, "test_payments", "quickstart") == {"failed": 3}

    def test_sqlite_in_memory_is_told(self, shop):
        shop.makepyfile(settings=SETTINGS.format(database=":memory:"))
        (shop.path / "urls.py").write_text(URLS.format(view="shop.quickstart"))
        ended = shop.runpytest_subprocess("shop/test_payments.py", "-k", "made_once")
        ended.stdout.fnmatch_lines(
            ["*Database 'default' is SQLite in memory, which cannot serve requests in parallel.*"]
        )
        example = shop.path / "shop" / "test_payments.py"
        example.write_text(
            example.read_text().replace("Payment.objects.count)\n\n", "Payment.objects.count, parallel=0)\n\n")
        )
        assert run(shop, "test_payments", "quickstart") == {"passed": 3}


class TestMessages:
    def test_each_leads_to_a_paragraph(self):
        source = Path(rounds.__file__).read_text()
        page = (DOCS / "howto" / "testing-your-views.md").read_text()
        used = set(re.findall(r'^ +"([a-z-]+)",\n +\)$|, "([a-z-]+)"\)$', source, re.MULTILINE))
        anchors = re.findall(r"^\((\S+)\)=$", page, re.MULTILINE)
        assert {one or other for one, other in used} == set(anchors)

    def test_the_fixtures_are_told(self):
        source = Path(pytest_plugin.__file__).read_text()
        page = (DOCS / "howto" / "testing-your-views.md").read_text()
        fixtures = re.findall(r"^@pytest.fixture\ndef (\w+)", source, re.MULTILINE)
        assert re.findall(r"^\| `(idempotency_\w+)` \|", page, re.MULTILINE) == fixtures
