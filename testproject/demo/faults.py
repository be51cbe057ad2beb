"""A worker that dies in the middle of a payment, once for each time that it is asked to."""

import os
import signal
from pathlib import Path

from django.conf import settings

from testproject.payments.gateway import PretendGateway, Transfer


class DeadlyGateway(PretendGateway):
    """Charges, then kills the process where the fuse lies: the money has moved, nobody knows."""

    def charge(self, *, amount: int, card: str, idempotency_key: str) -> Transfer:
        transfer = super().charge(amount=amount, card=card, idempotency_key=idempotency_key)
        burn(settings.DEMO_FUSE)
        return transfer


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
