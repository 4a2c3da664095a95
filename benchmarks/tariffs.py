"""
A year of bills from hourly load, against NREL's SAM: `python -m benchmarks.tariffs`.

Both get the same tariff and the same load, and their bills are equal to the cent in every month.
Both turn hours into what is priced within the time that is measured; reading the tariff and the
load into the form that each wants is outside of it. The order changes from round to round.
"""

import argparse
import random
import statistics
import sys
import time
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from core.billing.calculation import Basis, compute_bill
from core.billing.formulas import parse_number
from core.billing.tariff_model import (
    Charge,
    ChargePer,
    Component,
    Mark,
    Rounding,
    TariffVersion,
    Window,
)
from core.billing.tiers import LimitsPer, Tiering
from core.money import RoundingMode
from core.periods import Period, month_of

YEAR = 2026
HOURS = 8760
MONTHS = [month_of(date(YEAR, month, 1)) for month in range(1, 13)]
SUMMER = frozenset({6, 7, 8, 9})
SEASONS = {"winter": frozenset(range(1, 13)) - SUMMER, "summer": SUMMER}
PEAK = range(16, 21)
CENT = Decimal("0.01")
NO_LIMIT = 1e38


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One tariff as both programs know it; `has_peak` if the time of use matters."""

    name: str
    ours: TariffVersion
    theirs: dict[str, Any]
    has_peak: bool


def version(**parts: Any) -> TariffVersion:  # noqa: ANN401 (any part of a tariff)
    """Return one of our tariffs, monthly and with two seasons."""
    service = Charge(amount=Decimal("8.70"), per=ChargePer.MONTH)
    return TariffVersion(
        currency="USD",
        unit="kWh",
        quantity_digits=3,
        valid_from=date(YEAR, 1, 1),
        source="benchmark",
        mark=Mark.CHECKED,
        window=Window.MONTH,
        rounding=Rounding(mode=RoundingMode.HALF_UP, digits=2),
        seasons=SEASONS,
        fixed={"service": service} | parts.pop("fixed", {}),
        **parts,
    )


def decimals(*numbers: str) -> tuple[Decimal, ...]:
    """Return exact numbers."""
    return tuple(map(Decimal, numbers))


def tiers() -> Subject:
    """Return three tiers, wider in summer."""
    limits = {"winter": decimals("200", "400"), "summer": decimals("260", "600")}
    prices = decimals("0.5890", "0.6390", "0.8890")
    tiered = Component(tiers="use", prices=prices)
    rows = [
        [period, tier, float(upper), 0, float(price), 0]
        for period, season in enumerate(limits, 1)
        for tier, (upper, price) in enumerate(
            zip([*limits[season], NO_LIMIT], prices, strict=True), 1
        )
    ]
    schedule = [[2 if month in SUMMER else 1] * 24 for month in range(1, 13)]
    return Subject(
        name="three tiers, two seasons",
        ours=version(
            tiers={"use": Tiering(limits=limits, per=LimitsPer.MONTH)},
            components={"energy": tiered},
        ),
        theirs={
            "ur_ec_tou_mat": rows,
            "ur_ec_sched_weekday": schedule,
            "ur_ec_sched_weekend": schedule,
            "ur_dc_enable": 0,
        },
        has_peak=False,
    )


def time_of_use() -> Subject:
    """Return peak and off-peak prices by season, and a charge on the month's demand."""
    prices = {"winter": decimals("0.49312", "0.46312"), "summer": decimals("0.61949", "0.53605")}
    by_register = {
        season: ({"peak": peak, "off_peak": off_peak},)
        for season, (peak, off_peak) in prices.items()
    }
    rows = [
        [2 * n + at, 1, NO_LIMIT, 0, float(price), 0]
        for n, pair in enumerate(prices.values())
        for at, price in enumerate(pair, 1)
    ]
    schedule = [
        [(3 if month in SUMMER else 1) + (hour not in PEAK) for hour in range(24)]
        for month in range(1, 13)
    ]
    return Subject(
        name="time of use, demand",
        ours=version(
            attributes={"demand_kw": "required"},
            components={"energy": Component(prices=by_register)},
            fixed={"demand": Charge(amount=parse_number("demand_kw * 12.5"), per=ChargePer.MONTH)},
        ),
        theirs={
            "ur_ec_tou_mat": rows,
            "ur_ec_sched_weekday": schedule,
            "ur_ec_sched_weekend": schedule,
            "ur_dc_enable": 1,
            "ur_dc_flat_mat": [[month, 1, NO_LIMIT, 12.5] for month in range(12)],
            "ur_dc_tou_mat": [[1, 1, NO_LIMIT, 0]],
            "ur_dc_sched_weekday": [[1] * 24] * 12,
            "ur_dc_sched_weekend": [[1] * 24] * 12,
        },
        has_peak=True,
    )


def a_load(seed: int) -> list[int]:
    """Return a home's load. Units: watt-hours in each hour of the year."""
    chance = random.Random(seed)  # noqa: S311 (repeatable, not secret)
    return [chance.randint(80, 400) + (900 if n % 24 in PEAK else 0) for n in range(HOURS)]


def our_year(subject: Subject, load: Sequence[int]) -> list[Decimal]:
    """Return the twelve bills that our engine makes."""
    bills, first = [], 0
    for period in MONTHS:
        hours = load[first : first + period.days * 24]
        first += len(hours)
        computed = compute_bill(basis_of(subject, period, hours))
        bills.append(Decimal(computed.total_minor).scaleb(-2))
    return bills


def basis_of(subject: Subject, period: Period, hours: Sequence[int]) -> Basis:
    """Return what is priced of a month."""
    use, attributes = {"total": sum(hours)}, {}
    if subject.has_peak:
        at_peak = sum(sum(hours[hour::24]) for hour in PEAK)
        use = {"peak": at_peak, "off_peak": sum(hours) - at_peak}
        attributes = {"demand_kw": str(Decimal(max(hours)).scaleb(-3))}
    return Basis(
        versions=(subject.ours,),
        period=period,
        quantities={name: Decimal(watt_hours).scaleb(-3) for name, watt_hours in use.items()},
        used={},
        people=1,
        customer_since=date(YEAR, 1, 1),
        attributes=attributes,
    )


def their_model(subject: Subject, load: Sequence[int]) -> Any:  # noqa: ANN401 (a C module)
    """Return SAM's model of the tariff and the load, ready to run."""
    from PySAM import Utilityrate5  # noqa: PLC0415 (only where it is installed)

    model = Utilityrate5.new()
    model.Lifetime.assign(
        {"analysis_period": 1, "system_use_lifetime_output": 0, "inflation_rate": 0}
    )
    model.SystemOutput.assign({"gen": [0.0] * HOURS, "degradation": [0]})
    model.Load.assign({"load": [each / 1000 for each in load], "load_escalation": [0]})
    model.ElectricityRates.assign(
        {
            "en_electricity_rates": 1,
            "rate_escalation": [0],
            "ur_metering_option": 4,
            "ur_monthly_fixed_charge": 8.70,
            "ur_monthly_min_charge": 0,
            "ur_annual_min_charge": 0,
            "ur_en_ts_sell_rate": 0,
            "ur_nm_yearend_sell_rate": 0,
            "ur_sell_eq_buy": 0,
            "TOU_demand_single_peak": 0,
            **subject.theirs,
        }
    )
    return model


def their_year(model: Any) -> list[Decimal]:  # noqa: ANN401 (a C module)
    """Return the twelve bills that SAM makes, rounded to cents."""
    model.execute(0)
    _, months = model.Outputs.utility_bill_wo_sys_ym
    # Its sums are binary: 12 digits are what they hold.
    return [Decimal(f"{month:.9f}").quantize(CENT, rounding=ROUND_HALF_UP) for month in months]


def seconds(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(subject: Subject, *, rounds: int) -> float:
    """Compare both on new loads, round by round, and return the median of the ratios."""
    ratios, ours, theirs = [], [], []
    for number in range(rounds):
        load = a_load(number)
        model = their_model(subject, load)
        assert our_year(subject, load) == their_year(model), f"{subject.name}: load {number}"
        work = [lambda: our_year(subject, load), lambda: their_year(model)]  # noqa: B023 (run at once)
        order = [0, 1] if number % 2 else [1, 0]
        took = {which: seconds(work[which]) for which in order}
        ours.append(took[0])
        theirs.append(took[1])
        ratios.append(took[1] / took[0])
    ratio = statistics.median(ratios)
    print(
        f"{subject.name:26} ours {statistics.median(ours) * 1000:6.2f} ms"
        f"   SAM {statistics.median(theirs) * 1000:6.2f} ms   {ratio:.1f} times as fast"
        f" ({min(ratios):.1f} to {max(ratios):.1f}), equal to the cent in {rounds * 12} bills"
    )
    return ratio


def main() -> None:
    """Measure both tariffs; fail if a bill differs or SAM is faster."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=51)
    rounds = parser.parse_args().rounds
    assert sum(monthrange(YEAR, month)[1] for month in range(1, 13)) * 24 == HOURS
    if min(measure(subject, rounds=rounds) for subject in (tiers(), time_of_use())) < 1:
        sys.exit("SAM is faster")


if __name__ == "__main__":
    main()
