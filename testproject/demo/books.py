"""What is true: read from the database and from the gateway's book, not asked of the server."""

from collections.abc import Collection
from dataclasses import dataclass

from testproject.payments.gateway import PretendGateway, Transfer
from testproject.payments.models import LedgerEntry, Payment


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    id: int
    account: str
    reason: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    entries: tuple[Entry, ...]
    transfers: tuple[Transfer, ...]
    unfinished: int
    """Payments that are neither paid nor declined."""

    @property
    def balance(self) -> int:
        return sum(entry.amount for entry in self.entries)

    @property
    def settled(self) -> int:
        """What the gateway owes."""
        return sum(moved(transfer) for transfer in self.transfers)

    def since(self, earlier: "Books") -> "Books":
        """Only what came after an earlier look."""
        return Books(
            entries=self.entries[len(earlier.entries) :],
            transfers=self.transfers[len(earlier.transfers) :],
            unfinished=self.unfinished,
        )


def read_books(accounts: Collection[int]) -> Books:
    entries = LedgerEntry.objects.filter(account__in=accounts).order_by("id")
    return Books(
        entries=tuple(_entry(entry) for entry in entries.select_related("account", "payment", "refund")),
        transfers=tuple(PretendGateway().transfers()),
        unfinished=Payment.objects.filter(account__in=accounts, status=Payment.Status.PENDING).count(),
    )


def moved(transfer: Transfer) -> int:
    """The money that the gateway took in: less than nothing for a refund, nothing if declined."""
    if not transfer.approved:
        return 0
    return transfer.amount if transfer.kind == "charge" else -transfer.amount


def money(amount: int) -> str:
    """In the scenario's only currency."""
    sign = "-" if amount < 0 else ""
    whole, cents = divmod(abs(amount), 100)
    return f"EUR {sign}{whole:,}.{cents:02}"


def _entry(entry: LedgerEntry) -> Entry:
    return Entry(
        id=entry.pk,
        account=str(entry.account),
        reason=str(entry.refund or entry.payment),
        amount=entry.amount,
    )
