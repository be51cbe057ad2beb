from shop.models import LedgerEntry


def book(reference, *, amount, currency, debit, credit):
    """Two entries that add up to nothing, as part of the caller's transaction. Minor units."""
    for account, signed in ((debit, amount), (credit, -amount)):
        LedgerEntry.objects.create(reference=reference, account=account, currency=currency, amount=signed)
