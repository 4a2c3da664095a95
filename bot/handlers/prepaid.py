"""Conversation: what is left of a prepaid balance, topping it up, and when to be told."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Fallback, Handle, Reader, Render, Turn
from bot.handlers.account import back_home, cancel_key
from bot.handlers.outlook_words import fold, words_of
from bot.handlers.payments import DESCRIPTION_MAX, TITLE_MAX
from bot.handlers.prepaid_words import (
    Known,
    describe_balance,
    emergency_words,
    lasts_words,
    step_words,
    used_up_words,
)
from bot.handlers.usage_pictures import heading, meter_key
from bot.outgoing import Button, Invoice, Keyboard, Outgoing, press, read_press
from bot.texts import Texts
from core.accounts import service as accounts
from core.accounts.service import Place
from core.billing import prepaid
from core.billing.burn import find_burn
from core.billing.invoices import NotPrepaid, top_up_payload
from core.billing.prepaid_rules import STEPS_PICKED_MAX, Mark
from core.errors import DomainError
from core.money import Money

PLACES_SHOWN = 6
TOP_UP_MAX_MINOR = 1_000_000
OFFERED = 3


class AmountNotPossible(DomainError):
    """A top-up is more than nothing, and less than what nobody pays in a chat."""

    code = "prepaid.amount_not_possible"


async def _places(session: AsyncSession, person_id: int) -> Sequence[Place]:
    found = await accounts.list_places(session, person_id=person_id)
    return [place for place in found if place.is_prepaid][:PLACES_SHOWN]


async def _find_place(session: AsyncSession, person_id: int, agreement_id: int) -> Place | None:
    places = await _places(session, person_id)
    return next((place for place in places if place.agreement_id == agreement_id), None)


async def _get_place(turn: Turn, agreement_id: int) -> Place:
    place = await _find_place(turn.session, turn.person_id, agreement_id)
    if place is None:
        raise NotPrepaid
    return place


async def _known(session: AsyncSession, place: Place, asked: Turn | Reader) -> Known:
    ids = [place.agreement_id]
    balances = await prepaid.find_balances(session, agreement_ids=ids, now=asked.now)
    balance = balances[place.agreement_id]
    return Known(
        operator=await accounts.get_operator(session),
        balance=balance,
        burn=await find_burn(session, balance=balance, now=asked.now),
        now=asked.now,
    )


async def show_balance(turn: Turn) -> None:
    """Show what is left at each prepaid place, how long it lasts, and when people are told."""
    texts, parts, keys = turn.texts, [], []
    for place in await _places(turn.session, turn.person_id):
        known = await _known(turn.session, place, turn)
        steps = await prepaid.get_steps(turn.session, agreement_id=place.agreement_id)
        parts.append(describe_balance(texts, place, known, steps=steps))
        service = texts.plain(f"service.{place.service}")
        keys.append(
            [
                _top_up_key(texts, place, service),
                Button(
                    texts.plain("prepaid.steps_key", service=service),
                    press("steps", place.agreement_id),
                ),
            ]
        )
    statement = Button(texts.plain("bills.statement"), press("statement"))
    keys.append([statement, back_home(texts)])
    await turn.draw("\n\n".join(parts) or texts.get("prepaid.none"), keyboard=keys)


def _top_up_key(texts: Texts, place: Place, service: str) -> Button:
    label = texts.plain("prepaid.top_up_of", service=service)
    return Button(label, press("topup", place.agreement_id))


async def begin_top_up(turn: Turn) -> None:
    """Ask how much to top up, or ask for the payment when an amount follows the command."""
    await _top_up(turn, await _places(turn.session, turn.person_id), turn.said.arguments[:1])


async def _top_up(turn: Turn, places: Sequence[Place], typed: Sequence[str]) -> None:
    if not places:
        raise NotPrepaid
    if len(places) > 1:
        keys = [[meter_key(turn.texts, each, "topup", each.agreement_id)] for each in places]
        ids = [each.agreement_id for each in places]
        await turn.ask("topup.place", agreements=ids, typed="".join(typed))
        await turn.show("prepaid.which", keyboard=[*keys, [cancel_key(turn.texts)]])
    elif typed and typed[0]:
        await _ask_for(turn, places[0], typed[0])
    else:
        await _ask_amount(turn, places[0])


async def press_top_up(turn: Turn) -> None:
    """Take the place that was pressed, with the amount if one was typed before."""
    (agreement_id,) = read_press(turn.said.data, int)
    typed = turn.draft.get("typed", "") if turn.step == "topup.place" else ""
    await _top_up(turn, [await _get_place(turn, agreement_id)], [typed])


async def receive_place(turn: Turn) -> None:
    """Take the place whose position in the list was typed."""
    agreement_id = await turn.pick(turn.draft["agreements"])
    if agreement_id is not None:
        await _top_up(turn, [await _get_place(turn, agreement_id)], [turn.draft["typed"]])


async def _ask_amount(turn: Turn, place: Place) -> None:
    texts = turn.texts
    steps = sorted((await accounts.get_operator(turn.session)).prepaid_steps)[-OFFERED:]
    offered = [
        Button(texts.money(minor), press("topupby", place.agreement_id, minor)) for minor in steps
    ]
    await turn.ask("topup.amount", agreement_id=place.agreement_id)
    await turn.draw(
        texts.lines([heading(texts, place), texts.get("prepaid.ask_amount")]),
        keyboard=[offered, [cancel_key(texts)]],
    )


async def press_amount(turn: Turn) -> None:
    """Ask for the payment of the amount that was pressed."""
    agreement_id, minor = read_press(turn.said.data, int, int)
    await _send_invoice(turn, await _get_place(turn, agreement_id), minor)


async def receive_amount(turn: Turn) -> None:
    """Ask for the payment of the amount that was typed."""
    await _ask_for(turn, await _get_place(turn, turn.draft["agreement_id"]), turn.said.text)


async def _ask_for(turn: Turn, place: Place, typed: str) -> None:
    amount = Money.exactly(turn.texts.parse_quantity(typed), turn.texts.currency)
    await _send_invoice(turn, place, amount.minor)


async def _send_invoice(turn: Turn, place: Place, minor: int) -> None:
    if not 0 < minor <= TOP_UP_MAX_MINOR:
        raise AmountNotPossible(most=Money(TOP_UP_MAX_MINOR, turn.texts.currency))
    await turn.finish()
    await turn.send("prepaid.invoice", agreement_id=place.agreement_id, amount_minor=minor)


async def press_steps(turn: Turn) -> None:
    """Show the steps of the place that was pressed."""
    (agreement_id,) = read_press(turn.said.data, int)
    await _show_steps(turn, await _get_place(turn, agreement_id))


async def _show_steps(turn: Turn, place: Place) -> None:
    texts, operator = turn.texts, await accounts.get_operator(turn.session)
    picked = await prepaid.get_steps(turn.session, agreement_id=place.agreement_id)
    keys = [
        Button(
            texts.plain(
                "prepaid.step_on" if step in picked else "prepaid.step_off",
                amount=texts.money(step),
            ),
            press("step", place.agreement_id, step),
        )
        for step in operator.prepaid_steps
    ]
    rows: Keyboard = [keys[at : at + OFFERED] for at in range(0, len(keys), OFFERED)]
    await turn.ask("prepaid.steps", agreement_id=place.agreement_id)
    done = Button(texts.plain("prepaid.key"), press("go", "balance"))
    await turn.draw(
        texts.lines([heading(texts, place), texts.count("prepaid.ask_steps", STEPS_PICKED_MAX)]),
        keyboard=[*rows, [done]],
    )


async def press_step(turn: Turn) -> None:
    """Pick the step that was pressed, or give it up."""
    agreement_id, step = read_press(turn.said.data, int, int)
    place = await _get_place(turn, agreement_id)
    picked = set(await prepaid.get_steps(turn.session, agreement_id=agreement_id))
    await _pick(turn, place, picked ^ {step})
    await _show_steps(turn, place)


async def receive_steps(turn: Turn) -> None:
    """Pick the steps that were typed, instead of any before."""
    place = await _get_place(turn, turn.draft["agreement_id"])
    typed = [turn.texts.parse_quantity(word) for word in turn.said.text.split()]
    currency = turn.texts.currency
    picked = {Money.exactly(amount, currency).minor for amount in typed if amount}
    await _pick(turn, place, picked)
    await turn.finish()
    await show_balance(turn)


async def _pick(turn: Turn, place: Place, steps: set[int]) -> None:
    await prepaid.pick_steps(
        turn.session, person_id=turn.person_id, agreement_id=place.agreement_id, steps=steps
    )


async def take_question(turn: Turn) -> bool:
    """Answer a question about what is left; tell whether it was one."""
    typed = fold(turn.said.text)
    is_asked = any(word in typed for word in words_of(turn.texts, "prepaid.words"))
    if not is_asked or not await _places(turn.session, turn.person_id):
        return False
    await show_balance(turn)
    return True


async def render_low(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return that a balance fell to a step, to nothing or below, unless it rose meanwhile."""
    texts, at_minor = reader.texts, params["at_minor"]
    place = await _find_place(session, reader.person_id, params["agreement_id"])
    if place is None:
        return None
    known = await _known(session, place, reader)
    left = known.balance.minor
    if left is None or left > at_minor:
        return None
    shown = {"left": texts.money(left), "at": texts.money(at_minor)}
    lines = [heading(texts, place), texts.get(f"prepaid.low_{params['mark']}", **shown)]
    if params["mark"] == Mark.ZERO:
        lines.append(emergency_words(texts, known))
    elif params["mark"] == Mark.USED_UP:
        lines.append(used_up_words(texts, known))
    lines += [
        *lasts_words(texts, known),
        texts.get("prepaid.how", account=place.account_number),
    ]
    service = texts.plain(f"service.{place.service}")
    balance = Button(texts.plain("prepaid.key"), press("go", "balance"))
    return Outgoing(
        text=texts.lines(lines), keyboard=[[_top_up_key(texts, place, service)], [balance]]
    )


async def render_switched(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return that a place is paid ahead from now on, or after its bills again."""
    texts = reader.texts
    places = await accounts.list_places(session, person_id=reader.person_id)
    place = next((each for each in places if each.agreement_id == params["agreement_id"]), None)
    if place is None or place.is_prepaid is not params["to_prepaid"]:
        return None
    key = "prepaid.switched_on" if place.is_prepaid else "prepaid.switched_off"
    screen = "balance" if place.is_prepaid else "bills"
    label = texts.plain("prepaid.key" if place.is_prepaid else "bill.mine")
    operator = await accounts.get_operator(session)
    steps = step_words(texts, operator.prepaid_steps)
    return Outgoing(
        text=texts.lines([heading(texts, place), texts.get(key, steps=steps)]),
        keyboard=[[Button(label, press("go", screen))]],
    )


async def render_invoice(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the invoice of a top-up; its text says how else to pay."""
    texts, amount = reader.texts, params["amount_minor"]
    place = await _find_place(session, reader.person_id, params["agreement_id"])
    if place is None:
        return None
    operator = await accounts.get_operator(session)
    service = texts.plain(f"service.{place.service}")
    title = texts.plain("prepaid.title", service=service)[:TITLE_MAX]
    return Outgoing(
        text=texts.get(
            "pay.elsewhere",
            title=title,
            amount=texts.money(amount),
            account=place.account_number,
            hotline=operator.hotline,
        ),
        invoice=Invoice(
            title=title,
            description=place.address[:DESCRIPTION_MAX],
            payload=top_up_payload(agreement_id=place.agreement_id, amount_minor=amount),
            currency=texts.currency,
            prices=[(title, amount)],
        ),
    )


COMMANDS: dict[str, Command] = {
    "balance": Command(run=show_balance, customers_only=True),
    "topup": Command(run=begin_top_up, customers_only=True, in_menu=False),
}
PRESSES: dict[str, Handle] = {
    "topup": press_top_up,
    "topupby": press_amount,
    "steps": press_steps,
    "step": press_step,
}
STEPS: dict[str, Handle] = {
    "topup.place": receive_place,
    "topup.amount": receive_amount,
    "prepaid.steps": receive_steps,
}
RENDERERS: dict[str, Render] = {
    "prepaid.low": render_low,
    "prepaid.switched": render_switched,
    "prepaid.invoice": render_invoice,
}
FALLBACKS: tuple[Fallback, ...] = (take_question,)
