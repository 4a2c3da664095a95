"""What a tariff is: dated versions of tiers, priced components, fixed charges and taxes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from core.billing.formulas import Number
from core.billing.late_fees import LateFee
from core.billing.tiers import Tiering
from core.errors import DomainError
from core.money import RoundingMode

MINIMUM: Final = "minimum"  # the code of the line that fills a bill up to its minimum
REQUIRED: Final = "required"  # stands for the default of an attribute that has none

Prices = tuple[Number | Mapping[str, Number], ...]


class TariffNotInForce(DomainError):
    """The tariff has no version for this day."""

    code = "billing.tariff_not_in_force"


class Window(StrEnum):
    """How long used tiers stay used: the accumulator starts at zero with each window."""

    BILL = "bill"
    MONTH = "month"
    YEAR = "year"


class ChargePer(StrEnum):
    """What a fixed or minimum charge is written for."""

    BILL = "bill"
    DAY = "day"
    MONTH = "month"  # part months by their days


class PartMonth(StrEnum):
    """What part of a month counts for in limits that are multiplied by months."""

    WHOLE = "whole"
    DAYS = "days"


class Mark(StrEnum):
    """Whether every number of a version was read in its source."""

    CHECKED = "checked"
    CHECK = "check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """
    One priced part of the use; `prices` has one entry per tier, or that for each case.

    A case is a season or a tier of the version's cliff. An entry is one price for everything or
    a price for each register (time of use).

    Units:
        `factor`: share of the use that is charged (sewage on 0.9 of the water).
        `prices`: currency units per unit of use.
    """

    prices: Prices | Mapping[str, Prices]
    tiers: str | None = None
    factor: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """An amount that is due beside the priced use; a credit is negative."""

    amount: Number
    per: ChargePer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tax:
    """
    A tax or surcharge: a share of the lines with these codes.

    If none is named, of all lines but taxes; taxes that stand above it may be named.
    """

    rate: Number
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How the total of a bill is rounded, once, to `digits` after the point."""

    mode: RoundingMode
    digits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A number for each text that an attribute of the customer may have."""

    by: str
    table: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The use from a local moment until the next one, and the market's price then."""

    at: datetime
    use: Decimal
    market: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A bill that the version must make; `source` says who published or computed it."""

    source: str
    starts: date
    ends: date
    use: Mapping[str, Decimal]
    total: Decimal
    used: Mapping[str, Decimal] = field(default_factory=dict)
    people: int = 1
    months: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    intervals: tuple[Interval, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffVersion:
    """
    Everything that decides a bill under one tariff from `valid_from` until before `valid_to`.

    `source` is the approval; `to_check` names the fields that were not read in it. `attributes`
    are what formulas may ask about the customer, with defaults; `values` are named numbers.
    `cliff` is the tiering whose tier, that of the window's whole use, chooses among the cases of
    limits and prices. `series` are the market prices by which intervals are priced.

    Units:
        `quantity_digits`: digits after the point that a billed quantity has; 0 is whole units.
    """

    currency: str
    unit: str
    quantity_digits: int
    valid_from: date
    valid_to: date | None = None
    source: str
    mark: Mark
    to_check: tuple[str, ...] = ()
    window: Window
    part_month: PartMonth = PartMonth.WHOLE
    rounding: Rounding
    attributes: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Number | Lookup] = field(default_factory=dict)
    series: str | None = None
    seasons: Mapping[str, frozenset[int]] = field(default_factory=dict)
    tiers: Mapping[str, Tiering] = field(default_factory=dict)
    cliff: str | None = None
    components: Mapping[str, Component]
    fixed: Mapping[str, Charge] = field(default_factory=dict)
    minimum: Charge | None = None
    taxes: Mapping[str, Tax] = field(default_factory=dict)
    late_fee: LateFee | None = None
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """
    All dated versions of one tariff, with the names of its place and its lines by language.

    Units:
        `bill_every_months`: calendar months that a bill covers, counted from January.
    """

    code: str
    service: str
    bill_every_months: int = 1
    place: Mapping[str, str]
    labels: Mapping[str, Mapping[str, str]]
    versions: tuple[TariffVersion, ...]


def version_on(versions: Iterable[TariffVersion], day: date) -> TariffVersion:
    """
    Return the version in force on this day.

    Raises:
        TariffNotInForce: no version covers the day.
    """
    for version in versions:
        if version.valid_from <= day and (version.valid_to is None or day < version.valid_to):
            return version
    raise TariffNotInForce(day=day)
