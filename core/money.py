"""Money: whole minor units of one currency, and the only place where an amount is rounded."""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Context, Decimal
from enum import StrEnum
from functools import cache
from typing import Final

from core.errors import DomainError

# Digits that a bill in this currency shows. TWD has cents on paper only: bills are whole dollars.
_DIGITS: Final = {
    "AUD": 2,
    "CNY": 2,
    "EUR": 2,
    "GBP": 2,
    "HKD": 2,
    "INR": 2,
    "JPY": 0,
    "RUB": 2,
    "TWD": 0,
    "USD": 2,
    "ZAR": 2,
}
# Wide enough that quantising never fails for want of precision.
_WIDE: Final = Context(prec=100)


class UnknownCurrency(DomainError):
    """No bills are made in this currency."""

    code = "money.unknown_currency"


class MixedCurrencies(DomainError):
    """Amounts of two currencies have no sum."""

    code = "money.mixed_currencies"


class AmountTooFine(DomainError):
    """Nobody can pay a part of the smallest coin."""

    code = "money.too_fine"


class RoundingMode(StrEnum):
    """What becomes of the part below the last digit kept; `half_up` goes away from zero."""

    HALF_UP = "half_up"
    HALF_EVEN = "half_even"
    UP = "up"
    DOWN = "down"


_MODES: Final = {
    RoundingMode.HALF_UP: ROUND_HALF_UP,
    RoundingMode.HALF_EVEN: ROUND_HALF_EVEN,
    RoundingMode.UP: ROUND_UP,
    RoundingMode.DOWN: ROUND_DOWN,
}


def currency_digits(currency: str) -> int:
    """
    Return how many digits after the point a bill in this currency shows.

    Raises:
        UnknownCurrency: the currency is not in the table.
    """
    if currency not in _DIGITS:
        raise UnknownCurrency(currency=currency)
    return _DIGITS[currency]


def round_to(value: Decimal, *, digits: int, mode: RoundingMode = RoundingMode.HALF_UP) -> Decimal:
    """Return the value with exactly this many digits after the point."""
    return value.quantize(_unit(digits), _MODES[mode], _WIDE)


@cache
def _unit(digits: int) -> Decimal:
    return Decimal(1).scaleb(-digits)


def divide(value: Decimal, by: Decimal | int, *, digits: int) -> Decimal:
    """Return the quotient rounded half up: the one operation that may have no exact result."""
    return _WIDE.divide(value, by).quantize(_unit(digits), ROUND_HALF_UP, _WIDE)


def round_minor(
    amount: Decimal,
    *,
    currency: str,
    mode: RoundingMode = RoundingMode.HALF_UP,
    digits: int | None = None,
) -> int:
    """
    Return an exact amount as whole minor units.

    `digits` rounds to fewer digits than the currency has, for bills in whole rupees.

    Units:
        `amount`: currency units. Returns minor units of the currency (fen, cents).

    Raises:
        UnknownCurrency: the currency is not in the table.
    """
    shown = currency_digits(currency)
    kept = shown if digits is None else digits
    return int(round_to(amount, digits=kept, mode=mode).scaleb(shown, context=_WIDE))


@dataclass(frozen=True, slots=True)
class Money:
    """An amount that may be stored and paid: whole minor units of one currency."""

    minor: int
    currency: str

    @classmethod
    def exactly(cls, amount: Decimal, currency: str) -> "Money":
        """
        Return an amount of currency units that needs no rounding.

        Raises:
            AmountTooFine: it has more digits than the currency.
        """
        minor = round_minor(amount, currency=currency)
        money = cls(minor, currency)
        if money.amount != amount:
            raise AmountTooFine(amount=amount)
        return money

    @property
    def amount(self) -> Decimal:
        """The amount in currency units, with all digits that the currency has."""
        return Decimal(self.minor).scaleb(-currency_digits(self.currency), context=_WIDE)

    def __add__(self, other: "Money") -> "Money":
        if self.currency != other.currency:
            raise MixedCurrencies(left=self.currency, right=other.currency)
        return Money(self.minor + other.minor, self.currency)
