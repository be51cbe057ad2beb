"""Workers that die in the middle of a payment, once for each time that one is asked to, and a gateway that is down."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models.signals import pre_save
from django.dispatch import receiver

from django_idempotency.gateways import Result
from django_idempotency.gateways.example import ExampleGateway
from testproject.payments.gateway import PretendGateway, Transfer


class GatewayDown(Exception):
    """Nobody can pay, and no money is given back."""


class DeadlyGateway(PretendGateway):
    """
    Charges, then kills the process where the fuse lies: the money has moved, nobody knows.

    During an outage it does nothing at all.
    """

    def refund(self, *, amount: int, idempotency_key: str) -> Transfer:
        refuse_outage()
        return super().refund(amount=amount, idempotency_key=idempotency_key)

    def charge(self, *, amount: int, card: str, idempotency_key: str) -> Transfer:
        refuse_outage()
        transfer = super().charge(amount=amount, card=card, idempotency_key=idempotency_key)
        burn(settings.DEMO_FUSE)
        return transfer


class DeadlyCardGateway(ExampleGateway):
    """Kills the process before it sends, or after it has heard; and says who is about to send."""

    def charge(self, *, idempotency_key: str, amount: int, currency: str, **details: Any) -> Result:
        burn(fuse_at("before"))
        sender().write_text(str(os.getpid()))
        result = super().charge(idempotency_key=idempotency_key, amount=amount, currency=currency, **details)
        burn(fuse_at("after"))
        return result


@receiver(pre_save, sender="payments.LedgerEntry")
def kill_before_the_ledger(**_: Any) -> None:
    """In the last phase of a payment by card: its charge is in the journal, its payment not in the ledger."""
    burn(fuse_at("record"))


@contextmanager
def outage() -> Iterator[None]:
    """Meanwhile the gateway is down, for all processes."""
    fuse_at("outage").touch()
    try:
        yield
    finally:
        fuse_at("outage").unlink()


def refuse_outage() -> None:
    if fuse_at("outage").exists():
        raise GatewayDown


def fuse_at(moment: str) -> Path:
    fuse: Path = settings.DEMO_FUSE
    return fuse.with_name(f"fuse-{moment}")


def sender() -> Path:
    """Where the last worker that was about to charge a card left its process id."""
    return fuse_at("sender")


def burn(fuse: Path) -> None:
    try:
        # Taken away first: the worker that replaces this one has to live.
        fuse.rename(ashes(fuse))
    except FileNotFoundError:
        return
    ashes(fuse).write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)


def ashes(fuse: Path) -> Path:
    """Where the dead worker left its process id."""
    return fuse.with_suffix(".burnt")
