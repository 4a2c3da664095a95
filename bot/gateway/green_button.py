"""Green Button files (ESPI, XML): the use in each interval, as a register that counts up. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from bot.gateway.decode import EPOCH, Measured, Refusal
from bot.gateway.units import UNITS, What, convert
from core.monitoring.ingest import Reason

_ATOM: Final = "{http://www.w3.org/2005/Atom}"
_ESPI: Final = "{http://naesb.org/espi}"
# Source: ESPI 1.0 (NAESB REQ.21), UnitSymbolKind, AccumulationKind and FlowDirectionKind.
_UNITS: Final = {
    72: (What.ENERGY, "Wh"),
    42: (What.VOLUME, "m3"),
    119: (What.VOLUME, "ft3"),
    128: (What.VOLUME, "US gal"),
    134: (What.VOLUME, "l"),
}
_USE_IN_INTERVAL: Final = 4
_TO_THE_CUSTOMER: Final = 1
_POWER_MAX: Final = 12


class _Broken(Exception):
    """The file is not what it says it is."""


def read_green_button(
    raw: bytes, *, device: str, start: Decimal = Decimal(0)
) -> tuple[Measured, ...] | Refusal:
    """
    Return what a meter's register would show, from `start` before the first interval on.

    Units: as the file says for each reading; `start` in m³ or kWh.
    """
    try:
        feed = fromstring(raw)
        found = tuple(_registers(feed, device=device, start=start))
    except (ParseError, DefusedXmlException, _Broken, ValueError, OverflowError):
        return Refusal(Reason.BROKEN)
    return found or Refusal(Reason.NOTHING_MEASURED)


def _registers(feed: Element, *, device: str, start: Decimal) -> Iterator[Measured]:
    entries = feed.findall(f"{_ATOM}entry")
    types = {
        _link(entry, "self"): kind for entry in entries for kind in _inside(entry, "ReadingType")
    }
    for entry in entries:
        related = {link.get("href", "") for link in _links(entry, "related")}
        kinds = [types[href] for href in sorted(related & types.keys())]
        if not _inside(entry, "MeterReading") or not kinds or not _counts_use(kinds[0]):
            continue
        what, factor = _scale(kinds[0])
        used = dict(sorted(_intervals(entries, related)))
        sums = accumulate(used.values())
        ends = zip((end for _, end in used), sums, strict=True)
        for moment, total in [*((begin, 0) for begin, _ in list(used)[:1]), *ends]:
            value = start + convert(Decimal(total), factor=factor)
            yield Measured(device, (), what, "total", value, moment)


def _counts_use(kind: Element) -> bool:
    """Return whether these are uses of what we sell, not production, power or a register."""
    return (
        _whole(kind, "uom") in _UNITS
        and _whole(kind, "accumulationBehaviour", default=_USE_IN_INTERVAL) == _USE_IN_INTERVAL
        and _whole(kind, "flowDirection", default=_TO_THE_CUSTOMER) == _TO_THE_CUSTOMER
    )


def _scale(kind: Element) -> tuple[What, Fraction]:
    what, unit = _UNITS[_whole(kind, "uom")]
    power = _whole(kind, "powerOfTenMultiplier", default=0)
    if abs(power) > _POWER_MAX:
        raise _Broken
    return what, UNITS[what][unit] * Fraction(10) ** power


def _intervals(
    entries: list[Element], related: set[str]
) -> Iterator[tuple[tuple[datetime, datetime], int]]:
    """Yield start, end and use of each interval that belongs to a meter reading."""
    for entry in entries:
        if _link(entry, "up") not in related:
            continue
        for reading in entry.iter(f"{_ESPI}IntervalReading"):
            period = reading.find(f"{_ESPI}timePeriod")
            if period is None:
                raise _Broken
            begin = EPOCH + timedelta(seconds=_whole(period, "start"))
            end = begin + timedelta(seconds=_whole(period, "duration"))
            yield (begin.astimezone(UTC), end.astimezone(UTC)), _whole(reading, "value")


def _inside(entry: Element, name: str) -> list[Element]:
    return entry.findall(f"{_ATOM}content/{_ESPI}{name}")


def _links(entry: Element, rel: str) -> list[Element]:
    return [link for link in entry.findall(f"{_ATOM}link") if link.get("rel") == rel]


def _link(entry: Element, rel: str) -> str:
    return next((link.get("href", "") for link in _links(entry, rel)), "")


def _whole(element: Element, name: str, *, default: int | None = None) -> int:
    text = element.findtext(f"{_ESPI}{name}")
    if text is None and default is not None:
        return default
    if text is None:
        raise _Broken
    return int(text)
