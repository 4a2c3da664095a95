"""Conversation: managers see all open repairs, give them to technicians, and open the web page."""

from bot import repair_card
from bot.context import Command, Handle, Render, Turn
from bot.handlers.repairs import get_view, show_done, show_list, subject_of, take_step
from bot.outgoing import Button, press, read_press
from core.accounts.models import Role
from core.repairs import queries
from core.repairs.workflow import Act

PAGE = 6


async def list_open(turn: Turn) -> None:
    """Show the open repairs, the late ones first."""
    await _show_page(turn, 0)


async def press_page(turn: Turn) -> None:
    """Show another page of the open repairs."""
    (page,) = read_press(turn.said.data, int)
    turn.require(Role.MANAGER)
    await _show_page(turn, page)


async def _show_page(turn: Turn, page: int) -> None:
    page = max(0, min(page, 10_000))
    lines, total = await queries.list_open(
        turn.session, now=turn.now, limit=PAGE, offset=page * PAGE
    )
    more = []
    if page > 0:
        more.append(Button(turn.texts.plain("repair.page_before"), press("ropen", page - 1)))
    if (page + 1) * PAGE < total:
        more.append(Button(turn.texts.plain("repair.page_after"), press("ropen", page + 1)))
    await show_list(
        turn,
        lines,
        title="repair.open_title",
        empty="repair.open_empty",
        more=more,
        first=page * PAGE + 1,
        last=page * PAGE + len(lines),
        total=total,
    )


async def assign(turn: Turn) -> None:
    """Give a repair to the technician whose name follows its number, or ask to whom."""
    turn.require(Role.MANAGER)
    repair: int | str
    if turn.said.data:
        repair, _ = read_press(turn.said.data, int, int)
        typed = ""
    else:
        repair, typed = subject_of(turn)
    technicians = await queries.list_technicians(turn.session)
    matching = [
        person_id
        for person_id, name, _, _ in technicians
        if typed and name.casefold().startswith(typed.casefold())
    ]
    if len(matching) == 1:
        await show_done(turn, await take_step(turn, Act.ASSIGN, repair, technician_id=matching[0]))
        return
    view = await get_view(turn, repair)
    keys = [
        [
            Button(
                turn.texts.plain(
                    "repair.technician_line" if on_duty else "repair.technician_off_duty",
                    name=name,
                    jobs=jobs,
                ),
                press("rgive", view.id, view.version, person_id),
            )
        ]
        for person_id, name, on_duty, jobs in technicians
    ]
    keys.append([repair_card.back_to(turn.texts, view.id)])
    await turn.show("repair.ask_technician", keyboard=keys, number=view.number)


async def press_give(turn: Turn) -> None:
    """Give the repair to the technician of the button."""
    repair_id, version, technician_id = read_press(turn.said.data, int, int, int)
    done = await take_step(
        turn, Act.ASSIGN, repair_id, version=version, technician_id=technician_id
    )
    await show_done(turn, done)


async def open_office(turn: Turn) -> None:
    """Send a link that opens the web page once; it is made when it is sent and kept nowhere."""
    await turn.send("office.link")


_MANAGERS = frozenset({Role.MANAGER})
COMMANDS: dict[str, Command] = {
    "open": Command(run=list_open, roles=_MANAGERS),
    "assign": Command(run=assign, roles=_MANAGERS, in_menu=False),
    "office": Command(run=open_office, roles=_MANAGERS),
}
PRESSES: dict[str, Handle] = {"ropen": press_page, "rassign": assign, "rgive": press_give}
STEPS: dict[str, Handle] = {}
RENDERERS: dict[str, Render] = {}
