"""Words: sentences from the catalogs, and numbers, money and dates as each language writes them."""

import re
import unicodedata
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import cache
from html import escape
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import (
    format_date,
    format_datetime,
    format_interval,
    format_skeleton,
    format_time,
    get_day_names,
)
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import (
    format_currency,
    format_decimal,
    format_percent,
    get_decimal_symbol,
    get_group_symbol,
)
from babel.support import Translations
from babel.units import format_unit

from core.errors import DomainError
from core.money import Money, currency_digits

CATALOGS = Path(__file__).parent.parent / "locales"
LOCALES = ("zh_CN", "zh_TW", "en", "ru")
QUANTITY_DIGITS_MAX = 12
QUANTITY_PLACES_MAX = 3
ECHO_MAX = 200  # of what somebody typed, in the refusal of it

_BY_LANGUAGE_CODE = {
    "zh": "zh_CN",
    "zh-hans": "zh_CN",
    "zh-cn": "zh_CN",
    "zh-sg": "zh_CN",
    "zh-hant": "zh_TW",
    "zh-tw": "zh_TW",
    "zh-hk": "zh_TW",
    "zh-mo": "zh_TW",
    "ru": "ru",
    "be": "ru",
    "kk": "ru",
    "ky": "ru",
}
_UNITS = {
    "water": "volume-cubic-meter",
    "electricity": "energy-kilowatt-hour",
    "pressure": "pressure-kilopascal",
    "voltage": "electric-volt",
    "silence": "duration-hour",
}
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}


class NotANumber(DomainError):
    """What was typed cannot be read as a quantity."""

    code = "input.not_a_number"


class TooManyPlaces(DomainError):
    """What was typed is finer than any register shows."""

    code = "input.too_many_places"


class TooLong(DomainError):
    """What was typed is longer than this field takes."""

    code = "input.too_long"


class Empty(DomainError):
    """Nothing readable was typed."""

    code = "input.empty"


class Markup(str):
    """Text that is HTML already; every other value is escaped before it enters a sentence."""

    __slots__ = ()


def locale_for(language_code: str | None, *, default: str) -> str:
    """Return the catalog for a language code of Telegram or a browser (`zh-hans`, `pt-BR`)."""
    if not language_code:
        return default
    code = language_code.lower().replace("_", "-")
    while code:
        if code in _BY_LANGUAGE_CODE:
            return _BY_LANGUAGE_CODE[code]
        code = code.rpartition("-")[0]
    return "en"


def clean_line(text: str, *, length_max: int) -> str:
    """
    Return what a person typed as one tidy line, without invisible characters.

    Raises:
        Empty: nothing is left.
        TooLong: more than `length_max` characters are left.
    """
    visible = "".join(
        " " if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character) not in _INVISIBLE
    )
    line = " ".join(visible.split())
    if not line:
        raise Empty
    if len(line) > length_max:
        raise TooLong(length=len(line), length_max=length_max)
    return line


@cache
def _catalog(locale: str) -> Translations:
    with (CATALOGS / locale / "LC_MESSAGES" / "messages.po").open("rb") as file:
        catalog = read_po(file, locale=locale)
    compiled = BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Translations(compiled)


class Texts:
    """One language: its sentences by key, and its way to write numbers, money and moments."""

    def __init__(self, locale: str, *, timezone: str, currency: str) -> None:
        self.locale = locale
        self.zone = ZoneInfo(timezone)
        self.currency = currency
        self._babel = Locale.parse(locale)
        self._catalog = _catalog(locale)

    def in_language(self, locale: str) -> "Texts":
        """Return the same operator's texts in another language."""
        return Texts(locale, timezone=str(self.zone), currency=self.currency)

    def get(self, key: str, /, **values: object) -> str:
        """Return the sentence for `key` as HTML; values are escaped unless they are `Markup`."""
        return self._fill(self._catalog.gettext(key), values)

    def count(self, key: str, number: int, /, **values: object) -> str:
        """Return the sentence for `key` in the plural form of `number`, which it can name."""
        sentence = self._catalog.ngettext(key, key, number)
        return self._fill(sentence, {"number": self.number(Decimal(number)), **values})

    def plain(self, key: str, /, **values: object) -> str:
        """Return the sentence for `key` as plain text: for buttons, toasts and documents."""
        return str(self._catalog.gettext(key)).format(**values)

    def knows(self, key: str) -> bool:
        """Tell whether the catalog has a sentence for `key`."""
        return bool(self._catalog.gettext(key) != key)

    @staticmethod
    def _fill(sentence: str, values: dict[str, object]) -> str:
        safe = {
            name: value if isinstance(value, Markup) else escape(str(value), quote=False)
            for name, value in values.items()
        }
        return sentence.format(**safe)

    def lines(self, parts: Iterable[str | None]) -> str:
        """Join the parts that are there, one a line."""
        return "\n".join(part for part in parts if part is not None)

    def number(self, value: Decimal, *, places_max: int = 3) -> str:
        """Return a number as this language writes it, with at most `places_max` decimals."""
        places = Decimal(1).scaleb(-places_max)
        rounded = value.quantize(places, rounding=ROUND_HALF_UP)
        return str(
            format_decimal(
                rounded,
                locale=self._babel,
                decimal_quantization=False,
                format=f"#,##0.{'#' * places_max}",
            )
        )

    def quantity(self, value: Decimal, unit: str, *, places_max: int = 3) -> str:
        """Return a quantity with its unit; `unit` is a service or a `Quantity`."""
        return str(
            format_unit(
                self.number(value, places_max=places_max),
                _UNITS[unit],
                "short",
                locale=self._babel,
            )
        )

    def percent(self, share: Decimal) -> str:
        """Return a share as a percentage with all its decimals."""
        return str(format_percent(share, locale=self._babel, decimal_quantization=False))

    def unit(self, unit: str) -> str:
        """Return the sign of a unit, named as for `quantity`."""
        return self.quantity(Decimal(0), unit).removeprefix("0").strip()

    def money(self, minor: int, currency: str | None = None) -> str:
        """Return an amount given in minor units, with its currency."""
        code = currency or self.currency
        amount = Decimal(minor).scaleb(-currency_digits(code))
        return str(format_currency(amount, code, locale=self._babel))

    def price(self, price: Decimal, currency: str | None = None) -> str:
        """Return a unit price with all its decimals and its currency."""
        code = currency or self.currency
        return str(format_currency(price, code, locale=self._babel, decimal_quantization=False))

    def day(self, value: date | datetime) -> str:
        """Return a date, for a moment the operator's local one."""
        if isinstance(value, datetime):
            value = value.astimezone(self.zone).date()
        return str(format_date(value, format="medium", locale=self._babel))

    def days(self, starts: date, ends: date) -> str:
        """Return the days from `starts` until before `ends`."""
        last = ends - timedelta(days=1)
        return str(format_interval(starts, last, skeleton="yMMMd", locale=self._babel))

    def weekday(self, day: date) -> str:
        """Return a day by its name in the week and its date."""
        return str(format_skeleton("MMMEd", day, locale=self._babel))

    def weekdays(self) -> list[set[str]]:
        """Return the names of each day of the week, from Monday, in small letters."""
        return [
            {
                str(get_day_names(width, form, self._babel)[day]).casefold().rstrip(".")
                for width in ("wide", "abbreviated")
                for form in ("format", "stand-alone")
            }
            for day in range(7)
        ]

    def month(self, day: date) -> str:
        """Return the short name of a month."""
        return str(format_date(day, "LLL", locale=self._babel))

    def time(self, moment: datetime) -> str:
        """Return the operator's local time of day."""
        return str(format_time(moment, format="short", tzinfo=self.zone, locale=self._babel))

    def moment(self, moment: datetime) -> str:
        """Return the operator's local date and time, without the year."""
        pattern = "MMMd" if self.locale.startswith("zh") else "d MMM"
        local = moment.astimezone(self.zone)
        day = format_datetime(local, "M月d日" if pattern == "MMMd" else pattern, locale=self._babel)
        return f"{day} {self.time(moment)}"

    def value(self, value: object) -> str:
        """Return a value of any kind as this language writes it, for the words of a refusal."""
        match value:
            case Money():
                return self.money(value.minor, value.currency)
            case Decimal():
                return self.number(value)
            case datetime():
                return f"{self.day(value)} {self.time(value)}"
            case date():
                return self.day(value)
        shown = str(value)
        return shown if len(shown) <= ECHO_MAX else f"{shown[:ECHO_MAX]}…"

    def parse_quantity(self, text: str) -> Decimal:
        """
        Return the number that was typed, in this language's or the plain form, full-width or not.

        Units:
            as the person meant it; never negative, at most three decimals.

        Raises:
            NotANumber: it is not a number, negative, or absurdly long.
            TooManyPlaces: it has more decimals.
        """
        typed = unicodedata.normalize("NFKC", text).strip()
        group = get_group_symbol(self._babel)
        if get_decimal_symbol(self._babel) == "," and "." not in typed:
            typed = typed.replace(",", ".")
        typed = re.sub(
            r"\s*(m3|m³|kwh|kw·h|立方米|立方公尺|吨|度|千瓦时|кВт·ч|м3|м³)$",
            "",
            typed,
            flags=re.IGNORECASE,
        )
        typed = re.sub(rf"(?<=\d)[{re.escape(group)}' ,](?=\d{{3}}(?:\D|$))", "", typed)
        if re.fullmatch(rf"[0-9]+\.[0-9]{{{QUANTITY_PLACES_MAX + 1},}}", typed):
            raise TooManyPlaces(most=QUANTITY_PLACES_MAX)
        places = rf"(\.[0-9]{{1,{QUANTITY_PLACES_MAX}}})?"
        if not re.fullmatch(rf"[0-9]{{1,{QUANTITY_DIGITS_MAX}}}{places}", typed):
            raise NotANumber(typed=text[:40])
        try:
            return Decimal(typed)
        except InvalidOperation:
            raise NotANumber(typed=text[:40]) from None
