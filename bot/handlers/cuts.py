"""Conversation: managers approve or decline cuts, take them back, and see whom nobody reached."""

from bot.context import Command, Handle, Render, Turn
from bot.handlers.account import back_home, cancel_key
from bot.handlers.supply_words import card_keys, card_words, debtor_words, is_undone
from bot.outgoing import Button, press, read_press
from bot.texts import Markup, clean_line
from core.accounts.models import Role, Service
from core.billing import dunning
from core.billing.payments import find_target_by_account
from core.supply import queries, service
from core.supply.models import OrderState

REASON_LENGTH_MAX = 200
UNREACHED_SHOWN = 20


async def list_cuts(turn: Turn) -> None:
    """Show the cuts that wait for a decision or are under way, and how many nobody reached."""
    found = await queries.list_cuts(turn.session)
    keys = [
        [
            Button(
                turn.texts.plain(
                    "cut.row",
                    number=order.number,
                    service=turn.texts.plain(f"service.{order.service}"),
                    address=order.address,
                ),
                press("cut", order.number),
            )
        ]
        for order in found
    ]
    if await dunning.list_unreached(turn.session, now=turn.now):
        keys.append([Button(turn.texts.plain("cut.unreached_key"), press("cutlost", 0))])
    await turn.show(
        "cut.list_title" if found else "cut.list_empty",
        keyboard=[*keys, [back_home(turn.texts)]],
    )


async def press_order(turn: Turn) -> None:
    """Show the order that was pressed."""
    (number,) = read_press(turn.said.data, str)
    await show(turn, number)


async def show(turn: Turn, number: str, *, card: int | None = None) -> None:
    """Show an order to a manager, with its facts and what can be done; or draw a card anew."""
    turn.require(Role.MANAGER)
    order = await queries.get_order(turn.session, number=number)
    restore = await queries.find_restore(turn.session, cut=order)
    keys = [*card_keys(turn.texts, order, restore), [_to_list(turn)]]
    await turn.draw(card_words(turn.texts, order, restore), keyboard=keys, card=card)


def _to_list(turn: Turn) -> Button:
    return Button(turn.texts.plain("cut.to_list"), press("go", "cuts"))


async def press_approve(turn: Turn) -> None:
    """
    Ask for the end of the meter's serial number: nothing is cut by one slip of a finger.

    Against a danger the press is enough.
    """
    number, version = read_press(turn.said.data, str, int)
    await _ask_serial(turn, number, version)


async def _ask_serial(turn: Turn, number: str, version: int | None) -> None:
    turn.require(Role.MANAGER)
    order = await queries.get_order(turn.session, number=number)
    if order.danger is not None:
        await _approve(turn, number, version, None, card=_pressed(turn))
        return
    decision = await service.review(
        turn.session, number=number, version=version, person_id=turn.person_id, now=turn.now
    )
    if decision.refusals:
        await _refuse(turn, decision)
        return
    await turn.ask("cut.serial", number=number, version=version, card=_pressed(turn))
    await turn.say(
        "cut.ask_serial",
        keyboard=[[cancel_key(turn.texts)]],
        number=number,
        address=order.address,
        serial=order.meter_serial,
    )


async def type_approve(turn: Turn) -> None:
    """Approve the order whose number, and the end of whose meter's serial, follow the command."""
    match turn.said.arguments:
        case (number, typed, *_):
            await _approve(turn, number.upper(), None, typed)
        case (number,):
            await _ask_serial(turn, number.upper(), None)
        case _:
            await list_cuts(turn)


async def receive_serial(turn: Turn) -> None:
    """Approve the order with what was typed."""
    turn.expect("cut.serial")
    typed = clean_line(turn.said.text, length_max=20)
    draft = turn.draft
    await _approve(turn, draft["number"], draft["version"], typed, card=draft.get("card"))


def _pressed(turn: Turn) -> int | None:
    """Return the card whose button was pressed: it shows the decision later."""
    return turn.said.message_ref if turn.said.data else None


async def _approve(
    turn: Turn, number: str, version: int | None, typed: str | None, *, card: int | None = None
) -> None:
    turn.require(Role.MANAGER)
    decision = await service.approve(
        turn.session,
        number=number,
        version=version,
        serial_end=typed,
        person_id=turn.person_id,
        now=turn.now,
    )
    await turn.finish()
    if decision.refusals:
        await _refuse(turn, decision)
        return
    if card is not None:
        await show(turn, number, card=card)
    if typed is None:
        undo = Button(turn.texts.plain("cut.undo"), press("cutundo", number))
        await turn.say("cut.approved_protective", keyboard=[[undo]], number=number)
    else:
        await turn.say("cut.approved", number=number)


async def _refuse(turn: Turn, decision: service.Decision) -> None:
    why = [turn.texts.plain(f"cut.refusal_{refusal}") for refusal in decision.refusals]
    listed = Markup("\n".join(turn.texts.get("cut.refusal_line", why=line) for line in why))
    await turn.say("cut.refused", number=decision.number, reasons=listed)


async def press_decline(turn: Turn) -> None:
    """Ask why an order is declined."""
    number, version = read_press(turn.said.data, str, int)
    await _ask_reason(turn, number, version)


async def _ask_reason(turn: Turn, number: str, version: int | None) -> None:
    turn.require(Role.MANAGER)
    order = await queries.get_order(turn.session, number=number)
    await turn.ask("cut.reason", number=order.number, version=version, card=_pressed(turn))
    await turn.say("cut.ask_reason", keyboard=[[cancel_key(turn.texts)]], number=number)


async def type_decline(turn: Turn) -> None:
    """Decline the order whose number follows the command, for the reason after it."""
    if not turn.said.arguments:
        await list_cuts(turn)
        return
    number, *words = turn.said.arguments
    if words:
        await _decline(turn, number.upper(), None, " ".join(words))
    else:
        await _ask_reason(turn, number.upper(), None)


async def receive_reason(turn: Turn) -> None:
    """Decline the order for the reason that was typed."""
    turn.expect("cut.reason")
    draft = turn.draft
    await _decline(turn, draft["number"], draft["version"], turn.said.text, card=draft.get("card"))


async def _decline(
    turn: Turn, number: str, version: int | None, reason: str, *, card: int | None = None
) -> None:
    await service.decline(
        turn.session,
        number=number,
        version=version,
        reason=clean_line(reason, length_max=REASON_LENGTH_MAX),
        person_id=turn.person_id,
        now=turn.now,
    )
    await turn.finish()
    if card is not None:
        await show(turn, number, card=card)
    await turn.say("cut.declined", number=number)


async def press_undo(turn: Turn) -> None:
    """Take back the cut of the order that was pressed, once, and show where it stands."""
    (number,) = read_press(turn.said.data, str)
    turn.require(Role.MANAGER)
    order = await queries.get_order(turn.session, number=number)
    restore = await queries.find_restore(turn.session, cut=order)
    if order.state is not OrderState.CANCELLED and not is_undone(restore):
        await service.undo_cut(
            turn.session,
            service_point_id=order.service_point_id,
            person_id=turn.person_id,
            now=turn.now,
        )
    turn.toast("cut.undone", number=number)
    await show(turn, number)


async def type_restore(turn: Turn) -> None:
    """Take back the cut of an order, or of an account and a service, that follow the command."""
    match turn.said.arguments:
        case (number,):
            order = await queries.get_order(turn.session, number=number.upper())
            await _undo(turn, order.service_point_id)
        case (account, *words) if (kind := _read_service(turn, " ".join(words))) is not None:
            target = await find_target_by_account(
                turn.session, account_number=account, service=kind
            )
            await _undo(
                turn, await service.find_point(turn.session, agreement_id=target.agreement_id)
            )
        case _:
            await turn.say("cut.restore_usage")


def _read_service(turn: Turn, typed: str) -> Service | None:
    word = typed.casefold()
    for kind in Service:
        if word in {kind.value, turn.texts.plain(f"service.{kind}").casefold()}:
            return kind
    return None


async def _undo(turn: Turn, service_point_id: int) -> None:
    number = await service.undo_cut(
        turn.session, service_point_id=service_point_id, person_id=turn.person_id, now=turn.now
    )
    await turn.say("cut.undone", number=number)


async def list_unreached(turn: Turn) -> None:
    """Show the debtors whom no message reaches, to be called or visited, page by page."""
    turn.require(Role.MANAGER)
    (page,) = read_press(turn.said.data, int) if turn.said.data.startswith("cutlost:") else (0,)
    first = max(0, min(page, 10_000)) * UNREACHED_SHOWN
    found = await dunning.list_unreached(turn.session, now=turn.now)
    shown = found[first : first + UNREACHED_SHOWN]
    title = turn.texts.get("cut.unreached_empty")
    if found:
        title = turn.texts.count("dunning.unreached", dunning.count_households(found))
    pages = []
    if first > 0:
        pages.append(Button(turn.texts.plain("repair.page_before"), press("cutlost", page - 1)))
    if first + UNREACHED_SHOWN < len(found):
        pages.append(Button(turn.texts.plain("repair.page_after"), press("cutlost", page + 1)))
    lines = [debtor_words(turn.texts, debtor) for debtor in shown]
    keyboard = [*([pages] if pages else []), [_to_list(turn)]]
    await turn.draw("\n\n".join([title, *lines]), keyboard=keyboard)


_MANAGERS = frozenset({Role.MANAGER})
COMMANDS: dict[str, Command] = {
    "cuts": Command(run=list_cuts, roles=_MANAGERS),
    "approve": Command(run=type_approve, roles=_MANAGERS, in_menu=False),
    "decline": Command(run=type_decline, roles=_MANAGERS, in_menu=False),
    "restore": Command(run=type_restore, roles=_MANAGERS, in_menu=False),
    "unreached": Command(run=list_unreached, roles=_MANAGERS, in_menu=False),
}
PRESSES: dict[str, Handle] = {
    "cut": press_order,
    "cutyes": press_approve,
    "cutno": press_decline,
    "cutundo": press_undo,
    "cutlost": list_unreached,
}
STEPS: dict[str, Handle] = {"cut.serial": receive_serial, "cut.reason": receive_reason}
RENDERERS: dict[str, Render] = {}
