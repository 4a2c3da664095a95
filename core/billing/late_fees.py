"""What paying late costs, where a contract says so: a share of what is owed for each day. Pure."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from core.periods import Period


@dataclass(frozen=True, slots=True, kw_only=True)
class LateFee:
    """
    The daily share that a contract agreed on; debts of earlier years may have a higher one.

    Source: Electricity Law art. 39 (0.001 to 0.003 a day, as agreed); 0.001 for homes, 0.002 and
    for earlier years 0.003 for others by the rules of power supply.
    """

    per_day: Decimal
    per_day_of_earlier_years: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatePayment:
    """
    What of a bill was paid after its day, and from `since` until `paid` the days that count.

    Units: `amount` currency units.
    """

    bill: str
    payment: str
    amount: Decimal
    due: date
    since: date
    paid: date


@dataclass(frozen=True, slots=True)
class LateCharge:
    """The exact fee for some days, `amount` being their number times the share of what was owed."""

    period: Period
    per_day: Decimal
    amount: Decimal


def late_charges(rule: LateFee, late: LatePayment) -> list[LateCharge]:
    """
    Return the fee on a payment for the days that count, simple and not compound.

    A day belongs to the year in which it ends, as the day of payment does.
    """
    turn = min(max(date(late.due.year, 12, 31), late.since), late.paid)
    spans = [
        (late.since, turn, rule.per_day),
        (turn, late.paid, rule.per_day_of_earlier_years or rule.per_day),
    ]
    if spans[0][2] == spans[1][2]:
        spans = [(late.since, late.paid, rule.per_day)]
    return [
        LateCharge(Period(starts, ends), per_day, late.amount * per_day * (ends - starts).days)
        for starts, ends, per_day in spans
        if starts < ends
    ]
