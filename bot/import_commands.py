"""`shuidian import` and `shuidian limits`: first data, and what is normal."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from bot.clock import Clock
    from bot.imports import Imported
    from bot.texts import Texts
    from core.db import Database

# Imports stand inside the commands, so that `--help` does not wait for all of the service.
# ruff: noqa: PLC0415

import_app = typer.Typer(help="Files of accounts, meters and readings.", no_args_is_help=True)
limits_app = typer.Typer(help="What is normal: pressure, voltage.", no_args_is_help=True)

T = TypeVar("T")
File = Annotated[Path, typer.Argument(help="CSV or XLSX; docs/import.md tells its columns.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would happen; keep nothing.")]
Report = Annotated[Path | None, typer.Option(help="Where to write all faults, as CSV.")]

_SECONDS = {"s": 1, "m": 60, "h": 3600}


def refuse(words: str) -> typer.Exit:
    """Say why not, and return what ends the command."""
    typer.echo(words, err=True)
    return typer.Exit(1)


def shell_texts() -> "Texts":
    """Return the words in the language of the shell, where no database is asked."""
    from bot.settings import Settings, shell_language
    from bot.texts import Texts, locale_for

    settings = Settings()
    return Texts(
        locale_for(shell_language(), default=settings.locale),
        timezone=settings.timezone,
        currency=settings.currency,
    )


def _run(work: "Callable[[Database, datetime, Texts], Awaitable[T]]") -> T:
    """Do something with the database and the words for whoever runs the command."""
    from bot.cli import find_words, prepared, use

    async def run(database: "Database", clock: "Clock") -> T:
        return await work(database, clock.now(), await find_words(database))

    with prepared() as settings:
        return asyncio.run(use(settings, run))


def _import_table(kind: str, file: Path, *, is_dry_run: bool, report: Path | None) -> None:
    from bot.imports import import_file

    _import(partial(import_file, kind=kind), file, is_dry_run=is_dry_run, report=report)


def _import(
    store: "Callable[..., Awaitable[Imported]]",
    file: Path,
    *,
    is_dry_run: bool,
    report: Path | None,
) -> None:
    from bot.tables import write_table

    async def work(database: "Database", now: datetime, texts: "Texts") -> "tuple[Imported, Texts]":
        return await store(database, content=content, is_dry_run=is_dry_run, now=now), texts

    try:
        content = file.read_bytes()
        done, texts = _run(work)
        faults = list_faults(done, texts)
        if report is not None:
            header = [texts.plain(f"import.head_{name}") for name in ("row", "column", "why")]
            report.write_bytes(write_table([header, *faults]))
    except OSError as error:
        raise refuse(f"{error.filename}: {error.strerror}") from None
    for row, column, why in faults:
        key = "import.fault" if done.columns else "import.fault_in_file"
        typer.echo(texts.plain(key, row=row, column=column, why=why), err=True)
    if faults:
        raise refuse(texts.plain("import.refused", file=file.name, count=len(faults)))
    for key in ("new", "held") if done.outcome.held else ("new",):
        typer.echo(texts.plain(f"import.{key}", file=file.name, **asdict(done.outcome)))
    if is_dry_run:
        typer.echo(texts.plain("import.dry_run"))


def list_faults(done: "Imported", texts: "Texts") -> list[tuple[str, str, str]]:
    """Return the faults of a file for people: row, column as it is named there, and why."""
    return [
        (
            str(fault.position),
            done.columns.get(fault.field, fault.field),
            texts.plain(
                fault.code, **{name: texts.value(value) for name, value in fault.params.items()}
            ),
        )
        for fault in done.outcome.faults
    ]


@import_app.command("accounts")
def import_accounts(file: File, *, dry_run: DryRun = False, report: Report = None) -> None:
    """Store areas, homes, accounts and agreements: all of a file, or nothing."""
    _import_table("accounts", file, is_dry_run=dry_run, report=report)


@import_app.command("meters")
def import_meters(file: File, *, dry_run: DryRun = False, report: Report = None) -> None:
    """Store meters with their first readings: all of a file, or nothing."""
    _import_table("meters", file, is_dry_run=dry_run, report=report)


@import_app.command("readings")
def import_readings(file: File, *, dry_run: DryRun = False, report: Report = None) -> None:
    """Store readings; those that jump or go back wait for a person."""
    _import_table("readings", file, is_dry_run=dry_run, report=report)


@import_app.command("prices")
def import_prices(file: File, *, dry_run: DryRun = False, report: Report = None) -> None:
    """Store a market's prices by half hours or hours, for tariffs that follow them."""
    _import_table("prices", file, is_dry_run=dry_run, report=report)


@import_app.command("p1")
def import_p1(
    file: Annotated[Path, typer.Argument(help="DSMR P1 telegrams, one after the other.")],
    *,
    meter: Annotated[str, typer.Option(help="Only of this meter: its serial number.")] = "",
    total: Annotated[
        bool, typer.Option("--total", help="One register, the sum of those of the tariffs.")
    ] = False,
    dry_run: DryRun = False,
    report: Report = None,
) -> None:
    """Store the registers of P1 telegrams: all of a file, or nothing."""
    from bot.meter_files import import_telegrams

    store = partial(import_telegrams, meter=meter, is_total=total)
    _import(store, file, is_dry_run=dry_run, report=report)


@import_app.command("green-button")
def import_green_button(
    file: Annotated[Path, typer.Argument(help="Green Button: an ESPI file, XML.")],
    *,
    meter: Annotated[str, typer.Option(help="The serial number of the meter.")],
    start: Annotated[str, typer.Option(help="What it showed before the first interval.")] = "0",
    dry_run: DryRun = False,
    report: Report = None,
) -> None:
    """Store the use in a Green Button file as a register: all of a file, or nothing."""
    from bot import meter_files

    begin = _read_number("--start", start, example="1234.5") or Decimal(0)
    store = partial(meter_files.import_green_button, meter=meter, start=begin)
    _import(store, file, is_dry_run=dry_run, report=report)


@import_app.command("statement")
def import_statement(
    file: Annotated[Path, typer.Argument(help="CSV, XLSX or camt.053; see docs/payments.md.")],
    *,
    columns: Annotated[
        str, typer.Option(help="How the bank names columns: credit=Betrag, words=Zweck.")
    ] = "",
    dry_run: DryRun = False,
) -> None:
    """Take in what a bank says came: what is sure is paid, the rest waits for a person."""
    from bot import statements
    from bot.bank_files import read_map
    from bot.settings import Settings

    async def work(database: "Database", now: datetime, texts: "Texts") -> bool:
        posted = await statements.import_statement(
            database,
            content=content,
            columns=read_map(columns or Settings().bank_columns),
            is_dry_run=dry_run,
            now=now,
        )
        has_faults = bool(posted.imported.outcome.faults)
        for line in statements.describe(posted, texts):
            typer.echo(line, err=has_faults)
        return has_faults

    try:
        content = file.read_bytes()
    except OSError as error:
        raise refuse(f"{error.filename}: {error.strerror}") from None
    if _run(work):
        raise typer.Exit(1)


@limits_app.command("set")
def set_limit(
    *,
    quantity: Annotated[str, typer.Option(help="pressure (kPa), voltage (V) or silence (h).")],
    low: Annotated[str, typer.Option(help="The least that is normal.")] = "",
    high: Annotated[str, typer.Option(help="The most that is normal.")] = "",
    deadband: Annotated[str, typer.Option(help="How far back is back: 5, or 2% of low.")] = "2%",
    hold: Annotated[str, typer.Option(help="For how long it must last: 90s, 20m, 1h.")] = "20m",
    area: Annotated[str, typer.Option(help="Only there: Old Town/Linden Street/No. 1.")] = "",
    meter: Annotated[str, typer.Option(help="Only there: the serial of a meter.")] = "",
    class_: Annotated[str, typer.Option("--class", help="Only such customers: home.")] = "",
) -> None:
    """Say what is normal; what is said of the nearest place counts."""
    from core.accounts.areas import find_area_at
    from core.monitoring import ranges
    from core.monitoring.models import Limit, Meter, Quantity
    from core.monitoring.service import NoSuchMeter

    if quantity not in list(Quantity):
        raise refuse(f"--quantity: {', '.join(Quantity)}")
    if meter and (area or class_):
        raise refuse("--meter: --area, --class")
    bounds = [
        _read_number("--low", low, example="198.0"),
        _read_number("--high", high, example="235.4"),
    ]
    width = _read_number("--deadband", deadband.removesuffix("%"), example="2%") or Decimal(0)
    if deadband.endswith("%"):
        nominal = next((bound for bound in bounds if bound is not None), Decimal(0))
        width = (nominal * width / 100).quantize(Decimal("0.1"))
    lasting = re.fullmatch(r"([0-9]{1,6})([smh])", hold)
    if lasting is None:
        raise refuse(f"--hold: {hold}? 90s, 20m, 1h")

    async def work(database: "Database", now: datetime, _: "Texts") -> None:
        async with database.transaction() as session:
            meters = await ranges.find_meters(session, Meter.serial == meter)
            if meter and not meters:
                raise NoSuchMeter
            limit = Limit(
                quantity=Quantity(quantity),
                low=bounds[0],
                high=bounds[1],
                deadband=width,
                hold_seconds=int(lasting[1]) * _SECONDS[lasting[2]],
                area_id=await find_area_at(session, names=area.split("/")) if area else None,
                meter_id=meters[0].id if meter else None,
                customer_class=class_ or None,
            )
            await ranges.set_limit(session, limit, now=now)

    _run(work)
    list_limits()


def _read_number(option: str, written: str, *, example: str) -> Decimal | None:
    try:
        number = Decimal(written) if written else None
    except InvalidOperation:
        number = Decimal("NaN")
    if number is not None and not number.is_finite():
        words = shell_texts().plain(
            "cli.not_a_number", option=option, written=written, example=example
        )
        raise refuse(words)
    return number


@limits_app.command("list")
def list_limits() -> None:
    """List what is normal: quantity, bounds, deadband, seconds, and where."""
    from core.monitoring import ranges

    async def work(database: "Database", _: datetime, __: "Texts") -> None:
        async with database.transaction() as session:
            for limit, area, serial in await ranges.list_limits(session):
                where = " ".join(filter(None, (area, serial, limit.customer_class))) or "*"
                low, high = ("-" if bound is None else bound for bound in (limit.low, limit.high))
                typer.echo(
                    f"{limit.quantity:10} {low:>8} {high:>8} {limit.deadband:>6}"
                    f" {limit.hold_seconds:>6} s  {where}"
                )

    _run(work)
