"""One cell of an imported table: text, a number, a day, or a moment, or why it is none. Pure."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import phonenumbers

from bot.tables import Cell
from bot.texts import clean_line

TEXT_LENGTH_MAX = 200
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?")
_PRICE = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,12})?")
_ATTRIBUTE = re.compile(r"\s*([a-z][a-z0-9_]{0,39})\s*=\s*([^=;\s][^=;]{0,39}?)\s*")
_MOMENT = re.compile(
    r"(?P<year>\d{4})(?P<mark>[-/.年])(?P<month>\d{1,2})[-/.月](?P<day>\d{1,2})日?"
    r"(?:[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?"
    r"\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)
_BITS = re.compile(r"([0-9]{1,2}) ?bits?")
_SIGNIFICANT = ".15g"  # digits that a workbook keeps of a number


class Wrong(Exception):
    """A cell does not hold what its column is for."""

    def __init__(self, code: str, **params: object) -> None:
        super().__init__(code)
        self.code = code
        self.params = params


class Place(NamedTuple):
    """Where the file comes from: its clock, and the country of its phone numbers."""

    zone: ZoneInfo
    country: str | None


def read_text(cell: Cell, _: Place) -> str:
    """Return a line of text; a whole number is taken as it is written."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    if isinstance(cell, bool) or not isinstance(cell, str | int):
        raise Wrong("import.not_text")
    return clean_line(str(cell), length_max=TEXT_LENGTH_MAX)


def read_name(cell: Cell, place: Place) -> str:
    """Return a number that names something; it has to be text, or it may have lost its zeros."""
    if not isinstance(cell, str):
        raise Wrong("import.zeros_may_be_lost")
    return read_reference(cell, place)


def read_reference(cell: Cell, place: Place) -> str:
    """Return a number that names what must be known; without its zeros it will not be found."""
    return unicodedata.normalize("NFKC", read_text(cell, place))


def read_phone(cell: Cell, place: Place) -> str:
    """Return a phone number as it is dialled from anywhere."""
    written = read_name(cell, place)
    try:
        number = phonenumbers.parse(written, place.country)
    except phonenumbers.NumberParseException:
        raise Wrong("import.not_a_phone", value=written) from None
    if not phonenumbers.is_possible_number(number):
        raise Wrong("import.not_a_phone", value=written)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def read_number(cell: Cell, _: Place) -> Decimal:
    """Return a number that is not negative; a comma in it could mean two things and is refused."""
    is_number = isinstance(cell, int | float) and not isinstance(cell, bool)
    written = format(cell, _SIGNIFICANT) if is_number else str(cell)
    written = unicodedata.normalize("NFKC", written).strip()
    if not _NUMBER.fullmatch(written):
        raise Wrong("import.not_a_number", value=written)
    if (number := Decimal(written)) < 0:
        raise Wrong("import.negative")
    return number


def read_price(cell: Cell, _: Place) -> Decimal:
    """Return a price, which may be negative."""
    written = unicodedata.normalize("NFKC", str(cell)).strip()
    if isinstance(cell, bool) or not _PRICE.fullmatch(written):
        raise Wrong("import.not_a_number", value=written)
    return Decimal(written)


def read_attributes(cell: Cell, place: Place) -> dict[str, str]:
    """Return what is written as `contract_kw=500; meter_size=15`."""
    told = {}
    for written in unicodedata.normalize("NFKC", read_text(cell, place)).strip("; ").split(";"):
        found = _ATTRIBUTE.fullmatch(written)
        if found is None or found[1] in told:
            raise Wrong("import.not_attributes", value=written)
        told[found[1]] = found[2]
    return told


def read_count(cell: Cell, place: Place) -> int:
    """Return a whole number, at least one."""
    number = read_number(cell, place)
    if number < 1 or number % 1:
        raise Wrong("import.not_whole", value=number)
    return int(number)


def read_digits(cell: Cell, place: Place) -> int:
    """Return a number of digits; one of bits, written as `24 bits`, is negative."""
    bits = _BITS.fullmatch(unicodedata.normalize("NFKC", str(cell)).strip().casefold())
    return -int(bits[1]) if bits else read_count(cell, place)


def read_day(cell: Cell, _: Place) -> date:
    """Return a day."""
    try:
        local = _read_local(cell)
    except Wrong:
        local = None
    if local is None or local.tzinfo is not None or local.time() != time.min:
        raise Wrong("import.not_a_day", value=str(cell))
    return local.date()


def read_moment(cell: Cell, place: Place) -> datetime:
    """Return a moment, by the place's clock if it names none; a day is its first moment."""
    local = _read_local(cell)
    if local.tzinfo is not None:
        return local.astimezone(UTC)
    moment = local.replace(tzinfo=place.zone).astimezone(UTC)
    if moment.astimezone(place.zone).replace(tzinfo=None) != local:  # the clocks went forward
        raise Wrong("import.not_a_moment", value=str(cell))
    return moment


def _read_local(cell: Cell) -> datetime:
    if isinstance(cell, datetime):
        return cell
    if isinstance(cell, date):
        return datetime.combine(cell, time.min)
    found = _MOMENT.fullmatch(unicodedata.normalize("NFKC", str(cell)).strip())
    if found is None:
        raise Wrong("import.not_a_moment", value=str(cell))
    parts = [int(found[name] or 0) for name in ("year", "month", "day", "hour", "minute", "second")]
    try:
        return datetime.fromisoformat(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*parts) + (found["zone"] or "")
        )
    except ValueError:
        raise Wrong("import.not_a_moment", value=str(cell)) from None


class Choice:
    """One of a few values, each under several names; other words stay as they are, or are wrong."""

    def __init__(self, names: Mapping[Any, str], *, is_open: bool = False) -> None:
        self._values = {
            name.casefold(): value for value, written in names.items() for name in written.split()
        }
        self._is_open = is_open

    def __call__(self, cell: Cell, place: Place) -> Any:  # noqa: ANN401 (any value)
        """Return the value that a cell means."""
        written = read_reference(int(cell) if isinstance(cell, bool) else cell, place)
        value = self._values.get(written.casefold())
        if value is None and not self._is_open:
            raise Wrong("import.not_one_of", value=written, names=", ".join(self._values))
        return written if value is None else value
