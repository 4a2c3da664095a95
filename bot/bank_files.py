"""Bank statements: CSV as banks export it, and camt.053 (ISO 20022), as lines of money in. Pure."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element, ParseError
from zoneinfo import ZoneInfo

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from bot.cells import Place, Wrong, read_moment
from bot.tables import Cell, FileNotReadable, read_table
from core.billing.statements import BankLine
from core.errors import DomainError
from core.importing import Fault
from core.money import Money
from core.periods import start_of_day

HEADER_WITHIN: Final = 30  # banks write some lines about the account above the table
TEXT_LENGTH_MAX: Final = 500
# Names of columns; case, spaces and signs in them do not matter. Of words all columns are read.
COLUMNS: Final[Mapping[str, str]] = {
    "reference": "reference transactionid transactionreference 交易流水号 流水号 核心流水号 交易号",
    "date": "date bookingdate transactiondate 交易日期 交易时间 记账日期 入账日期",
    "credit": "credit moneyin 收入 收入金额 贷方金额 贷方发生额 转入金额",
    "debit": "debit moneyout 支出 支出金额 借方金额 借方发生额 转出金额",
    "amount": "amount 交易金额 金额 发生额",
    "side": "side creditdebit 借贷标志 借贷 收支",
    "currency": "currency 币种",
    "payer": "payer name counterparty 对方户名 对方名称 付款人 付款人名称",
    "words": "words remittance purpose description details 摘要 附言 用途 备注 交易附言",
}
_CREDIT: Final = frozenset({"c", "cr", "crdt", "credit", "in", "贷", "贷方", "收", "收入"})
_CURRENCIES: Final = {"人民币": "CNY", "人民币元": "CNY", "RMB": "CNY"}
_AMOUNT: Final = re.compile(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,15})(?:\.[0-9]{1,4})?")


class ColumnsNotFound(DomainError):
    """No row of the file names a day, an amount and what it is for."""

    code = "statement.columns_not_found"


class NotCamt(FileNotReadable):
    """The XML is not camt.053."""

    code = "statement.not_camt"


class Empty(FileNotReadable):
    """Nothing stands in the file."""

    code = "statement.empty"


class MapNotReadable(DomainError):
    """Columns are named as `field=name of the column`, separated by commas."""

    code = "statement.map_not_readable"


class _Entry(NamedTuple):
    """A line as it stands in a file; `amount` is less than zero for money that went out."""

    position: int
    reference: str
    amount: Decimal
    currency: str
    at: datetime
    payer: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a file says; `out` counts money that went out, which is no affair of ours."""

    lines: Sequence[BankLine]
    out: int
    faults: Sequence[Fault]


def read_map(written: str) -> dict[str, str]:
    """
    Return columns that an operator named, such as `credit=Betrag, words=Zweck`.

    Raises:
        MapNotReadable: a part has no `=`, or names no field of ours.
    """
    named = {}
    for part in filter(None, (part.strip() for part in written.split(","))):
        field, is_named, column = part.partition("=")
        if not is_named or field.strip() not in COLUMNS:
            raise MapNotReadable(part=part, fields=", ".join(COLUMNS))
        named[field.strip()] = _plain(column)
    return named


def read_statement(
    content: bytes, *, zone: ZoneInfo, currency: str, columns: Mapping[str, str]
) -> Statement:
    """
    Return what came in by a statement of any kind that we know.

    Raises:
        FileNotReadable: it is neither a table nor camt.053.
        ColumnsNotFound: a table without the columns that are needed.
    """
    faults: list[Fault] = []
    begins = content.lstrip(b"\xef\xbb\xbf \r\n\t")
    if not begins:
        raise Empty
    if begins.startswith(b"<"):
        entries = list(_read_camt(content, zone))
    else:
        entries = list(_read_csv(content, zone, currency, columns, faults))
    lines, twins = [], Counter[str]()
    for entry in entries:
        if entry.amount <= 0:
            continue
        twin = "|".join(map(str, entry[2:]))
        twins[twin] += 1
        made = hashlib.sha256(f"{twin}|{twins[twin]}".encode()).hexdigest()[:32]
        try:
            minor = Money.exactly(entry.amount, entry.currency).minor
        except DomainError as refusal:
            faults.append(Fault(entry.position, "amount", refusal.code, refusal.params))
            continue
        lines.append(
            BankLine(
                position=entry.position,
                reference=entry.reference or f"sha256:{made}",
                amount_minor=minor,
                currency=entry.currency,
                received_at=entry.at,
                payer=entry.payer,
                words=entry.words,
            )
        )
    out = sum(entry.amount <= 0 for entry in entries)
    return Statement(lines=lines, out=out, faults=faults)


def _read_csv(
    content: bytes,
    zone: ZoneInfo,
    currency: str,
    columns: Mapping[str, str],
    faults: list[Fault],
) -> Iterator[_Entry]:
    table = read_table(content)
    header, places = _find_header(table, columns)
    for position, cells in enumerate(table[header + 1 :], header + 2):
        told = {
            field: " ".join(filter(None, (_text(cells, place) for place in found)))
            for field, found in places.items()
        }
        if not told["date"] or not any(told.get(name) for name in ("credit", "amount", "debit")):
            continue  # an empty row, or the sum below the table
        try:
            amount = _read_amount(told)
            at = read_moment(_spaced(told["date"]), Place(zone, None))
        except Wrong as why:
            faults.append(Fault(position, "", why.code, why.params))
            continue
        written = told.get("currency", "").upper() or currency
        yield _Entry(
            position,
            told.get("reference", ""),
            amount,
            _CURRENCIES.get(written, written),
            at,
            told.get("payer", ""),
            told["words"],
        )


def _find_header(
    table: Sequence[Sequence[Cell]], columns: Mapping[str, str]
) -> tuple[int, dict[str, list[int]]]:
    """Return the row that names the columns, and where each field stands."""
    known = {name: field for field, names in COLUMNS.items() for name in names.split()}
    known = {name: field for name, field in known.items() if field not in columns}
    known |= {name: field for field, name in columns.items()}
    for row, cells in enumerate(table[:HEADER_WITHIN]):
        places: dict[str, list[int]] = {}
        for place, cell in enumerate(cells):
            field = known.get(_plain(str(cell)))
            if field == "words" or (field is not None and field not in places):
                places.setdefault(field, []).append(place)
        if {"date", "words"} <= places.keys() and {"credit", "amount"} & places.keys():
            return row, places
    raise ColumnsNotFound(names=", ".join(known))


def _plain(name: str) -> str:
    written = re.sub(r"\(.*?\)", "", unicodedata.normalize("NFKC", name)).casefold()
    return "".join(character for character in written if character.isalnum())


def _text(cells: Sequence[Cell], place: int) -> str:
    written = str(cells[place]) if place < len(cells) else ""
    return " ".join(unicodedata.normalize("NFKC", written).split())[:TEXT_LENGTH_MAX]


def _spaced(day: str) -> str:
    """Return a moment as people write it, also when a bank wrote 20261103 or 20261103 101530."""
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(?: ?(\d\d):?(\d\d):?(\d\d))?", day, re.ASCII)
    if found is None:
        return day
    time = "" if found[4] is None else f" {found[4]}:{found[5]}:{found[6]}"
    return f"{found[1]}-{found[2]}-{found[3]}{time}"


def _read_amount(told: Mapping[str, str]) -> Decimal:
    credit, debit = told.get("credit", ""), told.get("debit", "")
    if credit or debit:
        return _decimal(credit) or -abs(_decimal(debit))
    amount = _decimal(told.get("amount", ""))
    side = told.get("side", "").casefold()
    return -abs(amount) if side and side not in _CREDIT else amount


def _decimal(written: str) -> Decimal:
    if written in {"", "-", "--"}:
        return Decimal(0)
    if not _AMOUNT.fullmatch(written.removeprefix("¥")):
        raise Wrong("import.not_a_number", value=written)
    return Decimal(written.removeprefix("¥").replace(",", ""))


def _read_camt(content: bytes, zone: ZoneInfo) -> Iterator[_Entry]:
    """Yield the booked entries of camt.053, any version; those of a batch apart, if they add up."""
    try:
        root = fromstring(content)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise NotCamt(reason=str(error)) from error
    if root.find("{*}BkToCstmrStmt") is None:
        raise NotCamt(reason=root.tag.rpartition("}")[2])
    for position, entry in enumerate(root.iterfind("{*}BkToCstmrStmt/{*}Stmt/{*}Ntry"), 1):
        if _say(entry, "Sts/Cd", "Sts") != "BOOK":
            continue
        try:
            whole = _amount(entry, "Amt")
            at = _read_booked(_say(entry, "BookgDt/DtTm", "BookgDt/Dt"), zone)
            details = entry.findall("{*}NtryDtls/{*}TxDtls")
            amounts = [_amount(detail, "Amt", "AmtDtls/TxAmt/Amt") for detail in details]
        except (InvalidOperation, ValueError) as error:
            raise NotCamt(reason=f"Ntry {position}: {error}") from error
        if len(details) < 2 or sum(amounts) != whole:  # noqa: PLR2004 (a batch has two or more)
            details, amounts = [details[0] if len(details) == 1 else entry], [whole]
        reference, money = _say(entry, "AcctSvcrRef"), _find(entry, "Amt")
        currency = "" if money is None else money.get("Ccy", "")
        for number, (detail, amount) in enumerate(zip(details, amounts, strict=True), 1):
            several = f"{reference}/{number}" if reference and len(details) > 1 else reference
            yield _Entry(
                position,
                _say(detail, "Refs/AcctSvcrRef") or several or _say(detail, "Refs/TxId"),
                amount if _say(entry, "CdtDbtInd") == "CRDT" else -amount,
                currency,
                at,
                _say(detail, "RltdPties/Dbtr/Pty/Nm", "RltdPties/Dbtr/Nm"),
                _words(detail),
            )


def _amount(element: Element, *paths: str) -> Decimal:
    return Decimal(_say(element, *paths) or 0)


def _find(element: Element, *paths: str) -> Element | None:
    """Return the first element at one of these paths, in whatever version of the schema."""
    for path in paths:
        found = element.find("/".join(f"{{*}}{step}" for step in path.split("/")))
        if found is not None:
            return found
    return None


def _say(element: Element, *paths: str) -> str:
    found = _find(element, *paths)
    return "" if found is None else " ".join((found.text or "").split())


def _words(detail: Element) -> str:
    told = [
        *detail.iterfind("{*}RmtInf/{*}Ustrd"),
        *detail.iterfind("{*}RmtInf/{*}Strd/{*}CdtrRefInf/{*}Ref"),
        *detail.iterfind("{*}Refs/{*}EndToEndId"),
        *detail.iterfind("{*}AddtlNtryInf"),
    ]
    return " ".join(" ".join((each.text or "").split()) for each in told)[:TEXT_LENGTH_MAX]


def _read_booked(written: str, zone: ZoneInfo) -> datetime:
    if "T" not in written:
        return start_of_day(date.fromisoformat(written[:10]), zone=zone)
    moment = datetime.fromisoformat(written)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
