"""What a tariff must fulfil beyond its form, shown by the bill that it would make. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise, product
from typing import Final

from core.billing.formula_checks import problems_of_names
from core.billing.tariff_model import (
    MINIMUM,
    Component,
    Example,
    Mark,
    Tariff,
    TariffVersion,
    Window,
)
from core.billing.tariffs import Priced, PricingContext, Usage, cliff_case, price
from core.billing.terms import Names
from core.billing.tiers import Tiering, in_case, tier_limits, total
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


_SAID: Final[Mapping[str, str]] = {
    "money.unknown_currency": "no bills are made in the currency {currency}",
    "period.empty": "the period that starts {starts} must end after that, not {ends}",
    "billing.formula_fails": "the formula {formula} has no usable result",
    "billing.register_not_priced": "{component} has no price for the register {register}",
    "billing.intervals_missing": "{component} needs the use of each interval",
    "billing.period_spans_seasons": "{starts} to {ends} lies in two seasons",
}


class Wrong(Exception):
    """A field of a tariff that cannot be right; no bill where bills have no part in it."""

    def __init__(self, field: str, reason: str, bill: str | None = "") -> None:
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
        bill = _bill(version, 1, version.examples[0])
        try:
            for field, reason in _problems(tariff, version):
                raise Wrong(f"{at}.{field}", reason, None if field == "valid_to" else bill)
        except DomainError as error:
            raise Wrong(at, f"cannot be worked out: {_said(error)}", bill) from error
        _require_examples(version, at)
    for number, (earlier, later) in enumerate(pairwise(tariff.versions), 2):
        if earlier.valid_to is None or later.valid_from < earlier.valid_to:
            raise Wrong(f"versions[{number}].valid_from", "is before the version above ends", None)


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
    yield from problems_of_names(version)
    if version.cliff is not None and version.cliff not in version.tiers:
        yield "cliff", f"{version.cliff!r} is not among the tiers of this version"
        return
    if version.cliff is not None and version.window is Window.YEAR:
        yield "cliff", "needs a window of a bill or a month: the year's use is known too late"
    for name, tiering in version.tiers.items():
        for field, reason in _problems_of_tiers(name, tiering, version):
            yield f"tiers.{name}.{field}", reason
    for code, component in version.components.items():
        for field, reason in _problems_of_component(component, version):
            yield f"components.{code}.{field}", reason


def _problems_of_codes(tariff: Tariff, version: TariffVersion) -> Iterator[tuple[str, str]]:
    codes = [*version.components, *version.fixed, *version.taxes]
    codes += [MINIMUM] if version.minimum else []
    for code in codes:
        if code not in tariff.labels:
            yield f"labels.{code}", "is missing"
        if codes.count(code) > 1:
            yield code, "is the code of two things"
    known = set(codes) - version.taxes.keys()
    for name, tax in version.taxes.items():
        if not set(tax.on) <= known:
            yield (
                f"taxes.{name}.on",
                "must name components, fixed charges, the minimum or earlier taxes",
            )
        known.add(name)


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


def _cases(version: TariffVersion, *tables: object) -> list[tuple[str, ...]]:
    """Return the cases among which these tables of limits or prices choose, with all seasons."""
    tiers = _cliff_tiers(version)
    by_cliff = any(isinstance(table, Mapping) and table.keys() == set(tiers) for table in tables)
    return list(product(version.seasons or ("",), tiers if by_cliff else ("",)))


def _cliff_tiers(version: TariffVersion) -> list[str]:
    if version.cliff is None:
        return []
    limits = version.tiers[version.cliff].limits
    tables = limits.values() if isinstance(limits, Mapping) else [limits]
    return [cliff_case(tier) for tier in range(1, max(map(len, tables)) + 2)]


def _problem_of_cases(table: object, version: TariffVersion, tiers: Sequence[str]) -> str | None:
    if not isinstance(table, Mapping) or table.keys() in (version.seasons.keys(), set(tiers)):
        return None
    return f"must have the {' or '.join(_listed(seasons=version.seasons, cliff=tiers))}"


def _listed(**names: Collection[str]) -> Iterator[str]:
    for what, listed in names.items():
        if listed:
            yield f"{what} {', '.join(listed)}"


def _problems_of_tiers(
    name: str, tiering: Tiering, version: TariffVersion
) -> Iterator[tuple[str, str]]:
    tiers = [] if name == version.cliff else _cliff_tiers(version)
    if problem := _problem_of_cases(tiering.limits, version, tiers):
        yield "limits", problem
        return
    by_cliff = _cases(version, tiering.limits) if tiers else _cases(version)
    for cases in by_cliff:
        written = in_case(tiering.limits, cases)
        for number, rule in enumerate(tiering.household, 1):
            field = f"household[{number}]"
            if rule.from_person < 1 or bool(rule.per_head) == bool(rule.limits):
                yield field, "must have from_person of 1 or more, and either limits or per_head"
            if not set(rule.limits) <= set(range(1, len(written) + 1)):
                yield f"{field}.limits", "must be numbers of limits, from 1"
            if rule.per_head and len(rule.per_head) != len(written):
                yield f"{field}.per_head", f"must be {len(written)}, not {len(rule.per_head)}"
        plain = [limit for limit in written if isinstance(limit, Decimal)]
        if (not written and not cases[-1]) or any(
            low >= high for low, high in pairwise([Decimal(0), *plain])
        ):
            yield "limits", f"must rise from above 0: {', '.join(map(str, plain))}"
        by_people = [_limits_for(tiering, version, cases, n) for n in range(1, _MOST_PEOPLE + 1)]
        for people, (fewer, more) in enumerate(pairwise(by_people), 2):
            if any(low > high for low, high in zip(fewer, more, strict=True)):
                yield "household", f"makes a household of {people} pay more than a smaller one"


def _limits_for(
    tiering: Tiering, version: TariffVersion, cases: tuple[str, ...], people: int
) -> tuple[Decimal, ...]:
    example = version.examples[0]
    names = Names(
        version,
        period=_A_MONTH,
        use=total(example.use),
        people=people,
        attributes=example.attributes,
    )
    return tier_limits(
        tiering,
        cases=cases,
        names=names,
        period=_A_MONTH,
        people=people,
        months=None,
        digits=_MOST_DIGITS,
    )


def _problems_of_component(
    component: Component, version: TariffVersion
) -> Iterator[tuple[str, str]]:
    if component.tiers is not None and component.tiers not in version.tiers:
        yield "tiers", f"{component.tiers!r} is not among the tiers of this version"
        return
    if problem := _problem_of_cases(component.prices, version, _cliff_tiers(version)):
        yield "prices", problem
        return
    if component.factor <= 0:
        yield "factor", "must be above 0"
    tables = version.tiers[component.tiers].limits if component.tiers else ()
    registers = set()
    for cases in _cases(version, tables, component.prices):
        limits, prices = in_case(tables, cases), in_case(component.prices, cases)
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
            priced = _price(version, example)
        except (DomainError, ValueError) as error:
            raise Wrong(field, f"cannot be priced: {_said(error)}", bill) from error
        if _total(version, priced) != example.total:
            raise Wrong(f"{field}.total", f"is {example.total}", bill)
        for line in priced.lines:
            for chosen in (priced.cases[:1], priced.cases):
                reached.add((line.code, chosen, line.tier or 1, line.register))
    for code, cases, tier, register in _prices(version):
        if (code, cases, tier, register) not in reached:
            what = " ".join(filter(None, (*cases, f"tier {tier}", register)))
            bill = _bill(version, 1, version.examples[0])
            field = f"{at}.components.{code}.prices"
            raise Wrong(field, f"{what} is used by no example bill", bill)


def _prices(version: TariffVersion) -> Iterator[tuple[str, tuple[str, ...], int, str | None]]:
    """Yield the component, the cases, the tier and the register of every price."""
    for code, component in version.components.items():
        tables = version.tiers[component.tiers].limits if component.tiers else ()
        for cases in _cases(version, tables, component.prices):
            chosen = cases if cases[-1] else cases[:1]
            for tier, each in enumerate(in_case(component.prices, cases), 1):
                for register in each if isinstance(each, Mapping) else (None,):
                    yield code, chosen, tier, register


def _price(version: TariffVersion, example: Example) -> Priced:
    context = PricingContext(
        used=example.used,
        people=example.people,
        months=example.months,
        attributes=example.attributes,
    )
    usage = Usage(
        period=Period(example.starts, example.ends),
        quantities=example.use,
        intervals=example.intervals,
    )
    return price(version, usage=usage, context=context)


def _total(version: TariffVersion, priced: Priced) -> Decimal:
    return Decimal(priced.total_minor).scaleb(-currency_digits(version.currency))


def _bill(version: TariffVersion, number: int, example: Example) -> str:
    """Describe the bill that a version makes of an example, even an impossible version."""
    use = " + ".join(f"{quantity} {register}" for register, quantity in example.use.items())
    text = f"example bill {number} ({use} {version.unit}, {example.starts} to {example.ends})"
    try:
        made = f"{_total(version, _price(version, example))} {version.currency}"
    except (DomainError, ValueError, LookupError) as error:
        why = f": {_said(error)}" if isinstance(error, DomainError) else ""
        return f"{text} cannot be made{why}"
    agrees = made == f"{example.total} {version.currency}"
    return f"{text} would be {made}" + ("" if agrees else f", the file says {example.total}")


def _said(error: Exception) -> str:
    """Return what a file got refused for, in the words of this command."""
    if not isinstance(error, DomainError) or error.code not in _SAID:
        return str(error)
    return _SAID[error.code].format(**error.params)
