"""
What an installer and PyPI get to see.
"""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

NAME = "django-idempotency"
ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def installed():
    return metadata.metadata(NAME)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """
    The files of the wheel: of the installed one, or in a checkout of a freshly built one.
    """
    installed = {str(path) for path in metadata.files(NAME) or ()}
    if "django_idempotency/__init__.py" in installed:
        return installed
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=100, capture_output=True)
    (wheel,) = target.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


class TestWheel:
    def test_it_holds_the_package_and_nothing_else(self, shipped):
        folders = {PurePosixPath(name).parts[0] for name in shipped}
        version = metadata.version(NAME)
        assert folders == {"django_idempotency", f"django_idempotency-{version}.dist-info"}

    def test_it_is_typed(self, shipped):
        assert "django_idempotency/py.typed" in shipped

    @pytest.mark.parametrize("folder", ["migrations", "management/commands"])
    def test_it_holds_what_django_looks_for(self, shipped, folder):
        found = [name for name in shipped if name.startswith(f"django_idempotency/{folder}/")]
        assert len(found) > 1

    @pytest.mark.parametrize("name", ["desk.css", "copy.js", "request.html", "django.mo"])
    def test_it_holds_what_the_admin_shows_its_pages_with(self, shipped, name):
        assert [path for path in shipped if path.endswith(f"/{name}")] != []

    def test_it_holds_the_vectors_of_the_conformance_kit(self, shipped):
        found = {name for name in shipped if name.startswith("django_idempotency/conformance/vectors/")}
        assert len(found) == 48

    def test_it_carries_the_license(self, shipped):
        assert any(name.endswith("dist-info/licenses/LICENSE") for name in shipped)


class TestMetadata:
    def test_the_version_has_one_source(self, installed):
        package = Path(metadata.distribution(NAME).locate_file("django_idempotency"))
        written = PROJECT["version"]
        assert installed["Version"] == written
        assert [path.name for path in package.rglob("*.py") if f'"{written}"' in path.read_text()] == []

    def test_the_classifiers_and_the_floor_name_the_same_pythons(self, installed):
        versions = re.findall(r"Python :: (3\.\d+)$", "\n".join(installed.get_all("Classifier")), re.MULTILINE)
        floor = SpecifierSet(installed["Requires-Python"])
        assert [version for version in versions if version not in floor] == []
        assert versions[0] == "3.11"
        assert "3.10" not in floor

    def test_the_classifiers_name_each_supported_django(self, installed):
        versions = re.findall(r"Django :: (\d\.\d)$", "\n".join(installed.get_all("Classifier")), re.MULTILINE)
        assert versions == ["5.2", "6.0", "6.1"]

    def test_without_extras_it_needs_django_and_the_header_parser_only(self, installed):
        requirements = [Requirement(line) for line in installed.get_all("Requires-Dist")]
        needed = {found.name.lower() for found in requirements if found.marker is None}
        assert needed == {"django", "http-sf"}

    def test_the_extras_are_there(self, installed):
        extras = {"celery", "client", "demo", "drf", "encryption", "gateways", "openapi", "redis", "telemetry"}
        assert extras == set(installed.get_all("Provides-Extra"))

    def test_pytest_finds_the_plugin(self):
        (plugin,) = metadata.distribution(NAME).entry_points.select(group="pytest11")
        assert plugin.value == "django_idempotency.pytest_plugin"

    def test_the_license_is_mit(self, installed):
        assert installed["License-Expression"] == "MIT"


class TestReadme:
    def test_it_is_the_long_description(self, installed):
        assert installed["Description-Content-Type"] == "text/markdown"
        assert installed.get_payload().startswith("# ")

    def test_its_links_work_outside_the_repository(self, installed):
        links = re.findall(r"\]\(([^)\s]+)", installed.get_payload())
        assert [link for link in links if not link.startswith(("https://", "#"))] == []
