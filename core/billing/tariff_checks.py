"""What a tariff must fulfil beyond its form, shown by the bill that it would make. Pure."""

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Final

from core.billing.tariff_model import MINIMUM, Component, Example, Mark, Tariff, TariffVersion
from core.billing.tariffs import LineKind, Priced, PricingContext, Usage, price, season_of
from core.billing.tiers import Tiering, in_season, tier_limits
from core.errors import DomainError
from core.money import UnknownCurrency, currency_digits
from core.periods import Period

LANGUAGES: Final = {"zh_CN", "zh_TW", "en", "ru"}
_UNITS: Final = {"water": {"m3", "kl", "ccf"}, "electricity": {"kWh"}}
_MONTHS: Final = 12
_CYCLES: Final = (1, 2, 3, 4, 6, 12)  # so that a bill never crosses the end of a year
_MOST_DIGITS: Final = 6  # finer than any meter
_MOST_PEOPLE: Final = 40  # household rules are tried for households up to this size
_A_MONTH: Final = Period(date(2001, 4, 1), date(2001, 5, 1))  # limits move alike in any period


class Wrong(Exception):
    """A field of a tariff that cannot be right."""

    def __init__(self, field: str, reason: str, bill: str = "") -> None:
        super().__init__(field, reason, bill)
        self.field, self.reason, self.bill = field, reason, bill


def require_sound(tariff: Tariff) -> None:
    """
    Check everything about a tariff that its types cannot say, then its example bills.

    Raises:
        Wrong: the first thing found, with the first bill that would come of it.
    """
    _require_head(tariff)
    if not tariff.versions:
        raise Wrong("versions", "must be at least one")
    for number, version in enumerate(tariff.versions, 1):
        at = f"versions[{number}]"
        if not version.examples:
            raise Wrong(f"{at}.examples", "must be at least one")
        for field, reason in _problems(tariff, version):
            raise Wrong(f"{at}.{field}", reason, _bill(version, 1, version.examples[0]))
        _require_examples(version, at)
    for number, (earlier, later) in enumerate(pairwise(tariff.versions), 2):
        if earlier.valid_to is None or later.valid_from < earlier.valid_to:
            bill = _bill(later, 1, later.examples[0])
            raise Wrong(f"versions[{number}].valid_from", "is before the version above ends", bill)


def _require_head(tariff: Tariff) -> None:
    if tariff.service not in _UNITS:
        raise Wrong("service", f"must be one of {', '.join(_UNITS)}")
    if tariff.bill_every_months not in _CYCLES:
        raise Wrong("bill_every_months", f"must be one of {', '.join(map(str, _CYCLES))}")
    for field, words in {"place": tariff.place, **_dotted("labels", tariff.labels)}.items():
        if words.keys() != LANGUAGES:
            raise Wrong(field, f"must have the languages {', '.join(sorted(LANGUAGES))}")


def _dotted(field: str, tables: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    return {f"{field}.{key}": table for key, table in tables.items()}


def _problems(tariff: Tariff, version: TariffVersion) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with one version, most basic first."""
    yield from _problems_of_form(version)
    if version.unit not in _UNITS[tariff.service]:
        yield "unit", f"is not a unit of {tariff.service}"
    if version.valid_to is not None and version.valid_to <= version.valid_from:
        yield "valid_to", "must be after valid_from"
    if (version.mark is Mark.CHECK) != bool(version.to_check):
        yield "to_check", "must name fields if the mark is check, and none if it is checked"
    yield from _problems_of_codes(tariff, version)
    seasons = version.seasons or {"": frozenset[int]()}
    for name, tiering in version.tiers.items():
        for field, reason in _problems_of_tiers(tiering, seasons):
            yield f"tiers.{name}.{field}", reason
    for code, component in version.components.items():
        for field, reason in _problems_of_component(component, version, seasons):
            yield f"components.{code}.{field}", reason


def _problems_of_codes(tariff: Tariff, version: TariffVersion) -> Iterator[tuple[str, str]]:
    codes = [*version.components, *version.fixed, *version.taxes]
    codes += [MINIMUM] if version.minimum else []
    for code in codes:
        if code not in tariff.labels:
            yield f"labels.{code}", "is missing"
        if codes.count(code) > 1:
            yield code, "is the code of two things"
    for name, tax in version.taxes.items():
        if not set(tax.on) <= set(codes) - version.taxes.keys():
            yield f"taxes.{name}.on", "must name components, fixed charges or the minimum"


def _problems_of_form(version: TariffVersion) -> Iterator[tuple[str, str]]:
    if not 0 <= version.quantity_digits <= _MOST_DIGITS:
        yield "quantity_digits", f"must be from 0 to {_MOST_DIGITS}"
    try:
        shown = currency_digits(version.currency)
    except UnknownCurrency:
        yield "currency", f"{version.currency!r} is not known"
        return
    if not 0 <= version.rounding.digits <= shown:
        yield "rounding.digits", f"must be from 0 to {shown}"
    months = sorted(month for months in version.seasons.values() for month in months)
    if version.seasons and months != list(range(1, _MONTHS + 1)):
        yield "seasons", "must name each month from 1 to 12 once"


def _problems_of_tiers(
    tiering: Tiering, seasons: Mapping[str, object]
) -> Iterator[tuple[str, str]]:
    if isinstance(tiering.limits, Mapping) and tiering.limits.keys() != seasons.keys():
        yield "limits", f"must have the seasons {', '.join(seasons)}"
    for season in seasons:
        limits = in_season(tiering.limits, season)
        if not limits or limits[0] <= 0 or any(low >= high for low, high in pairwise(limits)):
            yield "limits", f"must rise from above 0: {', '.join(map(str, limits))}"
        for number, rule in enumerate(tiering.household, 1):
            field = f"household[{number}]"
            if rule.from_person < 1 or bool(rule.per_head) == bool(rule.limits):
                yield field, "must have from_person of 1 or more, and either limits or per_head"
            if not set(rule.limits) <= set(range(1, len(limits) + 1)):
                yield f"{field}.limits", "must be numbers of limits, from 1"
            if rule.per_head and len(rule.per_head) != len(limits):
                yield f"{field}.per_head", f"must be {len(limits)}, not {len(rule.per_head)}"
        by_people = [_limits_for(tiering, season, n) for n in range(1, _MOST_PEOPLE + 1)]
        for people, (fewer, more) in enumerate(pairwise(by_people), 2):
            if any(low > high for low, high in zip(fewer, more, strict=True)):
                yield "household", f"makes a household of {people} pay more than a smaller one"


def _limits_for(tiering: Tiering, season: str, people: int) -> tuple[Decimal, ...]:
    return tier_limits(
        tiering, season=season, period=_A_MONTH, people=people, months=None, digits=_MOST_DIGITS
    )


def _problems_of_component(
    component: Component, version: TariffVersion, seasons: Mapping[str, object]
) -> Iterator[tuple[str, str]]:
    if component.tiers is not None and component.tiers not in version.tiers:
        yield "tiers", f"{component.tiers!r} is not among the tiers of this version"
        return
    if isinstance(component.prices, Mapping) and component.prices.keys() != seasons.keys():
        yield "prices", f"must have the seasons {', '.join(seasons)}"
        return
    if component.factor <= 0:
        yield "factor", "must be above 0"
    registers = set()
    for season in seasons:
        limits = in_season(version.tiers[component.tiers].limits, season) if component.tiers else ()
        prices = in_season(component.prices, season)
        if len(prices) != len(limits) + 1:
            yield "prices", f"must be {len(limits) + 1}, one for each tier, not {len(prices)}"
        registers |= {frozenset(p) if isinstance(p, Mapping) else None for p in prices}
    if len(registers) > 1:
        yield "prices", "must have the same registers in each tier and season"


def _require_examples(version: TariffVersion, at: str) -> None:
    """Recompute the example bills, which must use every price of the version."""
    reached = set()
    for number, example in enumerate(version.examples, 1):
        field = f"{at}.examples[{number}]"
        bill = _bill(version, number, example)
        try:
            priced, season = _price(version, example), season_of(version, period=_period(example))
        except (DomainError, ValueError) as error:
            raise Wrong(field, f"cannot be priced: {error}", bill) from error
        if _total(version, priced) != example.total:
            raise Wrong(f"{field}.total", f"is {example.total}", bill)
        lines = [line for line in priced.lines if line.kind is LineKind.USE]
        reached |= {(line.code, season, line.tier or 1, line.register) for line in lines}
    for code, component in version.components.items():
        for season in version.seasons or ("",):
            for tier, each in enumerate(in_season(component.prices, season), 1):
                for register in each if isinstance(each, Mapping) else (None,):
                    if (code, season, tier, register) not in reached:
                        what = " ".join(filter(None, (season, f"tier {tier}", register)))
                        reason = f"{what} is used by no example bill"
                        bill = _bill(version, 1, version.examples[0])
                        raise Wrong(f"{at}.components.{code}.prices", reason, bill)


def _period(example: Example) -> Period:
    return Period(example.starts, example.ends)


def _price(version: TariffVersion, example: Example) -> Priced:
    context = PricingContext(used=example.used, people=example.people, months=example.months)
    return price(
        version, usage=Usage(period=_period(example), quantities=example.use), context=context
    )


def _total(version: TariffVersion, priced: Priced) -> Decimal:
    return Decimal(priced.total_minor).scaleb(-currency_digits(version.currency))


def _bill(version: TariffVersion, number: int, example: Example) -> str:
    """Describe the bill that a version makes of an example, even an impossible version."""
    use = " + ".join(f"{quantity} {register}" for register, quantity in example.use.items())
    text = f"example bill {number} ({use} {version.unit}, {example.starts} to {example.ends})"
    try:
        made = f"{_total(version, _price(version, example))} {version.currency}"
    except (DomainError, ValueError, LookupError) as error:
        return f"{text} cannot be made: {error!r}"
    return f"{text} would be {made}, the file says {example.total}"
