"""
A second, slow model of a bill, in exact fractions, sharing no step with the engine.

It never walks through tiers: the cost of a component is the integral of its price over the
customer's use, evaluated at both ends. Only where registers have their own prices does it follow
the engine's rule of dividing them, because that rule is what has to be the same. Formulas are run
by Python itself, on fractions, where the engine has its own interpreter.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

from core.billing.tariff_model import ChargePer, Component, Lookup, TariffVersion
from core.billing.tiers import LimitsPer, Tiering
from core.money import RoundingMode, currency_digits
from core.periods import Period


class Refused(Exception):
    """No bill can be made."""


def rounded(value: Fraction, digits: int, mode: RoundingMode = RoundingMode.HALF_UP) -> Fraction:
    steps, sign = abs(value) * 10**digits, -1 if value < 0 else 1
    rest = steps - floor(steps)
    goes_up = {
        RoundingMode.HALF_UP: rest >= Fraction(1, 2),
        RoundingMode.HALF_EVEN: rest > Fraction(1, 2)
        or (rest == Fraction(1, 2) and floor(steps) % 2 == 1),
        RoundingMode.UP: rest > 0,
        RoundingMode.DOWN: False,
    }[mode]
    return Fraction(sign * (floor(steps) + goes_up), 10**digits)


def half_up(value: Fraction, digits: int) -> Fraction:
    return rounded(value, digits)


@dataclass(frozen=True)
class Case:
    """A use and everything about it, as the engine is given it."""

    version: TariffVersion
    period: Period
    quantities: Mapping[str, Decimal]
    intervals: tuple = ()
    used: Mapping[str, Decimal] = ()
    window_use: Decimal | None = None
    people: int = 1
    months: int | Fraction | None = None
    attributes: Mapping[str, str] = ()
    bill_period: Period | None = None
    bill_use: Decimal | None = None
    before: Decimal = Decimal(0)
    is_last: bool = True

    @property
    def use(self) -> Fraction:
        return sum((Fraction(each) for each in self.quantities.values()), Fraction(0))

    @property
    def used_before(self) -> Fraction:
        return sum((Fraction(each) for each in dict(self.used).values()), Fraction(0))


def names_of(case: Case) -> dict[str, Fraction]:
    """Return the values of all names; those of the tariff may use the ones before them."""
    period = case.bill_period or case.period
    days = days_of(period)
    names = {
        "use": case.use if case.bill_use is None else Fraction(case.bill_use),
        "days": Fraction(len(days)),
        "months": Fraction(len({(day.year, day.month) for day in days})),
        "month": Fraction(days[-1].month),
        "people": Fraction(case.people),
    }
    attributes = {**case.version.attributes, **dict(case.attributes)}
    for name, written in attributes.items():
        if re.fullmatch(r"-?\d+(\.\d+)?", written):
            names[name] = Fraction(written)
    for name, value in case.version.values.items():
        if isinstance(value, Lookup):
            names[name] = Fraction(value.table[attributes[value.by]])
        else:
            names[name] = number(value, names)
    return names


def number(value, names: Mapping[str, Fraction]) -> Fraction:
    """Return a number of a tariff; a formula is run by Python, each literal a fraction."""
    if isinstance(value, Decimal):
        return Fraction(value)
    code = re.sub(r"(?<![a-z0-9_.])\d+(\.\d+)?", r'Fraction("\g<0>")', value.text)
    functions = {"Fraction": Fraction, "min": min, "max": max, "floor": floor, "ceil": ceil}
    try:
        result = Fraction(eval(code, functions, dict(names)))  # noqa: S307 (ours; the point is not to share the interpreter)
    except ZeroDivisionError as error:
        raise Refused from error
    if abs(result) >= 10**9:
        raise Refused
    return half_up(result, 12)


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


def chosen(table, cases: tuple[str, str]):
    return table if isinstance(table, tuple) else table.get(cases[0], table.get(cases[1]))


def limits_of(tiering: Tiering, case: Case, cases: tuple[str, str], names) -> list[Fraction]:
    limits = [number(limit, names) for limit in chosen(tiering.limits, cases)]
    for rule in tiering.household:
        extra = case.people - rule.from_person + 1
        if extra >= 1 and rule.per_head:
            limits = [Fraction(limit) * case.people for limit in rule.per_head]
        if extra >= 1:
            for nr in rule.limits:
                limits[nr - 1] += Fraction(rule.flat) + extra * Fraction(rule.per_person)
    days = Fraction(len(days_of(case.period)))
    factor = {
        LimitsPer.BILL: Fraction(1),
        LimitsPer.DAY: days,
        LimitsPer.THIRTY_DAYS: half_up(days / 30, 2),
        LimitsPer.MONTH: Fraction(case.months or 1),
        LimitsPer.YEAR: Fraction(case.months or 12) / 12,
    }[tiering.per]
    scaled = [half_up(limit * factor, case.version.quantity_digits) for limit in limits]
    return [max(Fraction(0), *scaled[: n + 1]) for n in range(len(scaled))]


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


def component_cost(case: Case, component: Component, cases, names, limits) -> Fraction:
    prices = chosen(component.prices, cases)
    use = {register: Fraction(quantity) for register, quantity in case.quantities.items()}
    start = case.used_before
    if not isinstance(prices[0], Mapping) and re.search(
        r"\b(market|hour|weekday)\b", getattr(prices[0], "text", "")
    ):
        cost = Fraction(0)
        for each in case.intervals:
            moment = {
                "market": Fraction(each.market),
                "hour": each.at.hour + Fraction(each.at.minute, 60),
                "weekday": Fraction(each.at.weekday() + 1),
            }
            cost += Fraction(each.use) * number(prices[0], {**names, **moment})
    elif not isinstance(prices[0], Mapping):
        end = start + sum(use.values())
        reached = [n for n, low in enumerate([Fraction(-1), *limits]) if low < end]
        asked = [
            number(price, names) if n in reached and tier_is_used(n, start, end, limits) else None
            for n, price in enumerate(prices)
        ]
        plain = [each if each is not None else Fraction(0) for each in asked]
        cost = cost_up_to(end, limits, plain) - cost_up_to(start, limits, plain)
    else:
        parts = registers_by_tier(start, use, limits, case.version.quantity_digits)
        cost = sum(
            (
                quantity * number(price[register], names)
                for part, price in zip(parts, prices, strict=True)
                for register, quantity in part.items()
                if quantity
            ),
            Fraction(0),
        )
    return cost * Fraction(component.factor)


def tier_is_used(n: int, start: Fraction, end: Fraction, limits: list[Fraction]) -> bool:
    edges = [Fraction(0), *limits, max(end, *limits, Fraction(0))]
    return min(edges[n + 1], end) > max(edges[n], start)


def charge(case: Case, amount, per: ChargePer, names) -> Fraction:
    if per is ChargePer.BILL and not case.is_last:
        return Fraction(0)
    return half_up(number(amount, names) * times(per, case.period), 12)


def bill(case: Case) -> tuple[Fraction, int]:
    """Return the exact total and the rounded total in minor units."""
    version, names = case.version, names_of(case)
    last = case.period.ends - timedelta(days=1)
    season = next((name for name, held in version.seasons.items() if last.month in held), "")
    cases = (season, "")
    if version.cliff:
        whole = case.used_before + case.use
        whole = whole if case.window_use is None else Fraction(case.window_use)
        limits = limits_of(version.tiers[version.cliff], case, cases, names)
        cases = (season, f"tier{1 + sum(limit < whole for limit in limits)}")
    amounts = {}
    for code, component in version.components.items():
        limits = []
        if component.tiers:
            limits = limits_of(version.tiers[component.tiers], case, cases, names)
        amounts[code] = component_cost(case, component, cases, names, limits)
    use_only = sum(amounts.values())
    for code, each in version.fixed.items():
        amounts[code] = charge(case, each.amount, each.per, names)
    if version.minimum:
        least = charge(case, version.minimum.amount, version.minimum.per, names)
        before = Fraction(case.before) if version.minimum.per is ChargePer.BILL else 0
        charged = use_only + sum(max(Fraction(0), amounts[code]) for code in version.fixed)
        if version.minimum.per is not ChargePer.BILL or case.is_last:
            amounts["minimum"] = max(Fraction(0), least - before - charged) if least else 0
    untaxed = sum(amounts.values())
    for code, tax in version.taxes.items():
        on = sum(amounts.get(each, 0) for each in tax.on) if tax.on else untaxed
        amounts[code] = number(tax.rate, names) * on
    total = sum(amounts.values(), Fraction(0))
    shown = rounded(total, version.rounding.digits, version.rounding.mode)
    return total, int(shown * 10 ** currency_digits(version.currency))
