"""`shuidian bill`, `shuidian tariffs`, `shuidian check`: billing for those who run the service."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bot.import_commands import refuse

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.clock import Clock
    from bot.texts import Texts
    from core.accounts.models import Service
    from core.billing.proposals import RunView
    from core.billing.runs import Preview, RunState
    from core.db import Database

# Imports stand inside the commands, so that `--help` does not wait for all of the service.
# ruff: noqa: PLC0415, T201

T = TypeVar("T")

bill_app = typer.Typer(help="Bills: run a month, look at one.", no_args_is_help=True)
tariffs_app = typer.Typer(help="Tariff files: check and load.", no_args_is_help=True)

Month = Annotated[str, typer.Option(help="The month to bill, such as 2026-10.")]
ServiceName = Annotated[str, typer.Option(help="water or electricity.")]


def _use(work: "Callable[[Database, Clock], Awaitable[T]]") -> T:
    from bot.cli import prepared, use

    with prepared() as settings:
        return asyncio.run(use(settings, work))


def _in_transaction(work: "Callable[[AsyncSession, datetime], Awaitable[T]]") -> T:
    async def run(database: "Database", clock: "Clock") -> T:
        async with database.transaction() as session:
            return await work(session, clock.now())

    return _use(run)


@bill_app.command("run")
def run_bills(
    service: ServiceName,
    period: Month,
    dry_run: Annotated[  # noqa: FBT002 (an option of the command line)
        bool, typer.Option("--dry-run", help="Show what would be issued; write nothing.")
    ] = False,
    yes: Annotated[  # noqa: FBT002 (the same)
        bool, typer.Option("--yes", help="Approve without being asked.")
    ] = False,
) -> None:
    """Issue the bills of a month; running it again, or twice at once, issues what is missing."""
    from bot.cli import find_words
    from core.accounts.models import Service
    from core.billing import runs
    from core.periods import month_of

    try:
        year, month = map(int, period.split("-"))
        wanted, chosen = month_of(date(year, month, 1)), Service(service)
    except ValueError:
        raise typer.BadParameter("give --service water --period 2026-10") from None

    async def preview(database: "Database", clock: "Clock") -> None:
        async with database.transaction() as session:
            found = await runs.preview_run(session, service=chosen, period=wanted, now=clock.now())
        _print_preview(found, await find_words(database), service=chosen)

    async def start(session: "AsyncSession", now: datetime) -> "RunState":
        run_id = await runs.start_run(session, service=chosen, period=wanted, now=now)
        return await runs.get_run(session, run_id=run_id)

    if dry_run:
        _use(preview)
        return
    run = _in_transaction(start).run
    if run.approved_at is None:
        if not yes:
            _use(preview)
            typer.confirm("Issue these bills?", abort=True)
        _in_transaction(
            lambda session, now: runs.approve_run(session, run_id=run.id, actor_id=None, now=now)
        )
    _use(partial(_issue, run_id=run.id))


async def _issue(database: "Database", clock: "Clock", *, run_id: int) -> None:
    """Issue the chunks that nobody else has, and show how far all are, until none is left."""
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from bot.cli import find_words
    from core.billing import chunks, proposals

    async with database.transaction() as session:
        waiting = await chunks.plan_chunks(session, run_id=run_id, now=clock.now())
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("bills", total=None)
        while waiting:
            for nr in waiting:
                async with database.transaction() as session:
                    issued = await chunks.issue_chunk(
                        session, run_id=run_id, nr=nr, now=clock.now()
                    )
                    done = (await proposals.get_run(session, run_id=run_id)).progress
                progress.update(bar, completed=done.done, total=done.planned)
            async with database.transaction() as session:
                waiting = await chunks.list_waiting(session, run_id=run_id)
            if waiting and issued is None:
                await asyncio.sleep(1)  # another worker has them
    async with database.transaction() as session:
        view = await proposals.get_run(session, run_id=run_id)
    _print_run(view, await find_words(database))


def _print_preview(found: "Preview", texts: "Texts", *, service: "Service") -> None:
    from bot.handlers.runs import preview_facts, strange_line

    _print_facts(preview_facts(texts, found, service=service))
    if found.strangest:
        print(f"\n{texts.plain('run.strangest')}")
    for strange in found.strangest:
        print(f"  {strange_line(texts, strange, service=service)}")


def _print_run(view: "RunView", texts: "Texts") -> None:
    from bot.handlers.runs import run_facts, run_title

    print(f"\n{run_title(texts, view)}")
    _print_facts(run_facts(texts, view))


def _print_facts(facts: Iterable[tuple[str, str]]) -> None:
    for label, value in facts:
        print(f"{label}: {value}")


@bill_app.command("show")
def show_bill(number: Annotated[str, typer.Argument(help="Such as W1001.")]) -> None:
    """Print a bill with its lines."""
    from core.billing import queries
    from core.money import Money

    view = _in_transaction(
        lambda session, _: queries.get_bill(session, number=number.upper(), person_id=None)
    )
    bill, party = view.bill, view.party
    print(f"{bill.number}  {bill.state}  account {party.account_number}, {party.address}")
    print(f"{bill.starts_date} to {bill.ends_date}, {bill.consumption} used")
    for span in view.spans:
        print(f"  meter {span.serial}: {span.opening.value} -> {span.closing.value}")
    for line in view.lines:
        name = view.labels.get(line.component, {}).get("en", line.kind)
        print(f"  {name:30} {line.tier or '':>2} {line.quantity} x {line.price} = {line.amount}")
    for words, minor in (("total", bill.total_minor), ("left to pay", view.left_minor)):
        print(f"{words:12} {Money(minor, bill.currency).amount} {bill.currency}")


@bill_app.command("recompute")
def recompute_bills(
    numbers: Annotated[list[str], typer.Argument(help="Such as W1001 E1001.")],
) -> None:
    """Compute bills again from what was kept with them; print where they differ."""
    from core.billing import recomputing

    found = _in_transaction(
        lambda session, _: recomputing.list_differences(
            session, numbers=[number.upper() for number in numbers]
        )
    )
    for each in found:
        print(recomputing.difference_line(each))
    if found:
        raise typer.Exit(1)
    print(f"{len(numbers)} recomputed: equal")


TariffFiles = Annotated[
    list[str] | None,
    typer.Argument(help="Files, or codes of shipped ones. Empty: those shipped."),
]


@tariffs_app.command("check")
def check_tariffs(files: TariffFiles = None) -> None:
    """Read tariff files and compute their example bills; say what is wrong."""
    from core.billing.tariff_files import TariffRefused, parse_tariff, require_named
    from core.billing.tariff_store import shipped_contents

    for name, content in (_contents(files) if files else shipped_contents()).items():
        try:
            require_named(parse_tariff(content, file=name), file=name)
        except TariffRefused as refusal:
            raise refuse(str(refusal)) from None
        print(f"{name}: good")


@tariffs_app.command("load")
def load_tariffs(files: TariffFiles = None) -> None:
    """
    Store tariff files; if none is named, those shipped in the operator's currency.

    What priced a bill never changes.
    """
    from core.accounts.service import get_operator
    from core.billing import tariff_store
    from core.billing.tariff_files import TariffRefused

    named = _contents(files) if files else None

    async def load(session: "AsyncSession", _: datetime) -> list[str]:
        contents = named
        if contents is None:
            currency = (await get_operator(session)).currency
            contents = tariff_store.shipped_contents(currency=currency)
        try:
            return await tariff_store.load_tariffs(session, contents=contents)
        except TariffRefused as refusal:  # whose reasons are written as the file is
            raise refuse(str(refusal)) from None

    print("\n".join(_in_transaction(load)) or "Nothing new.")


def _contents(names: list[str]) -> dict[str, bytes]:
    """Return the content of each file, or of the shipped file with this code."""
    from core.billing.tariff_store import shipped_contents

    shipped = shipped_contents()
    try:
        coded = {f"{name}.toml" for name in names} & shipped.keys()
        others = [Path(name) for name in names if f"{name}.toml" not in coded]
        return {name: shipped[name] for name in coded} | {p.name: p.read_bytes() for p in others}
    except OSError as error:
        raise refuse(f"{error.filename}: {error.strerror}") from None


def check() -> None:
    """Audit the books and compute a sample of bills again; print nothing when all is well."""
    from core.billing.recomputing import find_faults

    found = _in_transaction(lambda session, now: find_faults(session, now=now))
    for fault in found:
        print(fault)
    if found:
        raise typer.Exit(1)
