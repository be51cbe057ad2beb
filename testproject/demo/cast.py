"""Who plays: merchants with an account each, an administrator, and the members of staff who see to what goes wrong."""

import secrets
from dataclasses import dataclass
from io import StringIO

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from rest_framework.authtoken.models import Token

from testproject.payments.models import Account, Currency

STAFF = {
    "support": "Idempotency support",
    "oncall": "Idempotency on-call",
    "finance": "Idempotency finance",
    "approver": "Idempotency approvers",
    "auditor": "Idempotency auditors",
}
"""By what they log in as: their group, one of those that idempotency_groups makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merchant:
    name: str
    token: str
    account: int
    currency: str = Currency.EUR
    client: str = ""
    """What the program calls itself that sends this merchant's requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    bakery: Merchant
    florist: Merchant
    grocer: Merchant
    """Whose payments go through the gateway over HTTP."""
    admin: str
    password: str
    """Of the administrator and of each member of staff."""


def assemble() -> Cast:
    """Everybody, in a migrated database. The accounts are new even where the users are not."""
    call_command("check", stdout=StringIO())
    call_command("migrate", verbosity=0, interactive=False)
    call_command("idempotency_groups", verbosity=0)
    password = secrets.token_hex(4)
    # Once for all of them: it is slow on purpose.
    hashed = make_password(password)
    for name, group in STAFF.items():
        _member(name, hashed).groups.set([Group.objects.get(name=group)])
    return Cast(
        bakery=merchant("bakery"),
        florist=merchant("florist"),
        grocer=merchant("grocer"),
        admin=_member("admin", hashed, everything=True).username,
        password=password,
    )


def merchant(name: str, *, currency: str = Currency.EUR, client: str = "") -> Merchant:
    """Somebody who is paid, with a new account."""
    user, _ = User.objects.get_or_create(username=name)
    token, _ = Token.objects.get_or_create(user=user)
    account = Account.objects.create(owner=user, name=name, currency=currency)
    return Merchant(name=name, token=token.key, account=account.pk, currency=currency, client=client)


def _member(name: str, hashed: str, *, everything: bool = False) -> User:
    user, _ = User.objects.get_or_create(username=name)
    user.is_staff, user.is_superuser, user.password = True, everything, hashed
    user.save()
    return user
