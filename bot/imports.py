"""Files of accounts, meters, readings, prices: which columns they have, and into the database."""

import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from babel.core import get_global
from sqlalchemy.ext.asyncio import AsyncSession

from bot.cells import (
    Choice,
    Place,
    Wrong,
    read_attributes,
    read_count,
    read_day,
    read_digits,
    read_moment,
    read_name,
    read_number,
    read_phone,
    read_price,
    read_reference,
    read_text,
)
from bot.tables import Cell, read_table
from bot.texts import LOCALES
from core.accounts.imports import AccountRow, import_accounts
from core.accounts.models import AreaKind, Service
from core.accounts.service import get_operator
from core.billing.intervals import PriceRow, import_prices
from core.billing.tariff_store import list_codes
from core.db import Database
from core.errors import DomainError
from core.importing import Fault, Outcome
from core.monitoring.imports import MeterRow, import_meters, import_readings
from core.monitoring.ingest import NewReading
from core.monitoring.service import TOTAL

KINDS = ("accounts", "meters", "readings", "prices")
_LEVELS = (AreaKind.DISTRICT, AreaKind.STREET, AreaKind.BUILDING)
_SERVICE = Choice(
    {Service.WATER: "water 水 水务 供水", Service.ELECTRICITY: "electricity 电 電 供电"}
)
_YES_NO = Choice({True: "yes true 1 是 有", False: "no false 0 否 无 無"})
_CLASS = Choice({"home": "home 居民 居民用户 住宅"}, is_open=True)
_LANGUAGE = Choice({locale: f"{locale} {locale.replace('_', '-')}" for locale in LOCALES})


class ColumnsNotKnown(DomainError):
    """The first row names columns that are not known; a misspelt one cannot be overlooked."""

    code = "import.columns_not_known"


class ColumnsMissing(DomainError):
    """A column is missing that every file of this kind needs."""

    code = "import.columns_missing"


class ColumnTwice(DomainError):
    """Two columns are about the same."""

    code = "import.column_twice"


class Column(NamedTuple):
    """A column: its field, how its cells are read, its names in the first row of a file."""

    field: str
    read: Callable[[Cell, Place], Any]
    names: str
    is_needed: bool = True


def _optional(field: str, read: Callable[[Cell, Place], Any], names: str) -> Column:
    return Column(field, read, names, is_needed=False)


# All names of all columns; case, spaces, hyphens and underscores in them do not matter.
COLUMNS: Mapping[str, Sequence[Column]] = {
    "accounts": (
        Column("account", read_name, "account 户号 戶號 账号"),
        Column("service", _SERVICE, "service 服务 服務"),
        Column("holder", read_text, "holder 户名 戶名 户主 戶主"),
        _optional("phone", read_phone, "phone 电话 電話 手机 手機"),
        Column("address", read_text, "address 地址"),
        _optional("district", read_text, "district 小区 小區 片区 片區"),
        _optional("street", read_text, "street 街道"),
        _optional("building", read_text, "building 楼栋 樓棟 楼号"),
        _optional("branch", read_text, "branch riser feeder 立管 线路 線路"),
        _optional("people", read_count, "people 人口 人数 人數"),
        Column("tariff", read_reference, "tariff 价目 價目 电价 電價 水价 水價"),
        _optional("customer_class", _CLASS, "class 用户类别 用戶類別"),
        _optional("attributes", read_attributes, "attributes 计费参数 計費參數"),
        Column("starts", read_day, "starts 起始日期 开户日期 開戶日期"),
        _optional("prepaid", _YES_NO, "prepaid 预付费 預付費"),
        _optional("language", _LANGUAGE, "language 语言 語言"),
    ),
    "meters": (
        Column("account", read_reference, "account 户号 戶號 账号"),
        Column("service", _SERVICE, "service 服务 服務"),
        Column("serial", read_name, "serial meter 表号 表號"),
        Column("installed", read_day, "installed 安装日期 安裝日期"),
        Column("digits", read_digits, "digits 位数 位數"),
        _optional("initial", read_number, "initial 表底 初始读数 初始讀數 初始指數"),
        _optional("multiplier", read_number, "multiplier 倍率"),
        _optional("ceiling", read_number, "ceiling 上限 最大流量"),
        _optional("gateway", read_text, "gateway 网关 網關"),
        _optional("device", read_name, "device 设备号 設備號"),
        _optional("switchable", _YES_NO, "switchable 可通断 可通斷"),
    ),
    "readings": (
        Column("serial", read_reference, "serial meter 表号 表號"),
        _optional("register", read_reference, "register 费率 費率"),
        Column("taken_at", read_moment, "takenat time 抄表时间 抄表時間"),
        Column("value", read_number, "value reading 读数 讀數 示数 示數 指數"),
    ),
    "prices": (
        Column("series", read_reference, "series 价格序列 價格序列"),
        Column("starts", read_moment, "starts 起始时间 起始時間"),
        Column("price", read_price, "price 价格 價格"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a file; `columns` are the fields by the names that they have in it."""

    outcome: Outcome
    columns: Mapping[str, str]
    is_kept: bool


class _NotKept(Exception):
    """Leaves the transaction, so that nothing of it is kept."""


async def import_file(
    database: Database, *, kind: str, content: bytes, is_dry_run: bool, now: datetime
) -> Imported:
    """
    Store a file of a kind, all of it or nothing, and tell what it did or what is wrong with it.

    Raises:
        FileNotReadable, ColumnsNotKnown, ColumnsMissing, ColumnTwice: it is no such file.
    """
    table = read_table(content)
    columns = _find_columns(kind, table[0] if table else ())

    async def store(session: AsyncSession) -> Outcome:
        zone = (await get_operator(session)).timezone
        place = Place(ZoneInfo(zone), get_global("zone_territories").get(zone))
        faults: list[Fault] = []
        told = list(_read_rows(columns, table, place, faults))
        if kind == "accounts":
            rows = [AccountRow(**_with_place(row)) for row in told]
            tariffs = await list_codes(session)
            outcome = await import_accounts(session, rows, tariffs=tariffs, now=now)
        elif kind == "meters":
            outcome = await import_meters(session, [MeterRow(**row) for row in told], now=now)
        elif kind == "prices":
            outcome = await import_prices(session, [PriceRow(**row) for row in told])
        else:
            readings = [NewReading(**{"register": TOTAL, **row}) for row in told]
            outcome = await import_readings(session, readings, now=now)
        return replace(outcome, faults=[*faults, *outcome.faults])

    names = {column.field: str(table[0][n]).strip() for n, column in columns.items()}
    return await all_or_nothing(database, store, columns=names, is_dry_run=is_dry_run)


async def all_or_nothing(
    database: Database,
    store: Callable[[AsyncSession], Awaitable[Outcome]],
    *,
    columns: Mapping[str, str],
    is_dry_run: bool,
) -> Imported:
    """Store in one transaction what has no fault; of anything else, and of a dry run, nothing."""
    outcome = Outcome()
    with suppress(_NotKept):
        async with database.transaction() as session:
            outcome = await store(session)
            faults = sorted(outcome.faults, key=lambda fault: fault.position)
            outcome = replace(outcome, faults=faults)
            if faults or is_dry_run:
                raise _NotKept
    return Imported(outcome=outcome, columns=columns, is_kept=not (outcome.faults or is_dry_run))


def _find_columns(kind: str, header: Sequence[Cell]) -> dict[int, Column]:
    known = {name: column for column in COLUMNS[kind] for name in column.names.split()}
    written = {n: str(cell).strip() for n, cell in enumerate(header) if str(cell).strip()}
    strange = [name for name in written.values() if _plain(name) not in known]
    if strange:
        raise ColumnsNotKnown(names=", ".join(strange), known=", ".join(known))
    found = {n: known[_plain(name)] for n, name in written.items()}
    fields = [column.field for column in found.values()]
    twice = [name for n, name in written.items() if fields.count(found[n].field) > 1]
    if twice:
        raise ColumnTwice(names=", ".join(twice))
    missing = [each.names.split()[0] for each in COLUMNS[kind] if each.is_needed]
    missing = [each for each in missing if known[each] not in found.values()]
    if missing:
        raise ColumnsMissing(names=", ".join(missing))
    return found


def _plain(name: str) -> str:
    written = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in written if character.isalnum())


def _read_rows(
    columns: Mapping[int, Column],
    table: Sequence[Sequence[Cell]],
    place: Place,
    faults: list[Fault],
) -> Iterator[dict[str, Any]]:
    """Yield the fields of each row without a fault; what is empty has no field."""
    for position, cells in enumerate(table[1:], 2):
        if not any(_is_filled(cell) for cell in cells):
            continue
        row: dict[str, Any] = {"position": position}
        wrong: dict[str, Wrong | DomainError] = {}
        for n, column in columns.items():
            try:
                row |= _read_cell(column, cells[n] if n < len(cells) else "", place)
            except (Wrong, DomainError) as why:
                wrong[column.field] = why
        if any(_is_filled(cell) for n, cell in enumerate(cells) if n not in columns):
            wrong[""] = Wrong("import.outside_columns")
        faults += [Fault(position, field, why.code, why.params) for field, why in wrong.items()]
        if not wrong:
            yield row


def _read_cell(column: Column, cell: Cell, place: Place) -> dict[str, Any]:
    """Return a field with its value; an empty cell has none."""
    if _is_filled(cell):
        return {column.field: column.read(cell, place)}
    if column.is_needed:
        raise Wrong("import.missing")
    return {}


def _is_filled(cell: Cell) -> bool:
    return not isinstance(cell, str) or bool(cell.strip())


def _with_place(row: dict[str, Any]) -> dict[str, Any]:
    """Return an account's row with the names of its areas as one way."""
    way = tuple((level, row.pop(level)) for level in _LEVELS if level in row)
    return {**row, "place": way or None}
