"""What must hold for every tariff, and a second model that must make every bill the same."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.billing.tariff_files import shipped_tariffs
from core.billing.tariff_model import (
    Charge,
    ChargePer,
    Component,
    Mark,
    Rounding,
    TariffVersion,
    Tax,
    Window,
)
from core.billing.tariffs import LineKind, PricingContext, Usage, price
from core.billing.tiers import HouseholdRule, LimitsPer, Tiering
from core.money import RoundingMode, currency_digits
from core.periods import Period, month_of
from tests.billing import fraction_model
from tests.billing.random_bills import compare

DIGITS = 2
REGISTERS = ("peak", "flat", "valley")
SEASONS = {"summer": frozenset(range(5, 11)), "winter": frozenset({11, 12, 1, 2, 3, 4})}


def decimals(least: int, most: int, digits: int) -> st.SearchStrategy[Decimal]:
    return st.integers(least * 10**digits, most * 10**digits).map(
        lambda whole: Decimal(whole).scaleb(-digits)
    )


quantities = decimals(0, 1500, DIGITS)
prices = decimals(0, 3, 8)
days = st.integers(0, 365).map(lambda n: date(2026, 1, 1) + timedelta(days=n))
periods = st.builds(lambda day, n: Period(day, day + timedelta(days=n)), days, st.integers(1, 31))


@st.composite
def tierings(draw, tiers: int) -> Tiering:
    def limits() -> tuple[Decimal, ...]:
        drawn = draw(
            st.lists(decimals(1, 400, 1), min_size=tiers - 1, max_size=tiers - 1, unique=True)
        )
        return tuple(sorted(drawn))

    seasonal = draw(st.booleans())
    rules = st.builds(
        HouseholdRule,
        from_person=st.integers(2, 6),
        limits=st.sets(st.integers(1, tiers - 1), min_size=1).map(tuple),
        flat=decimals(0, 100, 0),
        per_person=decimals(0, 30, 0),
    )
    table = {name: limits() for name in SEASONS} if seasonal else limits()
    return Tiering(
        limits=table,
        per=draw(st.sampled_from(LimitsPer)),
        household=tuple(draw(st.lists(rules, max_size=2))),
    )


@st.composite
def components(draw, tiers: dict[str, Tiering]) -> Component:
    name = draw(st.sampled_from([None, *tiers]))
    count = 1
    if name:
        table = tiers[name].limits
        count += len(table if isinstance(table, tuple) else table["summer"])
    by_register = draw(st.booleans())

    def tier_prices() -> tuple[Decimal | dict[str, Decimal], ...]:
        rising = sorted(draw(st.lists(prices, min_size=count, max_size=count)))
        if not by_register:
            return tuple(rising)
        return tuple({r: each * n for n, r in enumerate(REGISTERS, 1)} for each in rising)

    seasonal = draw(st.booleans())
    return Component(
        tiers=name,
        factor=draw(decimals(0, 1, 2)),
        prices={season: tier_prices() for season in SEASONS} if seasonal else tier_prices(),
    )


charges = st.builds(Charge, amount=decimals(0, 40, 2), per=st.sampled_from(ChargePer))


@st.composite
def versions(draw) -> TariffVersion:
    tiers = {name: draw(tierings(draw(st.integers(2, 4)))) for name in ("first", "second")}
    parts = {name: draw(components(tiers)) for name in ("a", "b", "c")[: draw(st.integers(1, 3))]}
    fixed = draw(st.dictionaries(st.just("standing"), charges))
    taxed = st.sampled_from([(), ("a",), ("a", *fixed)])
    return TariffVersion(
        currency=draw(st.sampled_from(["CNY", "TWD"])),
        unit="kWh",
        quantity_digits=DIGITS,
        valid_from=date(2020, 1, 1),
        source="random",
        mark=Mark.CHECKED,
        window=draw(st.sampled_from(Window)),
        rounding=Rounding(mode=RoundingMode.HALF_UP, digits=0),
        seasons=SEASONS,
        tiers=tiers,
        components=parts,
        fixed=fixed,
        minimum=draw(st.none() | charges),
        taxes=draw(
            st.dictionaries(
                st.sampled_from(["vat", "duty"]),
                st.builds(Tax, rate=decimals(0, 1, 3), on=taxed),
            )
        ),
    )


uses = st.fixed_dictionaries(dict.fromkeys(REGISTERS, quantities))
contexts = st.builds(
    PricingContext,
    used=st.fixed_dictionaries({"peak": quantities}),
    people=st.integers(1, 9),
    months=st.none() | st.integers(1, 12),
)


def exact(version: TariffVersion, period: Period, use, context: PricingContext) -> Decimal:
    return price(version, usage=Usage(period=period, quantities=use), context=context).total


def by_use_only(version: TariffVersion) -> TariffVersion:
    """Without charges that are due per bill, and the same at any length of the period."""
    scaled = {name: replace(each, per=LimitsPer.YEAR) for name, each in version.tiers.items()}
    return replace(version, fixed={}, minimum=None, tiers=scaled)


@pytest.mark.parametrize("block", range(10))
def test_the_slow_model_in_fractions_makes_the_same_bill(block):
    """`make fractions` compares 100,000."""
    found = {compare(number) for number in range(block * 200, (block + 1) * 200)}

    assert found == {"billed"}


@pytest.mark.parametrize("tariff", shipped_tariffs().values(), ids=lambda tariff: tariff.code)
def test_the_slow_model_makes_the_examples_of_the_shipped_tariffs(tariff):
    for version in tariff.versions:
        for example in version.examples:
            case = fraction_model.Case(
                version=version,
                period=Period(example.starts, example.ends),
                quantities=example.use,
                intervals=example.intervals,
                used=example.used,
                people=example.people,
                months=example.months,
                attributes=example.attributes,
            )
            _, minor = fraction_model.bill(case)
            assert Decimal(minor).scaleb(-currency_digits(version.currency)) == example.total


@given(versions(), periods, uses, contexts)
def test_the_lines_hold_the_whole_use_and_the_whole_total(version, period, use, context):
    priced = price(version, usage=Usage(period=period, quantities=use), context=context)

    for code, component in version.components.items():
        billed = [x.quantity for x in priced.lines if x.kind is LineKind.USE and x.code == code]
        assert sum(billed) == sum(use.values()) * component.factor
        assert all(quantity >= 0 for quantity in billed)
    assert sum(line.amount for line in priced.lines) == priced.total


@given(versions(), periods, contexts, st.sampled_from(REGISTERS))
def test_the_price_does_not_jump_at_a_limit(version, period, context, register):
    smallest = Decimal(1).scaleb(-DIGITS)
    context = replace(context, used={})
    much = price(
        version, usage=Usage(period=period, quantities={register: Decimal(10**6)}), context=context
    )
    dearest = Decimal(3 * 3 * 3) * 4  # three components of at most 3 x 3, doubly taxed at most

    for limit in {line.tier_to for line in much.lines if line.tier_to}:
        at, above = (
            exact(version, period, {register: use}, context) for use in (limit, limit + smallest)
        )
        assert 0 <= above - at <= smallest * dearest


@given(versions(), uses, contexts, st.integers(1, 30))
def test_days_priced_one_after_another_add_up_to_the_month(version, use, context, parts):
    version, month = by_use_only(version), month_of(date(2026, 4, 1))
    one = {"peak": use["peak"]}
    cuts = [month.starts + timedelta(days=n) for n in range(parts)] + [month.ends]
    used, total, given_out = context.used, Decimal(0), Decimal(0)
    for number, (starts, ends) in enumerate(pairwise(cuts), 1):
        reached = (one["peak"] * number / parts).quantize(Decimal("0.01"))
        day = price(
            version,
            usage=Usage(period=Period(starts, ends), quantities={"peak": reached - given_out}),
            context=replace(context, used=used),
        )
        used, given_out = day.used, reached
        total += day.total

    assert total == exact(version, month, one, context)


@given(versions(), quantities, quantities, contexts)
def test_splitting_a_yearly_period_at_any_day_changes_nothing(version, before, after, context):
    version = replace(by_use_only(version), seasons={"summer": frozenset(range(1, 13))})
    year = Period(date(2026, 1, 1), date(2027, 1, 1))
    first, second = year.split_at(date(2026, 5, 17))
    early = price(version, usage=Usage(period=first, quantities={"flat": before}), context=context)

    late = exact(version, second, {"flat": after}, replace(context, used=early.used))

    assert early.total + late == exact(version, year, {"flat": before + after}, context)


@given(versions(), periods, contexts, quantities, quantities)
def test_more_use_never_costs_less(version, period, context, use, more):
    assert exact(version, period, {"flat": use}, context) <= exact(
        version, period, {"flat": use + more}, context
    )


@given(versions(), periods, quantities, contexts)
def test_a_bigger_household_never_pays_more(version, period, use, context):
    bigger = replace(context, people=context.people + 1)

    assert exact(version, period, {"flat": use}, bigger) <= exact(
        version, period, {"flat": use}, context
    )


def with_charges_by_bill(version: TariffVersion) -> TariffVersion:
    """Nothing divided by days, because that is rounded to 12 digits."""
    fixed = {name: replace(each, per=ChargePer.BILL) for name, each in version.fixed.items()}
    minimum = version.minimum and replace(version.minimum, per=ChargePer.BILL)
    return replace(version, fixed=fixed, minimum=minimum)


def scaled(value, times: Decimal):
    """Multiply every price and amount in a part of a tariff."""
    match value:
        case Decimal():
            return value * times
        case tuple():
            return tuple(scaled(each, times) for each in value)
        case dict():
            return {name: scaled(each, times) for name, each in value.items()}
        case Component():
            return replace(value, prices=scaled(value.prices, times))
        case Charge():
            return replace(value, amount=value.amount * times)
    return value


@given(versions(), periods, uses, contexts, decimals(0, 50, 3))
def test_prices_that_are_all_scaled_scale_the_bill(version, period, use, context, times):
    version = with_charges_by_bill(version)
    dearer = replace(
        version,
        components=scaled(version.components, times),
        fixed=scaled(version.fixed, times),
        minimum=scaled(version.minimum, times),
    )

    assert exact(dearer, period, use, context) == times * exact(version, period, use, context)


@given(versions(), contexts, st.lists(quantities, min_size=2, max_size=5), st.randoms())
def test_the_order_of_uses_in_a_year_does_not_matter(version, context, uses, chance):
    version = replace(by_use_only(version), seasons={"summer": frozenset(range(1, 13))})

    def cost(uses: list[Decimal]) -> Decimal:
        used, total = context.used, Decimal(0)
        for number, use in enumerate(uses, 1):
            month = month_of(date(2026, number, 1))
            usage = Usage(period=month, quantities={"flat": use})
            part = price(version, usage=usage, context=replace(context, used=used))
            used, total = part.used, total + part.total
        return total

    assert cost(chance.sample(uses, len(uses))) == cost(uses)
