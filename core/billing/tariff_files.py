"""
Tariff files: reads the format of docs/tariffs.md and refuses what cannot be right.

The tables of a file are the dataclasses of `core.billing.tariff_model`, key by key. Every number
that money depends on is a TOML string, so nothing ever passes through binary fractions. The
example bills in a file are computed again each time it is read.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from core.billing.formulas import NUMBER, Formula, Number, parse_number
from core.billing.tariff_checks import Wrong, require_sound
from core.billing.tariff_model import Tariff
from core.errors import DomainError

_FORMAT: Final = 1
_CODE: Final = re.compile(r"[a-z0-9][a-z0-9_./-]{0,39}|[a-z]{2}_[A-Z]{2}")
_NAMES: Final = {
    dict: "table",
    list: "list",
    str: "text",
    int: "whole number",
    date: "date",
    datetime: "date and time without a zone",
}

T = TypeVar("T")


class TariffRefused(DomainError):
    """A tariff file is wrong, at this field, for this reason, and would make this bill."""

    code = "billing.tariff_refused"

    def __str__(self) -> str:
        bill = self.params["bill"]
        fault = f"{self.params['file']}: {self.params['field']} {self.params['reason']}"
        return fault if bill is None else f"{fault}; {bill or 'no bill can be made'}"


def shipped_tariffs() -> dict[str, Tariff]:
    """
    Return the tariffs that come with the program, by their codes.

    Raises:
        TariffRefused: one of them is wrong.
    """
    folder = files("core.billing") / "tariffs"
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".toml"))
    found = [read_tariff(folder / name) for name in names]
    return {tariff.code: tariff for tariff in found}


def read_tariff(file: Traversable) -> Tariff:
    """
    Return the tariff in a file, which is named for the tariff's code.

    Raises:
        TariffRefused: the file is wrong; `str()` says where, why, and which bill it would make.
    """
    tariff = parse_tariff(file.read_bytes(), file=file.name)
    require_named(tariff, file=file.name)
    return tariff


def require_named(tariff: Tariff, *, file: str) -> None:
    """
    Refuse a file that is not named for its tariff's code.

    Raises:
        TariffRefused: it is not.
    """
    if file != f"{tariff.code}.toml":
        raise TariffRefused(file=file, field="code", reason="must name the file", bill="")


def parse_tariff(content: bytes, *, file: str) -> Tariff:
    """
    Return the tariff written in a file's content; `file` is its name in refusals.

    Raises:
        TariffRefused: the content is wrong; `str()` says where, why, and which bill it would make.
    """
    try:
        tariff = _parse(content.decode())
    except Wrong as wrong:
        raise TariffRefused(
            file=file, field=wrong.field, reason=wrong.reason, bill=wrong.bill
        ) from wrong
    except ValueError as error:  # not UTF-8, or not TOML
        raise TariffRefused(file=file, field="text", reason=str(error), bill="") from error
    return tariff


def _parse(text: str) -> Tariff:
    top = tomllib.loads(text)
    if top.pop("format", None) != _FORMAT:
        raise Wrong("format", f"must be {_FORMAT}")
    tariff: Tariff = _read_record(Tariff, top, "")
    require_sound(tariff)
    return tariff


def _read(kind: Any, value: object, at: str) -> Any:  # noqa: ANN401, C901, PLR0911 (one line per type)
    """Read a TOML value as a type of the tariff model."""
    origin = get_origin(kind)
    if origin is UnionType:
        kinds = [each for each in get_args(kind) if each not in (NoneType, Formula)]
        tables = [each for each in kinds if get_origin(each) is Mapping or is_dataclass(each)]
        plain = [each for each in kinds if each not in tables] or tables
        if isinstance(value, dict) and tables:
            return _read(tables[0], value, at)
        return _read_number(value, at) if Formula in get_args(kind) else _read(plain[0], value, at)
    if isinstance(kind, type) and is_dataclass(kind):
        return _read_record(kind, _typed(dict, value, at), at)
    if origin is Mapping:
        table = _typed(dict, value, at)
        for key in table:
            if not _CODE.fullmatch(key):
                raise Wrong(f"{at}.{key}", "must be a code of a-z, 0-9, _ and -")
        return {key: _read(get_args(kind)[1], each, f"{at}.{key}") for key, each in table.items()}
    if origin in (tuple, frozenset):
        listed = enumerate(_typed(list, value, at), 1)
        return origin(_read(get_args(kind)[0], each, f"{at}[{n}]") for n, each in listed)
    if kind is Decimal:
        if not isinstance(value, str) or not NUMBER.fullmatch(value):
            raise Wrong(at, f'must be a number in quotes like "3.15", not {value!r}')
        return Decimal(value)
    if issubclass(kind, StrEnum):
        if value not in list(kind):
            raise Wrong(at, f"must be one of {', '.join(kind)}, not {value!r}")
        return kind(value)
    return _typed(kind, value, at)


def _read_number(value: object, at: str) -> Number:
    try:
        return parse_number(value if isinstance(value, str) else "")
    except ValueError:
        reason = 'must be a number in quotes like "3.15", or a formula, not'
        raise Wrong(at, f"{reason} {value!r}") from None


def _read_record(kind: type, table: dict[str, object], at: str) -> Any:  # noqa: ANN401 (any record)
    def path(key: str) -> str:
        return f"{at}.{key}" if at else key

    known = {each.name: each for each in fields(kind)}
    types = get_type_hints(kind)
    for key in table.keys() - known.keys():
        raise Wrong(path(key), "is not known")
    for name, each in known.items():
        optional = each.default is not MISSING or each.default_factory is not MISSING
        if name not in table and not optional:
            raise Wrong(path(name), "is missing")
    return kind(**{key: _read(types[key], value, path(key)) for key, value in table.items()})


def _typed(kind: type[T], value: object, at: str) -> T:
    if type(value) is not kind:  # isinstance would take true for 1 and a moment for a day
        raise Wrong(at, f"must be a {_NAMES[kind]}, not {value!r}")
    if isinstance(value, str) and not (value.strip() and value.isprintable()):
        raise Wrong(at, "must be one line of text")
    return value
