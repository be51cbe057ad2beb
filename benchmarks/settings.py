"""One Django project in which every measured package lives side by side."""

import os
from importlib.util import find_spec
from typing import Any

DATABASE_NAME = os.environ.get("BENCH_DATABASE", "django_idempotency_bench")
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")

OPTIONAL_APPS = ("drf_idempotencykey", "rest_framework_idempotency_key")


def postgresql(name: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "PORT": os.environ.get("PGPORT", "5432"),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
        # As behind a real server with persistent connections: connecting is not what is measured.
        "CONN_MAX_AGE": None,
    }


SECRET_KEY = "benchmarks"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "benchmarks.urls"
MIDDLEWARE: list[str] = []
DATABASES = {"default": postgresql(DATABASE_NAME), "large": postgresql(f"{DATABASE_NAME}_large")}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "django_idempotency",
    "benchmarks",
    *(app for app in OPTIONAL_APPS if find_spec(app)),
]
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}
if find_spec("django_redis"):
    CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": DATABASE_NAME,
            "TIMEOUT": 72 * 3600,
        }
    }

IDEMPOTENCY = {
    "default": {},
    "cached": {"CACHE": "default", "DATABASE": "default"},
    "large": {"DATABASE": "large"},
    "redis": {"BACKEND": "django_idempotency.backends.RedisBackend", "CACHE": "default", "DATABASE": "default"},
}

# django-idempotency-key
IDEMPOTENCY_KEY = {
    "CONFLICT_STATUS_CODE": None,
    "STORAGE": {"CLASS": "idempotency_key.storage.CacheKeyStorage", "CACHE_NAME": "default"},
    "LOCK": {
        "CLASS": "idempotency_key.locks.redis.MultiProcessRedisLock",
        "LOCATION": REDIS_URL,
        "NAME": f"{DATABASE_NAME}:lock",
        "TTL": 60,
        "TIMEOUT": 0.1,
        "ENABLE": True,
    },
}

# djangorestframework-idempotency-key
IDEMPOTENCY_KEY_LOCK_TIMEOUT = 60
