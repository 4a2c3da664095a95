"""Conversation: what gets lost between master meters and those behind them, for managers."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn
from bot.handlers.account import back_home
from bot.outgoing import Button, Outgoing, press
from bot.texts import Texts
from core.accounts.areas import get_area
from core.accounts.models import Role
from core.monitoring import losses
from core.monitoring.losses import AreaLoss

SHOWN = 20


async def show_losses(turn: Turn) -> None:
    """Show each area with a master meter: what went in, what came out, what is missing."""
    found = await losses.list_recent_losses(turn.session, now=turn.now)
    lines = [loss_line(turn.texts, each) for each in found[:SHOWN]]
    title = turn.texts.get("loss.title" if lines else "loss.none")
    await turn.draw("\n".join([title, *lines]), keyboard=[[back_home(turn.texts)]])


def loss_line(texts: Texts, found: AreaLoss) -> str:
    """Return the balance of an area in one line."""
    where = {
        "area": found.name,
        "service": texts.plain(f"service.{found.service}"),
        "days": texts.days(found.starts, found.ends),
    }
    balance = found.balance
    if balance is None:
        return texts.get("loss.unknown", **where)
    key = "loss.line_high" if losses.is_too_much(found) else "loss.line"
    if not balance.is_whole:
        key = "loss.line_part"
    if balance.loss < 0:
        key = "loss.line_below"
    return texts.get(
        key,
        **where,
        master=texts.quantity(balance.master, found.service),
        loss=texts.quantity(abs(balance.loss), found.service),
        share=texts.percent(balance.share),
        known=balance.known,
        count=balance.all,
    )


async def render_high(session: AsyncSession, reader: Reader, params: dict[str, Any]) -> Outgoing:
    """Return that an area loses too much."""
    texts = reader.texts
    words = texts.get(
        "loss.high",
        area=(await get_area(session, area_id=params["area_id"])).full_name,
        service=texts.plain(f"service.{params['service']}"),
        days=losses.DAYS_IN_A_ROW,
    )
    return Outgoing(text=words, keyboard=[[Button(texts.plain("loss.key"), press("go", "loss"))]])


COMMANDS: dict[str, Command] = {"loss": Command(run=show_losses, roles=frozenset({Role.MANAGER}))}
PRESSES: dict[str, Handle] = {}
STEPS: dict[str, Handle] = {}
RENDERERS: dict[str, Render] = {"loss.high": render_high}
