"""Minor units, as ISO 4217 counts them and as gateways do."""

from decimal import localcontext

import pytest

from django_idempotency.currencies import DECIMALS
from django_idempotency.gateways import adyen, checkout, paypal, stripe
from django_idempotency.gateways.amounts import ISO, Money, Units


def money(amount, currency):
    return Money(amount=amount, currency=currency)


class TestMoney:
    @pytest.mark.parametrize("amount", [0, -1, 1.0, "1", True, None])
    def test_an_amount_is_an_integer_above_zero(self, amount):
        with pytest.raises(ValueError, match="minor units above zero"):
            money(amount, "EUR")

    @pytest.mark.parametrize("currency", ["eur", "EURO", "", "XAU", "DEM", None])
    def test_a_currency_is_one_of_iso_4217_in_upper_case(self, currency):
        with pytest.raises(ValueError, match="ISO 4217"):
            money(1, currency)


class TestTable:
    @pytest.mark.parametrize(
        ("currency", "decimals"), [("JPY", 0), ("ISK", 0), ("CLP", 0), ("EUR", 2), ("HUF", 2), ("KWD", 3), ("TND", 3)]
    )
    def test_exponents(self, currency, decimals):
        assert DECIMALS[currency] == decimals

    def test_each_code_has_three_capital_letters(self):
        assert [code for code in DECIMALS if len(code) != 3 or not code.isupper()] == []

    def test_the_currencies_without_and_with_three_decimals_are_all_there(self):
        assert sorted(DECIMALS.values()).count(0) == 16
        assert sorted(DECIMALS.values()).count(3) == 7


class TestWriting:
    @pytest.mark.parametrize(
        ("units", "amount", "currency", "written"),
        [
            (ISO, 1250, "EUR", 1250),
            (ISO, 1250, "JPY", 1250),
            (stripe.UNITS, 5, "ISK", 500),
            (stripe.UNITS, 500, "MGA", 5),
            (stripe.UNITS, 5120, "KWD", 5120),
            (adyen.UNITS, 5, "CLP", 500),
            (adyen.UNITS, 500, "IDR", 5),
            (adyen.UNITS, 500, "CVE", 5),
            (checkout.UNITS, 5, "CLP", 500),
            (paypal.UNITS, 1500, "HUF", 15),
        ],
    )
    def test_what_is_written_is_read_back(self, units, amount, currency, written):
        assert units.write(money(amount, currency)) == written
        assert units.read(written, currency) == amount

    @pytest.mark.parametrize(
        ("units", "amount", "currency"),
        [
            (stripe.UNITS, 501, "MGA"),
            (stripe.UNITS, 5124, "KWD"),
            (stripe.UNITS, 500, "UGX"),
            (stripe.UNITS, 5000, "IQD"),
            (adyen.UNITS, 501, "IDR"),
            (checkout.UNITS, 1001, "BHD"),
            (paypal.UNITS, 1501, "HUF"),
            (paypal.UNITS, 1501, "TWD"),
        ],
    )
    def test_nothing_is_rounded(self, units, amount, currency):
        with pytest.raises(ValueError, match=r"only as a multiple|not settled|does not have"):
            units.write(money(amount, currency))

    @pytest.mark.parametrize("precision", [6, 28])
    def test_nor_by_the_project_s_own_precision(self, precision):
        amount = 10**precision + 1
        with localcontext(prec=precision):
            assert [stripe.UNITS.write(money(amount, "EUR")), ISO.read(amount, "EUR")] == [amount, amount]
            assert adyen.UNITS.write(money(amount, "CLP")) == 100 * amount
            assert ISO.read_decimal(f"{amount}.01", "EUR") == 100 * amount + 1

    @pytest.mark.parametrize("value", [None, "500", 5.0, True, []])
    def test_what_is_no_integer_is_no_amount(self, value):
        with pytest.raises(ValueError, match="not an amount"):
            ISO.read(value, "EUR")

    def test_a_part_of_a_unit_is_not_read(self):
        with pytest.raises(ValueError, match="decimals"):
            Units(decimals={"ISK": 2}, multiples={}).read(550, "ISK")


class TestDecimals:
    @pytest.mark.parametrize(
        ("text", "currency", "amount"),
        [
            ("10.99", "EUR", 1099),
            ("10.9", "EUR", 1090),
            ("10", "EUR", 1000),
            ("1500", "JPY", 1500),
            ("1.250", "KWD", 1250),
        ],
    )
    def test_major_units_are_read(self, text, currency, amount):
        assert ISO.read_decimal(text, currency) == amount

    @pytest.mark.parametrize(
        "text", ["10.995", "NaN", "Infinity", "1e999999999", "1e-999999999", "", "ten", None, 10, 10.99, "1,50"]
    )
    def test_nothing_is_guessed(self, text):
        with pytest.raises(ValueError, match=r"not an amount|decimals"):
            ISO.read_decimal(text, "EUR")
