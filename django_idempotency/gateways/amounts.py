"""Minor units, as ISO 4217 counts them and as the APIs do that count otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from ..currencies import DECIMALS

MOST_DIGITS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """
    What is asked for: an integer of ISO 4217 minor units above zero, and a currency of that standard in upper case.

    Anything else raises ValueError, before a byte is sent.
    """

    amount: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount) is not int or self.amount <= 0:
            raise ValueError(f"An amount is an integer of minor units above zero, not {self.amount!r}.")
        if self.currency not in DECIMALS:
            raise ValueError(f"{self.currency!r} is not a currency of ISO 4217 in upper case.")

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """How one API writes amounts. Nothing is ever rounded: what cannot be said exactly raises ValueError."""

    decimals: Mapping[str, int]
    """The currencies that have another number of decimals there than in ISO 4217."""
    multiples: Mapping[str, int]
    """The currencies whose amounts, as the API writes them, have to be multiples of something."""
    refused: frozenset[str] = frozenset()
    """The currencies that the API's documentation does not settle."""

    def write(self, money: Money) -> int:
        """The integer that the API takes for it."""
        if money.currency in self.refused:
            raise ValueError(f"How this gateway counts {money.currency} is not settled, so it is not charged.")
        written = _shifted(money.amount, self._more(money.currency), money)
        if written % self.multiples.get(money.currency, 1):
            raise ValueError(f"This gateway takes {money} only as a multiple of {self.multiples[money.currency]}.")
        return written

    def read(self, value: object, currency: str) -> int:
        """The minor units of ISO 4217 that the API's integer stands for."""
        if type(value) is not int or currency in self.refused:
            raise ValueError(f"{value!r} is not an amount in minor units.")
        return _shifted(value, -self._more(currency), f"{value} {currency}")

    def read_decimal(self, value: object, currency: str) -> int:
        """What "10.99" stands for."""
        try:
            major = Decimal(value) if isinstance(value, str) else Decimal("NaN")
        except InvalidOperation as exc:
            raise ValueError(f"{value!r} is not an amount.") from exc
        # The exponent, too: written out, "1e999999999" is a number of a gigabyte.
        if not major.is_finite() or abs(major.adjusted()) > MOST_DIGITS:
            raise ValueError(f"{value!r} is not an amount.")
        sign, digits, exponent = major.as_tuple()
        units = int("".join(map(str, digits))) * (-1 if sign else 1)
        return _shifted(units, int(exponent) + DECIMALS[currency], f"{value} {currency}")

    def _more(self, currency: str) -> int:
        return self.decimals.get(currency, DECIMALS[currency]) - DECIMALS[currency]


ISO = Units(decimals={}, multiples={})


def _shifted(amount: int, places: int, shown: object) -> int:
    """So many decimal places to the left. In integers: a Decimal is rounded to the project's own precision."""
    scale: int = 10 ** abs(places)
    if places >= 0:
        return amount * scale
    shifted, rest = divmod(amount, scale)
    if rest:
        raise ValueError(f"{shown} has decimals that this gateway or the currency does not have.")
    return shifted
