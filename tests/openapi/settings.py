"""The tests' project with drf-spectacular, which reads the class of schemas while views are imported."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as APPS
from tests.settings import REST_FRAMEWORK as FRAMEWORK

INSTALLED_APPS = [*APPS, "drf_spectacular"]
ROOT_URLCONF = "tests.openapi.urls"
REST_FRAMEWORK = {
    **FRAMEWORK,
    "DEFAULT_SCHEMA_CLASS": os.environ.get("SCHEMA_CLASS", "django_idempotency.openapi.IdempotentAutoSchema"),
}
IDEMPOTENCY = {
    "keys": {"HEADER": "X-Key", "UUID_KEYS": True, "STRICT_KEYS": True},
    "errors": {"ERROR_RESPONSE": "django_idempotency.drf.raise_api_exception"},
}
