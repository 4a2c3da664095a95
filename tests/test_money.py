from decimal import Decimal

import pytest

from core.errors import DomainError
from core.money import (
    MixedCurrencies,
    Money,
    RoundingMode,
    UnknownCurrency,
    currency_digits,
    divide,
    round_minor,
)


class TestRoundMinor:
    @pytest.mark.parametrize(
        ("amount", "minor"),
        [
            ("0", 0),
            ("0.004999", 0),
            ("0.005", 1),
            ("0.015", 2),
            ("0.025", 3),
            ("249.25015575", 24925),
            ("415.155", 41516),
            ("-0.005", -1),
            ("-0.004", 0),
            ("123456789012345678901234567890.125", 12345678901234567890123456789013),
        ],
    )
    def test_rounds_half_up_to_fen(self, amount, minor):
        assert round_minor(Decimal(amount), currency="CNY") == minor

    @pytest.mark.parametrize(
        ("mode", "minor"),
        [
            (RoundingMode.HALF_UP, 3),
            (RoundingMode.HALF_EVEN, 2),
            (RoundingMode.UP, 3),
            (RoundingMode.DOWN, 2),
        ],
    )
    def test_rounds_by_the_rule_it_is_given(self, mode, minor):
        assert round_minor(Decimal("0.025"), currency="CNY", mode=mode) == minor

    def test_rounds_to_whole_dollars_in_taiwan(self):
        assert round_minor(Decimal("955.88"), currency="TWD") == 956

    def test_rounds_to_whole_rupees_where_told(self):
        assert round_minor(Decimal("937.50"), currency="INR", digits=0) == 93800

    def test_refuses_a_currency_without_a_rule(self):
        with pytest.raises(UnknownCurrency):
            round_minor(Decimal(1), currency="XXX")


class TestCurrencyDigits:
    @pytest.mark.parametrize(
        ("currency", "digits"),
        [("CNY", 2), ("USD", 2), ("GBP", 2), ("INR", 2), ("ZAR", 2), ("HKD", 2), ("TWD", 0)],
    )
    def test_knows_the_currencies_of_the_shipped_places(self, currency, digits):
        assert currency_digits(currency) == digits


class TestDivide:
    def test_keeps_the_digits_asked_for(self):
        assert divide(Decimal(2), 3, digits=4) == Decimal("0.6667")


class TestMoney:
    def test_adds_within_one_currency(self):
        assert Money(630, "CNY") + Money(945, "CNY") == Money(1575, "CNY")

    def test_refuses_to_add_two_currencies(self):
        with pytest.raises(MixedCurrencies) as refusal:
            Money(1, "CNY") + Money(1, "USD")

        assert refusal.value.params == {"left": "CNY", "right": "USD"}


class TestDomainError:
    def test_keeps_its_values_and_shows_them_in_logs(self):
        refusal = UnknownCurrency(currency="XXX")

        assert isinstance(refusal, DomainError)
        assert (refusal.code, refusal.params) == ("money.unknown_currency", {"currency": "XXX"})
        assert str(refusal) == "money.unknown_currency currency='XXX'"
