"""`shuidian meters …`: which meter counts all that goes into an area."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

# Imports stand inside the commands, so that `--help` does not wait for all of the service.
# ruff: noqa: PLC0415

meters_app = typer.Typer(help="Meters: which of them is a master.", no_args_is_help=True)


@meters_app.callback()
def meters() -> None:
    """Meters: which of them is a master."""


@meters_app.command("master")
def set_master(
    serial: Annotated[str, typer.Argument(help="The meter's serial number.")],
    area: Annotated[
        str, typer.Option(help="What it feeds: Old Town/Linden Street/No. 1; empty: nothing.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=99, help="Percent that may get lost.")] = 10,
) -> None:
    """Say that a meter counts all that goes into an area; /loss shows what comes out nowhere."""
    from bot.cli import act
    from core.accounts.areas import find_area_at
    from core.monitoring.losses import set_master

    async def work(session: "AsyncSession", now: datetime) -> None:
        area_id = await find_area_at(session, names=area.split("/")) if area else None
        share = Decimal(limit) / 100
        await set_master(session, serial=serial, area_id=area_id, limit=share, now=now)

    act(work)
    typer.echo(f"{serial}: {area or '-'}")
