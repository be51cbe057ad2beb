"""The documentation: `make docs` builds it, warnings are errors."""

import sys
import tomllib
from pathlib import Path

import django
from django.conf import settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# Enough of a project for the reference, which is made from the docstrings.
settings.configure(
    SECRET_KEY="only for the documentation",  # noqa: S106
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_idempotency"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()

project = "django-idempotency"
author = "django-idempotency contributors"
copyright = author
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "examples"]

html_theme = "furo"
html_title = "django-idempotency"
html_static_path = ["_static"]
html_css_files = ["tables.css"]

# In docstrings single backticks are code, as everywhere else in them.
default_role = "code"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
# Built without a network, so other projects' references stay plain text.
nitpick_ignore_regex = [("py:.*", r"(django|rest_framework|datetime|uuid|collections|typing)\..*")]
