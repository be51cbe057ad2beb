"""
The layout of the package, kept: who may import whom, how long things may get, what no file may hold.
Adding a module means giving it a place in tests/layout.py; adding a dependency, one in ONLY_HERE.
"""

import ast
import importlib
import pkgutil
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_idempotency
from tests.layout import MAY_IMPORT

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_idempotency"

# What may be imported in one place only, and so is never needed elsewhere.
ONLY_HERE = {
    "rest_framework": {"drf", "renderers"},
    "drf_spectacular": {"openapi"},
    "celery": {"outbox.targets", "tasks.effects", "tasks.upkeep"},
    "django_redis": {"backends.redis.clusters", "backends.redis.connections"},
    "redis": {"backends.redis.clusters", "backends.redis.connections"},
    "opentelemetry": {"telemetry"},
    "cryptography": {"encryption"},
    "httpx": {
        *("client.answers", "client.attempts", "client.errors", "client.intents", "client.servers"),
        *("client.transports", "gateways.sending"),
    },
}

# The core decides; it neither asks a database nor answers a request.
NEVER_IN_CORE = ("django.db", "django.http", "django.conf", "django.core.cache", "django.views")

# What users may import, and the demo project with them.
PUBLIC_MODULES = {
    "",
    "drf",
    "exceptions",
    "gateways",
    "gateways.example",
    "gateways.fake",
    "models",
    "openapi",
    "renderers",
    "signals",
    "tasks",
    "telemetry",
    "testing",
}

SHAPELESS = {"common", "constants", "helpers", "misc", "types", "utils"}

SHIPPED = ("django_idempotency", "testproject", "benchmarks")
FILE_CEILING = {"django_idempotency": 300, "testproject": 300, "benchmarks": 300, "tests": 400}
FUNCTION_CEILING = 50

TEXT = {".cfg", ".css", ".html", ".ini", ".md", ".py", ".rst", ".sh", ".toml", ".txt", ".yaml", ".yml"}
MACHINE_PATH = re.compile(r"(?<![\w.}])/(?:root|work|tmp|home)/")
UNFINISHED = re.compile(r"\b(?:[T]ODO|[F]IXME|[X]XX)\b")  # in brackets, so that this line is not one


def python_files(*folders: str) -> list[Path]:
    files = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return [path for path in files if "migrations" not in path.parts]


def text_files() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.suffix in TEXT or path.name == "Makefile")
    for folder in (*SHIPPED, "tests", "docs", ".ci"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "_build" not in path.parts and (path.suffix in TEXT or folder == ".ci"):
                yield path


def module_name(path: Path) -> str:
    """
    The dotted name below django_idempotency; "__init__" for the package's own file.
    """
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """
    Every name that a file imports, wherever in the file, absolute: "django.db.models", "django_idempotency.conf".
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{origin(node, path)}.{alias.name}" for alias in node.names)
    return names


def origin(node: ast.ImportFrom, path: Path) -> str:
    if not node.level:
        return node.module or ""
    package = path.relative_to(ROOT).parent.parts
    above = package[: len(package) - node.level + 1]
    return ".".join((*above, node.module) if node.module else above)


def own_imports(path: Path) -> set[str]:
    prefix = "django_idempotency."
    return {name.removeprefix(prefix) for name in imports_of(path) if name.startswith(prefix)}


def lies_in(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def functions_in(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", length


def names_that_check(functions: list[ast.FunctionDef]) -> set[str]:
    """
    The functions that assert something, themselves or through what they call.
    """
    asserting = {node.name for node in functions if any(isinstance(part, ast.Assert) for part in ast.walk(node))}
    checking = asserting | {"fail", "raises", "warns"}
    while found := {node.name for node in functions if called_in(node) & checking} - checking:
        checking |= found
    return checking


def called_in(function: ast.FunctionDef) -> set[str]:
    """
    The last names of everything that is called: "raises" for pytest.raises().
    """
    calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return {ast.unparse(call).rpartition(".")[2] for call in calls}


class TestImports:
    def test_each_module_has_its_place_in_the_table(self):
        parts = {module_name(path).split(".")[0] for path in PACKAGE.rglob("*.py")}
        assert parts - MAY_IMPORT.keys() == set()

    @pytest.mark.parametrize("part", MAY_IMPORT)
    def test_modules_import_only_what_lies_below_them(self, part):
        files = [path for path in PACKAGE.rglob("*.py") if module_name(path).split(".")[0] == part]
        imported = {name.split(".")[0] for path in files for name in own_imports(path)}
        assert imported - MAY_IMPORT[part] - {part} == set()

    @pytest.mark.parametrize("library", ONLY_HERE)
    def test_an_optional_library_is_imported_in_one_place(self, library):
        importers = {
            module_name(path)
            for path in PACKAGE.rglob("*.py")
            if any(lies_in(name, library) for name in imports_of(path))
        }
        assert importers - ONLY_HERE[library] == set()

    def test_the_core_knows_neither_http_nor_a_database(self):
        found = [
            f"{module_name(path)} imports {name}"
            for path in (PACKAGE / "core").rglob("*.py")
            for name in imports_of(path)
            if any(lies_in(name, forbidden) for forbidden in NEVER_IN_CORE)
        ]
        assert found == []

    def test_the_demo_project_uses_public_names_only(self):
        used = {name.rpartition(".")[0] for path in python_files("testproject") for name in own_imports(path)}
        assert used - PUBLIC_MODULES == set()

    def test_no_module_has_a_name_that_says_nothing(self):
        names = {path.stem for path in python_files(*SHIPPED, "tests")}
        assert names & SHAPELESS == set()


class TestOptionalLibraries:
    """
    In a process of its own, where the libraries cannot be imported even if they are installed.
    """

    BLOCK = f"import sys; sys.modules.update(dict.fromkeys({sorted(ONLY_HERE)!r}))\n"
    SET_UP = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="not secret",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_idempotency"],
)
django.setup()
"""

    def run(self, code: str) -> None:
        command = [sys.executable, "-W", "error", "-c", self.BLOCK + code]
        ended = subprocess.run(command, cwd=ROOT, timeout=60, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr

    def test_the_package_is_imported_without_them_and_without_settings(self):
        self.run("from django_idempotency import *; assert callable(idempotent)")

    def test_the_app_is_set_up_without_them(self):
        self.run(self.SET_UP + "from django_idempotency.models import IdempotencyRecord\nassert IdempotencyRecord")


class TestPublicNames:
    @pytest.fixture(params=["django_idempotency", "django_idempotency.backends"])
    def module(self, request):
        return importlib.import_module(request.param)

    def test_all_is_sorted(self, module):
        assert module.__all__ == sorted(module.__all__)

    def test_all_names_only_what_is_there(self, module):
        assert [name for name in module.__all__ if not hasattr(module, name)] == []

    def test_nothing_public_is_left_out(self):
        modules = {found.name for found in pkgutil.iter_modules(django_idempotency.__path__)}
        # Names with an @ are pytest's: it rewrites the assertions of a package that brings a plugin.
        public = {name for name in vars(django_idempotency) if not name.startswith(("_", "@"))}
        lazy_imports_own = {"Any", "TYPE_CHECKING", "annotations"}
        assert public - modules - lazy_imports_own - set(django_idempotency.__all__) == set()


class TestSizes:
    @pytest.mark.parametrize("folder", FILE_CEILING)
    def test_no_file_is_longer_than_its_ceiling(self, folder):
        lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in python_files(folder)}
        assert {name: length for name, length in lengths.items() if length > FILE_CEILING[folder]} == {}

    def test_no_function_is_longer_than_fifty_lines(self):
        functions = (found for path in python_files(*SHIPPED, "tests") for found in functions_in(path))
        assert [found for found in functions if found[1] > FUNCTION_CEILING] == []

    def test_functions_of_the_package_are_short_on_the_whole(self):
        lengths = [length for path in python_files("django_idempotency") for _, length in functions_in(path)]
        assert statistics.median(lengths) < 9
        assert statistics.quantiles(lengths, n=10)[-1] < 25

    def test_files_of_the_package_are_short_on_the_whole(self):
        lengths = [len(path.read_text().splitlines()) for path in python_files("django_idempotency")]
        assert statistics.median(length for length in lengths if length) < 120


class TestContents:
    def test_the_package_prints_nothing(self):
        found = [
            f"{path.relative_to(ROOT)}:{node.lineno}"
            for path in python_files("django_idempotency")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Name) and node.id == "print"
        ]
        assert found == []

    @pytest.mark.parametrize("pattern", [UNFINISHED, MACHINE_PATH], ids=["unfinished", "machine path"])
    def test_no_file_holds_an_unfinished_mark_or_a_path_of_one_machine(self, pattern):
        found = [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
            for path in text_files()
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if pattern.search(line)
        ]
        assert found == []

    def test_every_test_checks_something(self):
        functions = [
            (path, node)
            for path in python_files("tests")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef)
        ]
        checking = names_that_check([node for _, node in functions])
        idle = [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            for path, node in functions
            if node.name.startswith("test_") and node.name not in checking
        ]
        assert idle == []
