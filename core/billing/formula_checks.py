"""Which names the formulas of a tariff may use, and where. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from core.billing.formulas import NAME, Formula
from core.billing.tariff_model import Lookup, TariffVersion
from core.billing.tariffs import is_by_interval
from core.billing.terms import BILL_NAMES, INTERVAL_NAMES


def problems_of_names(version: TariffVersion) -> Iterator[tuple[str, str]]:
    """Yield where a formula uses a name that means nothing there."""
    known = {*BILL_NAMES, *version.attributes}
    for name, value in version.values.items():
        if isinstance(value, Lookup) and value.by not in version.attributes:
            yield f"values.{name}.by", "must name an attribute"
        yield from _unknown(value, f"values.{name}", known)
        known.add(name)
    for name in [*version.attributes, *version.values]:
        if not NAME.fullmatch(name) or [*version.values, *version.attributes].count(name) > 1:
            yield name, "must be a name of a-z, 0-9 and _, given once"
        if name in BILL_NAMES | INTERVAL_NAMES:
            yield name, "is the name of something else in every formula"
    for code, component in version.components.items():
        field, prices = f"components.{code}.prices", component.prices
        tables = list(prices.values()) if isinstance(prices, Mapping) else [prices]
        if any(len(table) and is_by_interval(table) for table in tables):
            if component.tiers is not None:
                yield field, "cannot follow the market or the hour and have tiers"
            of_market = set() if version.series else {"market"}  # nobody knows whose
            yield from _unknown(prices, field, known | INTERVAL_NAMES - of_market)
        else:
            yield from _unknown(prices, field, known)
    for field in ("tiers", "fixed", "minimum", "taxes"):
        yield from _unknown(getattr(version, field), field, known)


def _unknown(value: object, at: str, known: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the formulas in a part of a tariff that use a name that is not known."""
    if isinstance(value, Formula):
        for name in sorted(value.names - known):
            yield at, f"uses {name!r}, which is no name that is known there"
    elif is_dataclass(value):
        for each in fields(value):
            yield from _unknown(getattr(value, each.name), f"{at}.{each.name}", known)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _unknown(each, f"{at}.{name}", known)
    elif isinstance(value, tuple):
        for number, each in enumerate(value, 1):
            yield from _unknown(each, f"{at}[{number}]", known)
