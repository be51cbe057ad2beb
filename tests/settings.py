"""
Settings of the tests' project.

IDEMPOTENCY_TEST_DB=postgresql, mariadb or sqlite picks the database of the process that runs the tests. Nothing is started
and nothing need answer to import this: conftest.py starts a PostgreSQL where none answers.
"""

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

from tests.support import services

HAVE_DRF = importlib.util.find_spec("rest_framework") is not None

TEST_DATABASE = os.environ.get("IDEMPOTENCY_TEST_DB") or (
    "postgresql" if services.postgresql_can_be_had() else "sqlite"
)


def _database(alias: str) -> dict[str, Any]:
    # The process id keeps two runs on one server apart.
    name = f"idempotency_{alias}_{os.getpid()}"
    if TEST_DATABASE == "postgresql":
        return {**services.configured_server().database(name), "TEST": {"NAME": f"test_{name}"}}
    if TEST_DATABASE == "mariadb":
        encoding = {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_unicode_ci"}
        return {**services.configured_mariadb().database(name), "TEST": {"NAME": f"test_{name}", **encoding}}
    # A file, because threads that share an in-memory database do not wait for each other's locks.
    path = str(Path(tempfile.gettempdir()) / f"test_{name}.sqlite3")
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "TEST": {"NAME": path}}


DATABASES = {"default": _database("default"), "other": _database("other")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SECRET_KEY = "only for the tests"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    *(["rest_framework"] if HAVE_DRF else []),
    "django_idempotency",
    "tests.bank",
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tests.bank.auth.HeaderUserMiddleware",
    "tests.desk.csp.PolicyMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["tests.bank.drf_auth.HeaderAuthentication"]}
