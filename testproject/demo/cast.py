"""Who plays: three merchants with an account each, and an administrator."""

import secrets
from dataclasses import dataclass
from io import StringIO

from django.contrib.auth.models import User
from django.core.management import call_command
from rest_framework.authtoken.models import Token

from testproject.payments.models import Account, Currency


@dataclass(frozen=True, slots=True, kw_only=True)
class Merchant:
    token: str
    account: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    bakery: Merchant
    florist: Merchant
    grocer: Merchant
    """Whose payments go through the gateway over HTTP."""
    admin: str
    password: str


def assemble() -> Cast:
    """Everybody, in a migrated database. The accounts are new even where the users are not."""
    call_command("check", stdout=StringIO())
    call_command("migrate", verbosity=0, interactive=False)
    password = secrets.token_hex(4)
    return Cast(
        bakery=_merchant("bakery"),
        florist=_merchant("florist"),
        grocer=_merchant("grocer"),
        admin=_administrator("admin", password).username,
        password=password,
    )


def _merchant(name: str) -> Merchant:
    user, _ = User.objects.get_or_create(username=name)
    token, _ = Token.objects.get_or_create(user=user)
    account = Account.objects.create(owner=user, name=name, currency=Currency.EUR)
    return Merchant(token=token.key, account=account.pk)


def _administrator(name: str, password: str) -> User:
    user, _ = User.objects.get_or_create(username=name)
    user.is_staff = user.is_superuser = True
    user.set_password(password)
    user.save()
    return user
