"""The paths of the bank's views by kind; DRF's are left out where there is no DRF."""

from tests.settings import HAVE_DRF

PLAIN = ["/plain/pay", "/plain/method", "/plain/named", "/plain/wrapped"]
DRF = ["/api/pay", "/api/function", "/api/payments/", "/api/payments/1/refund/"]

EVERY_KIND = [*PLAIN, *(DRF if HAVE_DRF else [])]


def drf(name: str) -> list[str]:
    """Return the path of the DRF view with this name, where there is DRF."""
    return [f"/api/{name}"] if HAVE_DRF else []


def both(name: str) -> list[str]:
    """Return the paths of the two views with this name."""
    return [f"/plain/{name}", *drf(name)]


# One of each family.
BOTH = both("pay")
