"""Recorded series that drive some homes of the demo; data/*/SOURCE.md says where from."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path

DATA = Path(__file__).parent / "data"
LITRES_PER_M3 = 1000
LITRES_PER_PULSE = Decimal("0.15755")  # CIWS: 0.041619 US gallons
# The recorded mains are 230 V ones that run high (229 to 252 V); scaled to a 220 V network.
TO_220_VOLTS = Decimal(220) / Decimal(240)
BURST_HOURS = (30, 35)  # of the simulated network, at the node the pressures are taken from
STEPS_PER_HOUR = 6


@dataclass(frozen=True, slots=True)
class Recordings:
    """
    Series to be repeated, each from its own beginning.

    Units: water m³ per hour, energy kWh per hour, voltage V and pressure kPa per 10 minutes.
    """

    water_family: tuple[Decimal, ...]
    water_leaky: tuple[Decimal, ...]
    energy: tuple[Decimal, ...]
    voltage: tuple[Decimal, ...]
    pressure: tuple[Decimal, ...]
    burst: tuple[Decimal, ...]


@cache
def recordings() -> Recordings:
    """Return all recorded series, read once."""
    energy, voltage = _household_power()
    pressure, burst = _network_pressure()
    return Recordings(
        water_family=_whole_house_register(),
        water_leaky=_pulses_by_hour(),
        energy=energy,
        voltage=voltage,
        pressure=pressure,
        burst=burst,
    )


def _rows(path: str, delimiter: str = ",") -> Iterator[dict[str, str]]:
    with (DATA / path).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter=delimiter)


def _whole_house_register() -> tuple[Decimal, ...]:
    """AMPds2: a year of one house's register, as the use in each hour."""
    path = "ampds2/water_whw_hourly_2012-04_2013-03.csv"
    litres = [Decimal(row["counter_l"]) for row in _rows(path)]
    return tuple((after - before) / LITRES_PER_M3 for before, after in pairwise(litres))


def _pulses_by_hour() -> tuple[Decimal, ...]:
    """CIWS: pulses a minute of one home, as the use in each hour."""
    pulses = [int(row["pulses"]) for row in _rows("ciws-water/residential_019_1min.csv")]
    return tuple(
        sum(pulses[start : start + 60]) * LITRES_PER_PULSE / LITRES_PER_M3
        for start in range(0, len(pulses) - 59, 60)
    )


def _household_power() -> tuple[tuple[Decimal, ...], tuple[Decimal, ...]]:
    """UCI: mains by the minute, as energy per hour and mean voltage per ten minutes."""
    path = "uci-household-power/household_1min_2006-12-16_24.csv"
    rows = [row for row in _rows(path, ";") if row["Voltage"] != "?"]
    power = [Decimal(row["Global_active_power"]) for row in rows]
    volts = [Decimal(row["Voltage"]) for row in rows]
    energy = tuple(
        (sum(power[start : start + 60], Decimal(0)) / 60).quantize(Decimal("0.001"))
        for start in range(0, len(power) - 59, 60)
    )
    voltage = tuple(
        (sum(volts[start : start + 10], Decimal(0)) / 10 * TO_220_VOLTS).quantize(Decimal("0.1"))
        for start in range(0, len(volts) - 9, 10)
    )
    return energy, voltage


def _network_pressure() -> tuple[tuple[Decimal, ...], tuple[Decimal, ...]]:
    """WNTR: pressure at the node where a main bursts, before it and while it lasts."""
    node = [
        Decimal(row["pressure_kpa"])
        for row in _rows("wntr-net3/pressure_register_10min.csv")
        if row["meter"] == "W-n3-113"
    ]
    begin, end = (hour * STEPS_PER_HOUR for hour in BURST_HOURS)
    quiet = 24 * STEPS_PER_HOUR
    return tuple(node[:quiet]), tuple(node[begin:end])
