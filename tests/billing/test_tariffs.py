"""The tariff engine against published bills, and shape by shape."""

from datetime import date
from decimal import Decimal, localcontext

import pytest

from core.billing.tariff_files import shipped_tariffs
from core.billing.tariff_model import (
    Charge,
    ChargePer,
    Component,
    Rounding,
    TariffNotInForce,
    Tax,
    version_on,
)
from core.billing.tariffs import (
    Line,
    LineKind,
    PeriodSpansSeasons,
    PricingContext,
    RegisterNotPriced,
    Usage,
    price,
)
from core.billing.tiers import HouseholdRule, LimitsPer, Tiering
from core.money import RoundingMode
from core.periods import Period, month_of
from tests.billing.tariff_building import (
    APRIL,
    YEAR,
    component,
    decimals,
    make_version,
    price_use,
    tiering,
)

SHIPPED = shipped_tariffs()
JULY, AUGUST = month_of(date(2025, 7, 1)), month_of(date(2025, 8, 1))
SEPTEMBER, JANUARY = month_of(date(2025, 9, 1)), month_of(date(2026, 1, 1))


def shipped(code: str, day: date = date(2026, 1, 1)):
    return version_on(SHIPPED[code].versions, day)


TAIWAN_SEASONS = {
    "summer": frozenset({6, 7, 8, 9}),
    "other": frozenset({1, 2, 3, 4, 5, 10, 11, 12}),
}
TAIWAN = make_version(
    currency="TWD",
    seasons=TAIWAN_SEASONS,
    tiers={"slabs": tiering("120", "330")},
    components={
        "energy": Component(
            tiers="slabs",
            prices={
                "summer": decimals("1.63", "2.38", "3.52"),
                "other": decimals("1.63", "2.10", "2.89"),
            },
        )
    },
)
HONG_KONG = make_version(
    currency="HKD",
    tiers={
        "fresh": tiering("12", "43", "62", per=LimitsPer.BILL),
        "free": tiering("12", per=LimitsPer.BILL),
    },
    components={
        "water": component("0", "4.16", "6.45", "9.05", tiers="fresh"),
        "sewage": component("0", "2.92", tiers="free"),
    },
)
SHANDONG = make_version(
    tiers={
        "energy": tiering(
            "2520",
            "4800",
            per=LimitsPer.YEAR,
            household=(HouseholdRule(from_person=5, limits=(1,), flat=Decimal(1200)),),
        )
    },
    components={"energy": component("0.5469", "0.5969", "0.8469", tiers="energy")},
)
SHANGHAI_TWO_RATE = make_version(
    tiers={"energy": tiering("3120", "4800", per=LimitsPer.YEAR)},
    components={
        "energy": component(
            {"peak": "0.617", "valley": "0.307"},
            {"peak": "0.677", "valley": "0.337"},
            {"peak": "0.977", "valley": "0.487"},
            tiers="energy",
        )
    },
)
GUANGDONG_ADD_ON = make_version(
    tiers={"energy": tiering("260", "600")},
    components={
        "energy": component({"peak": "1.02896875", "flat": "0.60886875", "valley": "0.23676875"}),
        "tier_surcharge": component("0", "0.05", "0.30", tiers="energy"),
    },
)
SHENZHEN_COLLECTIVE = make_version(
    tiers={
        "volume": tiering(
            "22",
            "30",
            household=(HouseholdRule(from_person=5, per_head=decimals("5", "7")),),
        )
    },
    components={"water": component("2.67", "4.01", "8.01", tiers="volume")},
)


class TestPrice:
    def test_gives_each_part_of_the_use_its_own_line(self):
        priced = price_use(shipped("beijing-water"), "100", period=YEAR, used="170")

        assert [
            (line.tier, line.quantity, line.unit_price, line.amount, line.tier_from, line.tier_to)
            for line in priced.lines
        ] == [
            (1, 10, 5, 50, 0, 180),
            (2, 80, 7, 560, 180, 260),
            (3, 10, 9, 90, 260, None),
        ]
        assert {line.kind for line in priced.lines} == {LineKind.USE}

    def test_counts_a_limit_itself_to_the_tier_below(self):
        assert [line.tier for line in price_use(shipped("beijing-water"), "180").lines] == [1]

    def test_prices_a_component_on_its_share_of_the_volume(self):
        sewage = price_use(shipped("shanghai-water"), "10").lines[-1]

        assert (sewage.code, sewage.quantity, sewage.amount) == ("sewage", 9, 18)
        assert (sewage.tier, sewage.tier_from, sewage.tier_to) == (None, None, None)

    def test_lets_components_have_their_own_tiers(self):
        lines = price_use(HONG_KONG, "62").lines

        assert [line.amount for line in lines if line.code == "sewage"] == [0, 146]
        assert sum(line.amount for line in lines if line.code == "water") == Decimal("251.51")

    def test_makes_a_bill_of_nothing_without_use(self):
        priced = price_use(shipped("hefei-water"), "0")

        assert (priced.lines, priced.total_minor) == ((), 0)

    def test_divides_registers_in_proportion_where_a_limit_is_crossed(self):
        priced = price_use(SHANGHAI_TWO_RATE, {"peak": "150", "valley": "60"}, used="3050")

        assert [(line.tier, line.register, line.quantity) for line in priced.lines] == [
            (1, "peak", 50),
            (1, "valley", 20),
            (2, "peak", 100),
            (2, "valley", 40),
        ]

    def test_divides_registers_so_that_whole_units_add_up(self):
        version = make_version(
            quantity_digits=0,
            tiers=SHANGHAI_TWO_RATE.tiers,
            components=SHANGHAI_TWO_RATE.components,
        )

        lines = price_use(version, {"peak": "1", "valley": "1", "flat": "0"}, used="3119").lines

        assert [(line.tier, line.register, line.quantity) for line in lines] == [
            (1, "peak", 1),
            (2, "valley", 1),
        ]

    def test_adds_a_tier_surcharge_to_the_price_of_each_period(self):
        priced = price_use(GUANGDONG_ADD_ON, {"peak": "100", "flat": "150", "valley": "50"})

        surcharges = [line for line in priced.lines if line.code == "tier_surcharge"]
        assert [(line.tier, line.register, line.amount) for line in surcharges] == [
            (1, None, 0),
            (2, None, 2),
        ]
        assert priced.total == Decimal("102.896875") + Decimal("91.3303125") + Decimal(
            "11.8384375"
        ) + Decimal(2)

    def test_carries_the_accumulator_on_by_register(self):
        usage = Usage(period=APRIL, quantities={"peak": Decimal(10), "valley": Decimal(5)})
        context = PricingContext(used={"peak": Decimal(1), "total": Decimal(7)})

        priced = price(SHANGHAI_TWO_RATE, usage=usage, context=context)

        assert priced.used == {"peak": 11, "total": 7, "valley": 5}

    def test_refuses_a_register_without_a_price(self):
        with pytest.raises(RegisterNotPriced) as refusal:
            price_use(SHANGHAI_TWO_RATE, {"sharp": "1"})

        assert refusal.value.params == {"register": "sharp", "component": "energy"}

    @pytest.mark.parametrize("quantity", ["-1", "0.5"])
    def test_refuses_a_quantity_that_is_negative_or_finer_than_billed(self, quantity):
        with pytest.raises(ValueError, match="cannot bill"):
            price_use(shipped("hefei-water"), quantity)
        with pytest.raises(ValueError, match="cannot bill"):
            price_use(shipped("hefei-water"), "0", used=quantity)

    def test_makes_the_same_text_whatever_digits_a_quantity_comes_with(self):
        bills = [price_use(shipped("hefei-water"), use, used="2.00") for use in ("3", "3.000")]

        assert repr(bills[0]) == repr(bills[1])

    def test_loses_no_digit_whatever_the_precision_of_the_caller(self):
        with localcontext() as narrow:
            narrow.prec = 3
            priced = price_use(shipped("shenzhen-electricity"), "123456789.01", period=AUGUST)

        assert priced.total == Decimal("118872521.1130724375")


class TestSeasons:
    def test_price_a_period_by_its_last_day(self):
        cycle = Period(date(2026, 4, 20), date(2026, 5, 20))

        priced = price_use(shipped("guangzhou-electricity"), "600", period=cycle)

        assert priced.total_minor == 37040

    def test_refuse_a_longer_period_with_days_in_two(self):
        with pytest.raises(PeriodSpansSeasons):
            price_use(TAIWAN, "404", period=Period(date(2026, 5, 1), date(2026, 7, 1)))

    def test_accept_a_longer_period_within_one(self):
        both = Period(date(2026, 12, 1), date(2027, 2, 1))

        assert price_use(TAIWAN, "808", period=both, months=2).total == Decimal("1700.92")


class TestLimits:
    @pytest.mark.parametrize(
        ("people", "used", "tier"),
        [(5, "180", 1), (5, "181", 2), (6, "210", 1), (6, "211", 2), (6, "291", 3), (8, "270", 1)],
    )
    def test_all_rise_for_every_further_person_in_beijing(self, people, used, tier):
        before = str(Decimal(used) - 1)

        (line,) = price_use(shipped("beijing-water"), "1", used=before, people=people).lines

        assert line.tier == tier

    def test_rise_once_and_only_the_first_in_shandong(self):
        lines = price_use(SHANDONG, "5000", people=9).lines

        assert [line.tier_to for line in lines] == [3720, 4800, None]

    def test_are_another_table_per_head_in_a_collective_household(self):
        lines = price_use(SHENZHEN_COLLECTIVE, "100", people=6).lines

        assert [line.tier_to for line in lines] == [30, 42, None]

    def test_push_the_next_limit_up_rather_than_pass_it(self):
        rule = HouseholdRule(from_person=2, limits=(1,), per_person=Decimal(100))
        version = make_version(
            tiers={"volume": tiering("100", "150", household=(rule,))},
            components={"water": component("1", "2", "3", tiers="volume")},
        )

        lines = price_use(version, "250", people=2).lines

        assert [(line.tier, line.quantity, line.tier_from) for line in lines] == [
            (1, 200, 0),
            (3, 50, 200),
        ]

    def test_follow_the_days_of_the_period_t38(self):
        version = make_version(
            quantity_digits=0,
            tiers={"slabs": tiering("100", "200", per=LimitsPer.THIRTY_DAYS)},
            components={"energy": component("1", "2", "3", tiers="slabs")},
        )

        lines = price_use(version, "300", period=month_of(date(2026, 5, 1))).lines

        assert [line.tier_to for line in lines] == [103, 206, None]

    @pytest.mark.parametrize(
        ("per", "months", "expected"),
        [
            (LimitsPer.BILL, 4, "120"),
            (LimitsPer.DAY, None, "3600"),
            (LimitsPer.MONTH, None, "120"),
            (LimitsPer.MONTH, 2, "240"),
            (LimitsPer.YEAR, None, "120"),
            (LimitsPer.YEAR, 7, "70"),
        ],
    )
    def test_are_multiplied_by_what_they_are_written_for(self, per, months, expected):
        version = make_version(
            tiers={"volume": tiering("120", per=per)},
            components={"water": component("1", "2", tiers="volume")},
        )

        assert price_use(version, "9999", months=months).lines[0].tier_to == Decimal(expected)

    def test_are_rounded_to_the_digits_that_are_billed(self):
        version = make_version(
            quantity_digits=0,
            tiers={"volume": tiering("220", per=LimitsPer.YEAR)},
            components={"water": component("1", "2", tiers="volume")},
        )

        assert price_use(version, "9999", months=7).lines[0].tier_to == 128


class TestFixedCharges:
    @pytest.mark.parametrize(
        ("per", "period", "amount"),
        [
            pytest.param(
                ChargePer.MONTH, Period(date(2026, 4, 12), date(2026, 5, 1)), "19", id="T37"
            ),
            pytest.param(ChargePer.MONTH, APRIL, "30", id="whole month"),
            pytest.param(ChargePer.MONTH, YEAR, "360", id="year"),
            pytest.param(
                ChargePer.MONTH,
                Period(date(2026, 5, 1), date(2026, 5, 8)),
                "6.774193548387",
                id="part of a long month",
            ),
            pytest.param(ChargePer.DAY, APRIL, "900", id="days"),
            pytest.param(ChargePer.BILL, YEAR, "30", id="bill"),
        ],
    )
    def test_follow_the_period(self, per, period, amount):
        version = make_version(
            components={"water": component("1")},
            fixed={"standing": Charge(amount=Decimal(30), per=per)},
        )

        (line,) = price_use(version, "0", period=period).lines

        assert (line.kind, line.code, line.amount) == (LineKind.FIXED, "standing", Decimal(amount))

    def test_are_filled_up_to_the_minimum_before_tax(self):
        version = make_version(
            components={"water": component("2")},
            fixed={"standing": Charge(amount=Decimal(1), per=ChargePer.BILL)},
            minimum=Charge(amount=Decimal("0.5"), per=ChargePer.DAY),
            taxes={"vat": Tax(rate=Decimal("0.1"))},
        )

        priced = price_use(version, "3")

        assert priced.lines[2] == Line(
            kind=LineKind.MINIMUM,
            code="minimum",
            quantity=Decimal(1),
            unit_price=Decimal(8),
            amount=Decimal(8),
        )
        assert priced.total == Decimal("16.5")
        assert [line.code for line in price_use(version, "7").lines] == ["water", "standing", "vat"]


class TestTaxes:
    def test_are_charged_on_the_named_lines_and_never_on_each_other(self):
        version = make_version(
            components={"energy": component("1"), "wheeling": component("0.5")},
            taxes={
                "duty": Tax(rate=Decimal("0.1"), on=("energy",)),
                "vat": Tax(rate=Decimal("0.2")),
            },
        )

        lines = price_use(version, "100").lines[2:]

        assert [(line.code, line.quantity, line.amount) for line in lines] == [
            ("duty", 100, 10),
            ("vat", 150, 30),
        ]


class TestRounding:
    def test_happens_once_for_the_bill_and_not_for_each_line(self):
        version = make_version(components={"a": component("0.004"), "b": component("0.004")})

        assert price_use(version, "1").total_minor == 1

    @pytest.mark.parametrize(
        ("mode", "minor"), [(RoundingMode.HALF_UP, 3), (RoundingMode.HALF_EVEN, 2)]
    )
    def test_follows_the_rule_of_the_tariff(self, mode, minor):
        version = make_version(
            components={"water": component("0.025")}, rounding=Rounding(mode=mode, digits=2)
        )

        assert price_use(version, "1").total_minor == minor

    def test_may_be_to_the_whole_rupee(self):
        version = make_version(currency="INR", digits=0, components={"energy": component("937.50")})

        assert price_use(version, "1").total_minor == 93800


class TestVersionOn:
    @pytest.mark.parametrize(
        ("day", "codes"),
        [
            (date(2013, 8, 1), {"all_in"}),
            (date(2021, 10, 31), {"all_in"}),
            (date(2021, 11, 1), {"water", "sewage"}),
        ],
    )
    def test_finds_the_version_of_the_day(self, day, codes):
        assert version_on(SHIPPED["shanghai-water"].versions, day).components.keys() == codes

    def test_refuses_a_day_before_the_first(self):
        with pytest.raises(TariffNotInForce):
            version_on(SHIPPED["shanghai-water"].versions, date(2013, 7, 31))


def test_a_tiering_may_have_its_own_limits_in_each_season():
    seasonal = Tiering(
        limits={"summer": decimals("10"), "other": decimals("5")}, per=LimitsPer.MONTH
    )
    version = make_version(
        seasons=TAIWAN_SEASONS,
        tiers={"slabs": seasonal},
        components={"energy": component("1", "2", tiers="slabs")},
    )

    assert price_use(version, "10", period=JULY).total == 10
    assert price_use(version, "10", period=JANUARY).total == 15
