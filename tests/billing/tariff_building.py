"""Short ways to write a tariff and a use in a test."""

from datetime import date
from decimal import Decimal

from core.billing.tariff_model import Component, Mark, Rounding, TariffVersion, Window
from core.billing.tariffs import Priced, PricingContext, Usage, price
from core.billing.tiers import HouseholdRule, LimitsPer, Tiering
from core.money import RoundingMode
from core.periods import Period

YEAR = Period(date(2026, 1, 1), date(2027, 1, 1))
APRIL = Period(date(2026, 4, 1), date(2026, 5, 1))


def decimals(*values: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(value) for value in values)


def tiering(
    *limits: str, per: LimitsPer = LimitsPer.MONTH, household: tuple[HouseholdRule, ...] = ()
) -> Tiering:
    return Tiering(limits=decimals(*limits), per=per, household=household)


def component(*prices: str | dict[str, str], tiers: str | None = None, factor: str = "1"):
    return Component(
        tiers=tiers,
        factor=Decimal(factor),
        prices=tuple(
            Decimal(each)
            if isinstance(each, str)
            else {register: Decimal(value) for register, value in each.items()}
            for each in prices
        ),
    )


def make_version(*, digits: int | None = None, currency: str = "CNY", **parts) -> TariffVersion:
    shown = 2 if currency != "TWD" else 0
    defaults = {
        "currency": currency,
        "unit": "m3",
        "quantity_digits": 3,
        "valid_from": date(2020, 1, 1),
        "source": "a test",
        "mark": Mark.CHECKED,
        "window": Window.MONTH,
        "rounding": Rounding(mode=RoundingMode.HALF_UP, digits=shown if digits is None else digits),
    }
    return TariffVersion(**{**defaults, **parts})


def price_use(
    version: TariffVersion,
    quantities: str | dict[str, str],
    *,
    period: Period = APRIL,
    used: str = "0",
    people: int = 1,
    months: int | None = None,
    attributes: dict[str, str] | None = None,
) -> Priced:
    by_register = {"total": quantities} if isinstance(quantities, str) else quantities
    return price(
        version,
        usage=Usage(period=period, quantities={k: Decimal(v) for k, v in by_register.items()}),
        context=PricingContext(
            used={"total": Decimal(used)},
            people=people,
            months=months,
            attributes=attributes or {},
        ),
    )
