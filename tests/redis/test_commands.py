"""Commands that cannot reach records in Redis alone say so: whoever relies on them would keep what they promise to erase."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

BACKEND = "django_idempotency.backends.RedisBackend"
FERNET = "8SPPZ2G6Zc4Yj2JvIYxkB4Zcqcl6J3bYdV2Bf0ZpQnA="

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def profiles(settings: Any) -> None:
    pytest.importorskip("cryptography")
    sent = {"BACKEND": BACKEND, "CACHE": "records", "ENCRYPTION_KEYS": [FERNET]}
    searched = {"BACKEND": BACKEND, "CACHE": "records"}
    settings.IDEMPOTENCY = {"default": {"ENCRYPTION_KEYS": [FERNET]}, "sent": sent, "searched": searched}


def said(*command: str, **options: Any) -> str:
    """Return what a command writes to its standard error."""
    err = StringIO()
    call_command(*command, stdout=StringIO(), stderr=err, **options)
    return " ".join(err.getvalue().split())


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_erasing_names_the_profiles_whose_records_it_leaves(dry):
    assert "'sent', 'searched'" in said("idempotency_erase", "--scope", "user:7", *dry)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_rekeying_names_those_whose_answers_are_encrypted(dry):
    told = said("idempotency_rekey", *dry)
    assert ("'sent'" in told, "'searched'" in told, "keep the old key" in told) == (True, False, True)


def test_they_say_nothing_of_databases(settings):
    settings.IDEMPOTENCY = {"default": {"ENCRYPTION_KEYS": [FERNET], "CACHE": "default"}}
    assert said("idempotency_erase", "--scope", "user:7") == said("idempotency_rekey") == ""


def test_nor_anything_when_they_are_to_be_quiet():
    assert said("idempotency_erase", "--scope", "user:7", verbosity=0) == said("idempotency_rekey", verbosity=0) == ""
