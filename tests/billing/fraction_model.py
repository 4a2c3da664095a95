"""
A second, slow model of a bill, in exact fractions, sharing no step with the engine.

It never walks through tiers: the cost of a component is the integral of its price over the
customer's use, evaluated at both ends. Only where registers have their own prices does it follow
the engine's rule of dividing them, because that rule is what has to be the same.
"""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import floor

from core.billing.tariff_model import ChargePer, Component, TariffVersion
from core.billing.tiers import LimitsPer, Tiering
from core.money import currency_digits
from core.periods import Period


def half_up(value: Fraction, digits: int) -> Fraction:
    return Fraction(floor(value * 10**digits + Fraction(1, 2)), 10**digits)


def days_of(period: Period):
    return [period.starts + timedelta(days=n) for n in range((period.ends - period.starts).days)]


def days_in_month(day) -> int:
    following = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return (following - day.replace(day=1)).days


def times(per: ChargePer, period: Period) -> Fraction:
    if per is ChargePer.BILL:
        return Fraction(1)
    if per is ChargePer.DAY:
        return Fraction(len(days_of(period)))
    return sum((Fraction(1, days_in_month(day)) for day in days_of(period)), Fraction(0))


def limits_of(tiering: Tiering, *, season: str, period: Period, people: int, months, digits: int):
    table = tiering.limits if isinstance(tiering.limits, tuple) else tiering.limits[season]
    limits = [Fraction(limit) for limit in table]
    for rule in tiering.household:
        extra = people - rule.from_person + 1
        if extra >= 1 and rule.per_head:
            limits = [Fraction(limit) * people for limit in rule.per_head]
        if extra >= 1:
            for number in rule.limits:
                limits[number - 1] += Fraction(rule.flat) + extra * Fraction(rule.per_person)
    factor = {
        LimitsPer.BILL: Fraction(1),
        LimitsPer.DAY: Fraction(len(days_of(period))),
        LimitsPer.THIRTY_DAYS: half_up(Fraction(len(days_of(period)), 30), 2),
        LimitsPer.MONTH: Fraction(months or 1),
        LimitsPer.YEAR: Fraction(months or 12, 12),
    }[tiering.per]
    scaled = [half_up(limit * factor, digits) for limit in limits]
    return [max(scaled[: n + 1]) for n in range(len(scaled))]


def cost_up_to(x: Fraction, limits: list[Fraction], prices: list[Fraction]) -> Fraction:
    """Return the integral of the price from 0 to x: the first price, plus each step's rise."""
    cost = x * prices[0]
    for limit, before, after in zip(limits, prices, prices[1:], strict=False):
        cost += max(x - limit, Fraction(0)) * (after - before)
    return cost


def registers_by_tier(
    used: Fraction, left: dict, limits: list[Fraction], digits: int
) -> list[dict]:
    """Return what each register has in each tier."""
    edges = [Fraction(0), *limits, used + sum(left.values())]
    tiers = []
    for low, high in pairwise(edges):
        room = max(Fraction(0), min(high, edges[-1]) - max(low, used))
        whole, running, part = sum(left.values()), Fraction(0), {}
        if high == edges[-1] and len(tiers) == len(limits):
            part = dict(left)
        else:
            for register, remaining in left.items():
                before = running
                running += remaining
                share = room / whole if whole else Fraction(0)
                part[register] = half_up(running * share, digits) - half_up(before * share, digits)
        left = {register: left[register] - part[register] for register in left}
        tiers.append(part)
    return tiers


def component_cost(
    version: TariffVersion, component: Component, *, quantities, used, season, limits
) -> Fraction:
    prices = component.prices if isinstance(component.prices, tuple) else component.prices[season]
    use = {register: Fraction(quantity) for register, quantity in quantities.items()}
    start = sum((Fraction(quantity) for quantity in used.values()), Fraction(0))
    if isinstance(prices[0], Decimal):
        plain = [Fraction(each) for each in prices]
        end = start + sum(use.values())
        cost = cost_up_to(end, limits, plain) - cost_up_to(start, limits, plain)
    else:
        parts = registers_by_tier(start, use, limits, version.quantity_digits)
        cost = sum(
            (
                quantity * Fraction(price[register])
                for part, price in zip(parts, prices, strict=True)
                for register, quantity in part.items()
            ),
            Fraction(0),
        )
    return cost * Fraction(component.factor)


def bill(
    version: TariffVersion, *, period, quantities, used, people, months
) -> tuple[Fraction, int]:
    """Return the exact total and the rounded total in minor units."""
    last = period.ends - timedelta(days=1)
    season = next((name for name, held in version.seasons.items() if last.month in held), "")
    amounts = {}
    for code, component in version.components.items():
        limits = []
        if component.tiers:
            tiering = version.tiers[component.tiers]
            limits = limits_of(
                tiering,
                season=season,
                period=period,
                people=people,
                months=months,
                digits=version.quantity_digits,
            )
        amounts[code] = component_cost(
            version, component, quantities=quantities, used=used, season=season, limits=limits
        )
    for code, charge in version.fixed.items():
        amounts[code] = half_up(Fraction(charge.amount) * times(charge.per, period), 12)
    if version.minimum:
        least = half_up(Fraction(version.minimum.amount) * times(version.minimum.per, period), 12)
        amounts["minimum"] = max(Fraction(0), least - sum(amounts.values()))
    taxes = [
        Fraction(tax.rate) * sum(amounts[code] for code in amounts if not tax.on or code in tax.on)
        for tax in version.taxes.values()
    ]
    total = sum(amounts.values()) + sum(taxes)
    rounded = half_up(total, version.rounding.digits)
    return total, int(rounded * 10 ** currency_digits(version.currency))
