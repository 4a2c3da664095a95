"""What paying late costs, where a contract says so: a share of what is owed for each day. Pure."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from core.money import currency_digits, round_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class LateFee:
    """
    The daily share that a contract agreed on; debts of earlier years may have a higher one.

    Source: Electricity Law art. 39 (0.001 to 0.003 a day, as agreed); 0.001 for homes, 0.002 and
    for earlier years 0.003 for others by the rules of power supply.
    """

    per_day: Decimal
    per_day_of_earlier_years: Decimal | None = None


def late_fee(rule: LateFee, *, owed_minor: int, due: date, paid: date, currency: str) -> int:
    """
    Return the fee on a debt from its due date to the day of payment, rounded half up once.

    A day belongs to the year in which it ends, as the day of payment does.
    """
    later = rule.per_day if rule.per_day_of_earlier_years is None else rule.per_day_of_earlier_years
    days = max((paid - due).days, 0)
    of_earlier_years = min(max((paid - date(due.year, 12, 31)).days, 0), days)
    share = rule.per_day * (days - of_earlier_years) + later * of_earlier_years
    owed = Decimal(owed_minor).scaleb(-currency_digits(currency))
    return round_minor(owed * share, currency=currency)
