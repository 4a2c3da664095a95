"""
Bills that others published or that follow from published prices, to the cent.

Each has the number under which it was collected, whether its result was (P)ublished or (C)omputed
from published prices, and its source.
"""

from datetime import date
from decimal import Decimal

import pytest

from core.billing.consumption import share_by_days
from core.billing.formulas import parse_number
from core.billing.late_fees import LateFee, LatePayment, late_charges
from core.billing.tariff_files import shipped_tariffs
from core.billing.tariff_model import Charge, ChargePer, Component, version_on
from core.billing.tiers import LimitsPer, Tiering
from core.money import Money, round_minor
from core.periods import Period, bimonth_of, month_of
from tests.billing.tariff_building import (
    APRIL,
    YEAR,
    component,
    decimals,
    make_version,
    price_use,
    tiering,
)
from tests.billing.test_consumption import consumption

SHIPPED = shipped_tariffs()
JULY, AUGUST = month_of(date(2025, 7, 1)), month_of(date(2025, 8, 1))
SEPTEMBER, JANUARY = month_of(date(2025, 9, 1)), month_of(date(2026, 1, 1))
FOUR_MONTHS = Period(date(2026, 1, 1), date(2026, 5, 1))


def shipped(code: str, day: date = date(2026, 1, 1)):
    return version_on(SHIPPED[code].versions, day)


SANTA_MONICA = make_version(
    currency="USD",
    tiers={"volume": tiering("210", per=LimitsPer.BILL)},
    components={"water": component("4.07", "10.03", tiers="volume")},
)
HONG_KONG_FLUSHING = make_version(
    currency="HKD",
    tiers={"free": tiering("30", per=LimitsPer.BILL)},
    components={"flushing": component("0", "4.58", tiers="free")},
)
JINPING = make_version(
    tiers={"volume": tiering("16", "25")},
    components={
        "water": component("2.90", "4.35", "5.80", tiers="volume"),
        "resource": component("0.20"),
        "sewage": component("1.10"),
    },
)
YINGKOU = make_version(
    tiers={"volume": tiering("108", "180", per=LimitsPer.YEAR)},
    components={
        "water": component("2.15", "3.30", "6.45", tiers="volume"),
        "sewage": component("0.95"),
    },
)
TAMIL_NADU = make_version(
    currency="INR",
    cliff="size",
    tiers={
        "size": tiering("100", "200", "500"),
        "slabs": Tiering(
            per=LimitsPer.MONTH,
            limits={
                "tier1": (),
                "tier2": (),
                "tier3": decimals("200"),
                "tier4": decimals("200", "500"),
            },
        ),
    },
    components={
        "energy": Component(
            tiers="slabs",
            prices={
                "tier1": decimals("1.00"),
                "tier2": decimals("1.50"),
                "tier3": decimals("2.00", "3.00"),
                "tier4": decimals("3.00", "4.00", "5.75"),
            },
        )
    },
    fixed={
        "fixed": Charge(
            amount=parse_number("20 if use <= 200 else 30 if use <= 500 else 40"),
            per=ChargePer.BILL,
        )
    },
)
SHANGHAI_DEMAND = make_version(
    components={"energy": component("0")},
    attributes={"contract_kw": "required", "demand_kw": "required"},
    fixed={
        "demand": Charge(
            amount=parse_number(
                "40.8 * (contract_kw + 2 * max(0, demand_kw - 1.05 * contract_kw))"
            ),
            per=ChargePer.MONTH,
        )
    },
)
PRICED = [
    # id and source, version, use, what else, minor units
    ("T06 P S18", shipped("hefei-water"), "8", {"period": YEAR}, 2520),
    ("T07 P S28", shipped("guangzhou-electricity"), "600", {"period": JULY}, 37040),
    ("T08 P S28", shipped("guangzhou-electricity"), "600", {"period": JANUARY}, 42340),
    ("T09 P S27", shipped("shenzhen-electricity"), "367.88", {"period": AUGUST}, 24925),
    ("T13 P S27", shipped("shenzhen-electricity"), "1", {"period": SEPTEMBER}, 66),
    ("T16 C S27", shipped("shenzhen-electricity"), "610", {"period": AUGUST}, 42435),
    ("T17 P S54", SANTA_MONICA, "388", {}, 264004),
    ("T18 P S54 9 ccf", SANTA_MONICA, "9", {}, 3663),
    ("T18 P S54 22 ccf", SANTA_MONICA, "22", {}, 8954),
    ("T18 P S54 73 ccf", SANTA_MONICA, "73", {}, 29711),
    ("T18 P S54 84 ccf", SANTA_MONICA, "84", {}, 34188),
    ("T27 P S42", TAMIL_NADU, "80", {}, 10000),
    ("T28 C S42 130", TAMIL_NADU, "130", {}, 21500),
    ("T28 C S42 230", TAMIL_NADU, "230", {}, 52000),
    ("T29 P S45", shipped("britain-electricity", date(2025, 1, 1)), "479", {}, 7745),
    ("T30 C S64", shipped("taiwan-electricity"), "404", {"period": JULY}, 956),
    ("T31 P S64", shipped("taiwan-electricity"), "404", {"period": JANUARY}, 956 - 106),
    ("T42 C S62", HONG_KONG_FLUSHING, "100", {}, 32060),
    ("T43 C S61 S63", shipped("hong-kong-water"), "62", {"months": 4}, 25151 + 14600),
    ("T44 P S23 tier 1", shipped("shanghai-water"), "1", {"used": "0"}, 405),
    ("T44 P S23 tier 2", shipped("shanghai-water"), "1", {"used": "220"}, 580),
    ("T44 P S23 tier 3", shipped("shanghai-water"), "1", {"used": "300"}, 879),
    ("T45 P S32 tier 1", JINPING, "1", {"used": "0"}, 420),
    ("T45 P S32 tier 2", JINPING, "1", {"used": "16"}, 565),
    ("T45 P S32 tier 3", JINPING, "1", {"used": "25"}, 710),
    ("T46 C S20", shipped("beijing-water"), "300", {"period": YEAR}, 182000),
    ("T48 C S17", shipped("shandong-electricity"), "5000", {"period": YEAR}, 290850),
    ("T49 C S17", shipped("shandong-electricity"), "5000", {"period": YEAR, "people": 5}, 284850),
    (
        "T50 C S23",
        shipped("shanghai-electricity-two-rate"),
        {"peak": "150", "valley": "60"},
        {},
        11097,
    ),
    ("T51 C S26", shipped("shenzhen-water"), "35", {}, 16417 + 2065),
    ("T52 C S34", YINGKOU, "200", {"period": YEAR}, 78880),
    (
        "T54 C S38 within the contract",
        SHANGHAI_DEMAND,
        "0",
        {"attributes": {"contract_kw": "500", "demand_kw": "500"}},
        2040000,
    ),
    (
        "T54 C S38 above it",
        SHANGHAI_DEMAND,
        "0",
        {"attributes": {"contract_kw": "500", "demand_kw": "560"}},
        2325600,
    ),
    ("S51 P Cape Town level 1", shipped("cape-town-water", date(2015, 12, 1)), "24", {}, 29462),
    ("S51 P Cape Town level 2", shipped("cape-town-water"), "24", {}, 34475),
]


@pytest.mark.parametrize(
    ("version", "use", "given", "minor"), [pytest.param(*each[1:], id=each[0]) for each in PRICED]
)
def test_the_engine_makes_the_bill(version, use, given, minor):
    assert price_use(version, use, **given).total_minor == minor


HEFEI = [(1, 3, 630), (3, 6, 945), (6, 7, 315), (7, 7, 0), (7, 7, 0), (7, 9, 630)]


@pytest.mark.parametrize(
    "number",
    range(6),
    ids=["T01 P S18", "T02 P S18", "T03 P S18", "T04 P S18", "T04 P S18 again", "T05 P S18"],
)
def test_the_bills_of_a_household_in_hefei(number):
    before, after, minor = HEFEI[number]

    priced = price_use(
        shipped("hefei-water"),
        str(after - before),
        period=bimonth_of(date(2025, 3 + number, 1)),
        used=str(before - 1),
    )

    assert priced.total_minor == minor


def test_shenzhen_in_august_exactly_t09_p_s27():
    priced = price_use(shipped("shenzhen-electricity"), "367.88", period=AUGUST)

    assert priced.total == Decimal("249.25015575")


def test_energy_of_a_month_in_kerala_t23_p_s41():
    lines = price_use(shipped("kerala-electricity"), "117").lines

    energy = [line.amount for line in lines if line.code == "energy"]
    assert energy == [Decimal("157.50"), Decimal("185.00"), Decimal("81.60")]
    assert sum(energy) == Decimal("424.10")


def test_taiwan_before_rounding_t30_c_s64():
    assert price_use(shipped("taiwan-electricity"), "404", period=JULY).total == Decimal("955.88")


def test_shenzhen_water_without_refuse_t51_c_s26():
    lines = price_use(shipped("shenzhen-water"), "35").lines

    assert sum(line.amount for line in lines if line.code != "refuse") == Decimal("164.17")


def test_cape_town_rounds_the_sum_and_not_the_lines_c_s50():
    version = make_version(
        currency="ZAR",
        tiers={"steps": tiering("6")},
        components={"water": component("29.93", "52.35", tiers="steps")},
    )

    assert price_use(version, "10.5").total_minor == 41516


def test_a_price_that_changes_within_a_period_t36_p_s57():
    parts = Period(date(2026, 4, 1), date(2026, 5, 16)).split_at(date(2026, 4, 16))

    assert share_by_days(Decimal(100), parts=parts, digits=0) == (33, 67)


def test_a_part_of_a_monthly_charge_t37_p_s59():
    version = make_version(
        components={"water": component("1")},
        fixed={"standing": Charge(amount=Decimal(30), per=ChargePer.MONTH)},
    )
    _, part = APRIL.split_at(date(2026, 4, 12))

    assert price_use(version, "0", period=part).total == 19


def test_limits_that_follow_the_days_t38_p_s43():
    version = make_version(
        quantity_digits=0,
        tiers={"slabs": tiering("100", "200", per=LimitsPer.THIRTY_DAYS)},
        components={"energy": component("1", "2", "3", tiers="slabs")},
    )

    lines = price_use(version, "300", period=month_of(date(2026, 5, 1))).lines

    assert [line.tier_to for line in lines] == [103, 206, None]


@pytest.mark.parametrize(
    ("before", "after", "went"),
    [
        pytest.param("25001", "25222", 221, id="T39 P S43"),
        pytest.param("9201", "9846", 645, id="T39 P S95"),
        pytest.param("99986", "11", 25, id="T40 C S95"),
    ],
)
def test_what_went_through_a_meter(before, after, went):
    assert consumption(before, after) == went


CHINA_HOME = LateFee(per_day=Decimal("0.001"))
CHINA_BUSINESS = LateFee(per_day=Decimal("0.002"), per_day_of_earlier_years=Decimal("0.003"))


@pytest.mark.parametrize(
    ("rule", "owed", "due", "paid", "minor"),
    [
        pytest.param(CHINA_HOME, 12530, "2026-03-01", "2026-04-15", 564, id="T55 C S1 S65"),
        pytest.param(CHINA_BUSINESS, 100000, "2026-03-01", "2026-03-21", 4000, id="T56 C S65"),
        pytest.param(
            CHINA_BUSINESS, 100000, "2025-12-31", "2026-01-20", 6000, id="T56 C S65 a year later"
        ),
    ],
)
def test_what_paying_late_costs(rule, owed, due, paid, minor):
    late = LatePayment(
        bill="E1",
        payment="P1",
        amount=Money(owed, "CNY").amount,
        due=date.fromisoformat(due),
        since=date.fromisoformat(due),
        paid=date.fromisoformat(paid),
    )

    fee = sum(charge.amount for charge in late_charges(rule, late))

    assert round_minor(fee, currency="CNY") == minor
