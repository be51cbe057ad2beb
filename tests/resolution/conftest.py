"""Who buys, and what staff's acts are told to."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from django_idempotency.signals import resolved
from tests.resolution.shop import TILL


@pytest.fixture(autouse=True)
def _till() -> None:
    TILL.__init__()  # type: ignore[misc]


@pytest.fixture
def user() -> User:
    """Return the user whose requests they are."""
    return User.objects.create_user("ada")


@pytest.fixture
def buyer(user: User) -> Client:
    """Return the user's client, logged in."""
    found = Client(raise_request_exception=False)
    found.force_login(user)
    return found


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    """Return what receivers of `resolved` are told."""
    found: list[dict[str, Any]] = []

    def receive(sender: Any, **said: Any) -> None:
        found.append(said)

    resolved.connect(receive)
    yield found
    resolved.disconnect(receive)


@pytest.fixture
def nobody_waits(settings: Any, monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> Iterator[None]:
    """Let each who comes second be told at once, by the claim and by SQLite's lock."""
    settings.IDEMPOTENCY = {"default": {"JOIN_TIMEOUT": timedelta(0)}}
    if connection.vendor != "sqlite":
        yield
        return
    connection.close()
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0)
        yield
    connection.close()
