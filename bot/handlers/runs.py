"""Conversation: managers see what a billing run would do, approve it, and see what came of it."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot import billing_runs
from bot.context import Command, Handle, Reader, Render, Turn
from bot.handlers.account import back_home
from bot.outgoing import Button, Keyboard, Outgoing, press, read_press
from bot.texts import Texts
from core.accounts.models import Role, Service
from core.billing import proposals
from core.billing.proposals import RunView
from core.billing.runs import Preview, StrangeBill

SHOWN = 8
STRANGEST_SHOWN = 5
_UNREACHED = ("waiting", "unknown", "failed", "blocked", "nobody")


def run_title(texts: Texts, view: RunView) -> str:
    """Return which service and days a run bills."""
    run = view.run
    return texts.plain(
        "run.title",
        service=texts.plain(f"service.{run.service}"),
        days=texts.days(run.starts_date, run.ends_date),
    )


def run_state(view: RunView) -> str:
    """Return where a run stands, as the end of the key that says so."""
    if view.run.finished_at is not None:
        return "over"
    if view.run.approved_at is not None:
        return "running"
    return "preparing" if view.proposal is None else "waits"


def preview_facts(texts: Texts, found: Preview, *, service: Service) -> Iterator[tuple[str, str]]:
    """Yield the figures of what a run would do."""
    yield texts.plain("run.bills"), texts.value(found.bills)
    for currency, minor in found.totals_minor.items():
        yield texts.plain("run.total"), texts.money(minor, currency)
    yield texts.plain("run.use"), texts.quantity(found.consumption, service)
    yield texts.plain("run.held"), texts.value(found.held)
    for reason, count in found.skipped.items():
        yield texts.plain("run.without", why=why(texts, reason)), texts.value(count)


def run_facts(texts: Texts, view: RunView) -> Iterator[tuple[str, str]]:
    """Yield the figures of a run: what it would do, and once it is approved, what it did."""
    plain, run, done = texts.plain, view.run, view.progress
    if run.approved_at is None and view.proposal is not None:
        yield from preview_facts(texts, view.proposal, service=run.service)
    if run.approved_at is None:
        return
    moment = texts.moment(run.approved_at)
    by = plain("run.approved_by", name=view.approved_by, moment=moment)
    yield plain("run.approved"), by if view.approved_by else moment
    yield plain("run.done"), plain("run.of", part=done.done, whole=done.planned)
    yield plain("run.issued"), texts.value(done.issued)
    yield plain("run.total"), texts.money(done.total_minor)
    yield plain("run.held"), texts.value(done.held)
    for reason, count in view.skipped.items():
        yield plain("run.without", why=why(texts, reason)), texts.value(count)
    if run.reach is not None:
        sent, all_ = run.reach.get("sent", 0), sum(run.reach.values())
        yield plain("run.sent"), plain("run.of", part=sent, whole=all_)
        for outcome in _UNREACHED:
            if run.reach.get(outcome):
                yield plain(f"run.reach_{outcome}"), texts.value(run.reach[outcome])


def why(texts: Texts, reason: str) -> str:
    """Return in words why a bill is held, strange or not made."""
    name = reason.removeprefix("billing.")
    for key in (f"run.why_{name}", f"held.{name}"):
        if texts.knows(key):
            return texts.plain(key)
    return texts.plain("run.why_other")


def strange_line(texts: Texts, bill: StrangeBill, *, service: Service) -> str:
    """Return a bill that somebody should look at in one line."""
    parts = [bill.account_number, bill.address, why(texts, bill.reason)]
    if bill.consumption is not None:
        parts.append(texts.quantity(bill.consumption, service))
    if bill.total_minor is not None:
        parts.append(texts.money(bill.total_minor))
    return ", ".join(parts)


def _card(texts: Texts, view: RunView) -> tuple[str, Keyboard]:
    state = texts.plain(f"run.{run_state(view)}")
    lines = [texts.get("run.heading", title=run_title(texts, view), state=state)]
    lines += [
        texts.get("run.line", label=label, value=value) for label, value in run_facts(texts, view)
    ]
    keyboard = [[Button(texts.plain("run.to_list"), press("go", "runs"))]]
    if run_state(view) == "waits" and view.proposal is not None:
        if view.proposal.strangest:
            lines += ["", texts.get("run.strangest")]
        for bill in view.proposal.strangest[:STRANGEST_SHOWN]:
            line = strange_line(texts, bill, service=view.run.service)
            lines.append(texts.get("run.strange", bill=line))
        lines += ["", texts.get("run.how", number=view.run.id)]
        keyboard.insert(0, [Button(texts.plain("run.approve"), press("runyes", view.run.id))])
    return "\n".join(lines), keyboard


async def list_runs(turn: Turn) -> None:
    """Show the latest runs; one of them in full, if its number follows the command."""
    turn.require(Role.MANAGER)
    if turn.said.arguments and turn.said.arguments[0].isdecimal():
        await _show(turn, int(turn.said.arguments[0]))
        return
    texts = turn.texts
    keys = []
    for view in await proposals.list_runs(turn.session, limit=SHOWN):
        state = texts.plain(f"run.{run_state(view)}")
        label = texts.plain("run.row", title=run_title(texts, view), state=state)
        keys.append([Button(label, press("run", view.run.id))])
    title = "run.list_title" if keys else "run.list_empty"
    await turn.show(title, keyboard=[*keys, [back_home(texts)]])


async def press_run(turn: Turn) -> None:
    """Show the run that was pressed."""
    turn.require(Role.MANAGER)
    (run_id,) = read_press(turn.said.data, int)
    await _show(turn, run_id)


async def _show(turn: Turn, run_id: int) -> None:
    words, keyboard = _card(turn.texts, await proposals.get_run(turn.session, run_id=run_id))
    await turn.draw(words, keyboard=keyboard)


async def press_approve(turn: Turn) -> None:
    """Approve the run whose button was pressed."""
    (run_id,) = read_press(turn.said.data, int)
    await _approve(turn, run_id)


async def type_approve(turn: Turn) -> None:
    """Approve the run whose number follows the command."""
    if turn.said.arguments and turn.said.arguments[0].isdecimal():
        await _approve(turn, int(turn.said.arguments[0]))
    else:
        await list_runs(turn)


async def _approve(turn: Turn, run_id: int) -> None:
    turn.require(Role.MANAGER)
    await billing_runs.approve(turn.session, run_id=run_id, actor_id=turn.person_id, now=turn.now)
    await turn.say("run.approved_said")


async def render_card(session: AsyncSession, reader: Reader, params: dict[str, Any]) -> Outgoing:
    """Return a run as it stands."""
    words, keyboard = _card(reader.texts, await proposals.get_run(session, run_id=params["run"]))
    return Outgoing(text=words, keyboard=keyboard)


_MANAGERS = frozenset({Role.MANAGER})
COMMANDS: dict[str, Command] = {
    "runs": Command(run=list_runs, roles=_MANAGERS),
    "approverun": Command(run=type_approve, roles=_MANAGERS, in_menu=False),
}
PRESSES: dict[str, Handle] = {"run": press_run, "runyes": press_approve}
STEPS: dict[str, Handle] = {}
RENDERERS: dict[str, Render] = {"run.card": render_card, "run.reached": render_card}
