"""Conversation: the bill so far and to come, what some use would cost, and budgets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Fallback, Handle, Reader, Render, Turn
from bot.handlers.account import back_home, cancel_key
from bot.handlers.outlook_words import (
    coming_tier_words,
    describe_outlook,
    describe_what_if,
    find_number,
    find_quantity,
    fold,
    words_of,
)
from bot.handlers.usage_pictures import heading, meter_key
from bot.outgoing import Button, Keyboard, Outgoing, press, read_press
from bot.texts import NotANumber, Texts
from core.accounts import service as accounts
from core.accounts.models import Service
from core.accounts.service import Place
from core.billing import budgets, running
from core.billing.budgets import Budget
from core.billing.early_warnings import warn_of_budgets
from core.billing.outlook import get_outlook
from core.errors import DomainError
from core.money import Money

PLACES_SHOWN = 6


class NoPlace(DomainError):
    """The person has no supply here, or none of this service."""

    code = "outlook.no_place"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question about one of several places: which buttons and which step answer it."""

    family: str
    step: str
    key: str


WHAT_IF = _Asked("whatif", "whatif.place", "whatif.which")
BUDGET = _Asked("budget", "budget.place", "budget.which")


async def _places(turn: Turn, kind: Service | None = None) -> Sequence[Place]:
    found = await accounts.list_places(turn.session, person_id=turn.person_id)
    found = [place for place in found if kind in {None, place.service}][:PLACES_SHOWN]
    if not found:
        raise NoPlace
    return found


async def show_outlook(turn: Turn) -> None:
    """Show what each running bill comes to so far and by its end."""
    places = await _places(turn)
    stops = [
        [_budget_key(turn.texts, place, budget)]
        for place in places
        for budget in await _budgets(turn, place)
    ]
    parts = [await _describe(turn, place) for place in places]
    keys = [
        [Button(turn.texts.plain("whatif.key"), press("go", "whatif"))],
        [Button(turn.texts.plain("budget.key"), press("go", "budget"))],
        *stops,
        [Button(turn.texts.plain("usage.key"), press("go", "usage")), back_home(turn.texts)],
    ]
    await turn.draw("\n\n".join(parts), keyboard=keys)


async def _describe(turn: Turn, place: Place) -> str:
    texts = turn.texts
    try:
        outlook = await get_outlook(turn.session, agreement_id=place.agreement_id, now=turn.now)
    except DomainError as refusal:
        values = {name: texts.value(value) for name, value in refusal.params.items()}
        return texts.lines([heading(texts, place), texts.get(refusal.code, **values)])
    lines = [describe_outlook(texts, place, outlook)]
    lines += [
        texts.get("budget.runs", limit=texts.money(budget.limit_minor, budget.currency))
        for budget in await _budgets(turn, place)
    ]
    return texts.lines(lines)


async def _budgets(turn: Turn, place: Place) -> Sequence[Budget]:
    return await budgets.list_budgets(
        turn.session, agreement_id=place.agreement_id, person_id=turn.person_id
    )


def _budget_key(texts: Texts, place: Place, budget: Budget) -> Button:
    label = texts.plain(
        "budget.key_stop",
        service=texts.plain(f"service.{place.service}"),
        limit=texts.money(budget.limit_minor, budget.currency),
    )
    return Button(label, press("budgetoff", budget.id))


async def begin_what_if(turn: Turn) -> None:
    """Ask for how much, or answer at once when a quantity follows the command."""
    await _what_if(turn, " ".join(turn.said.arguments))


async def _what_if(turn: Turn, typed: str) -> None:
    """Answer a quantity with or without its unit; the unit tells the service."""
    named = find_quantity(turn.texts, fold(typed))
    number = named[0] if named else find_number(fold(typed))
    if typed and not number:
        raise NotANumber(typed=typed[:40])
    if number:  # before anybody is asked for which place
        running.require_quantity(turn.texts.parse_quantity(number))
    places = await _places(turn, named[1] if named else None)
    if len(places) > 1:
        await _ask_place(turn, WHAT_IF, places, typed=number)
    else:
        await _answer_what_if(turn, places[0], number)


async def _ask_place(turn: Turn, asked: _Asked, places: Sequence[Place], *, typed: str) -> None:
    keys: Keyboard = [
        [meter_key(turn.texts, place, asked.family, place.agreement_id)] for place in places
    ]
    await turn.ask(asked.step, agreements=[each.agreement_id for each in places], typed=typed)
    await turn.show(asked.key, keyboard=[*keys, [cancel_key(turn.texts)]])


async def press_what_if(turn: Turn) -> None:
    """Take the place that was pressed, with the quantity if one was typed before."""
    (agreement_id,) = read_press(turn.said.data, int)
    typed = turn.draft.get("typed", "") if turn.step == WHAT_IF.step else ""
    await _answer_what_if(turn, await _place(turn, agreement_id), typed)


async def receive_what_if_place(turn: Turn) -> None:
    """Take the place whose position in the list was typed."""
    agreement_id = await turn.pick(turn.draft["agreements"])
    if agreement_id is not None:
        await _answer_what_if(turn, await _place(turn, agreement_id), turn.draft["typed"])


async def _place(turn: Turn, agreement_id: int) -> Place:
    return await budgets.get_place(
        turn.session, person_id=turn.person_id, agreement_id=agreement_id
    )


async def _answer_what_if(turn: Turn, place: Place, typed: str) -> None:
    if not typed:
        await turn.ask("whatif.quantity", agreement_id=place.agreement_id)
        unit = turn.texts.unit(place.service)
        await turn.show("whatif.ask", keyboard=[[cancel_key(turn.texts)]], unit=unit)
        return
    found = await running.what_if(
        turn.session,
        agreement_id=place.agreement_id,
        quantity=turn.texts.parse_quantity(typed),
        now=turn.now,
    )
    await turn.finish()
    again = Button(turn.texts.plain("whatif.key_again"), press("whatif", place.agreement_id))
    words = describe_what_if(turn.texts, place, found)
    await turn.draw(words, keyboard=[[again], *_home(turn)])


async def receive_quantity(turn: Turn) -> None:
    """Take the quantity that was typed."""
    named = find_quantity(turn.texts, fold(turn.said.text))
    typed = named[0] if named else turn.said.text
    await _answer_what_if(turn, await _place(turn, turn.draft["agreement_id"]), typed)


async def begin_budget(turn: Turn) -> None:
    """Ask above which amount somebody wants to be told, or take what follows the command."""
    typed = " ".join(turn.said.arguments)
    if fold(typed) in words_of(turn.texts, "budget.words_stop"):
        await _stop_all(turn)
    else:
        await _begin_budget(turn, typed)


async def _begin_budget(turn: Turn, typed: str) -> None:
    number = find_number(fold(typed))
    if typed and not number:
        raise NotANumber(typed=typed[:40])
    if number:
        turn.texts.parse_quantity(number)
    named = [
        service
        for service in Service
        if any(word in fold(typed) for word in words_of(turn.texts, f"budget.words_{service}"))
    ]
    places = await _places(turn, named[0] if len(named) == 1 else None)
    if len(places) > 1:
        await _ask_place(turn, BUDGET, places, typed=number)
    else:
        await _keep_budget(turn, places[0], number)


async def press_budget(turn: Turn) -> None:
    """Take the place that was pressed, with the amount if one was typed before."""
    (agreement_id,) = read_press(turn.said.data, int)
    typed = turn.draft.get("typed", "") if turn.step == BUDGET.step else ""
    await _keep_budget(turn, await _place(turn, agreement_id), typed)


async def receive_budget_place(turn: Turn) -> None:
    """Take the place whose position in the list was typed."""
    agreement_id = await turn.pick(turn.draft["agreements"])
    if agreement_id is not None:
        await _keep_budget(turn, await _place(turn, agreement_id), turn.draft["typed"])


async def _keep_budget(turn: Turn, place: Place, typed: str) -> None:
    texts = turn.texts
    if not typed:
        await turn.ask("budget.amount", agreement_id=place.agreement_id)
        await turn.show("budget.ask", keyboard=[[cancel_key(texts)]])
        return
    outlook = await get_outlook(turn.session, agreement_id=place.agreement_id, now=turn.now)
    budget = await budgets.set_budget(
        turn.session,
        person_id=turn.person_id,
        agreement_id=place.agreement_id,
        limit=Money.exactly(texts.parse_quantity(typed), outlook.running.currency),
        now=turn.now,
    )
    await turn.finish()
    words = [
        heading(texts, place),
        texts.get("budget.set", limit=texts.money(budget.limit_minor, budget.currency)),
    ]
    keys = [[_budget_key(texts, place, budget)], *_more(texts), [back_home(texts)]]
    await turn.draw(texts.lines(words), keyboard=keys)
    await warn_of_budgets(turn.session, outlook=outlook, now=turn.now, person_id=turn.person_id)


async def receive_amount(turn: Turn) -> None:
    """Take the amount that was typed, or the wish to stop."""
    typed = fold(turn.said.text)
    if typed in words_of(turn.texts, "budget.words_stop"):
        await _stop_all(turn)
        return
    place = await _place(turn, turn.draft["agreement_id"])
    await _keep_budget(turn, place, find_number(typed) or turn.said.text)


async def _stop_all(turn: Turn) -> None:
    stopped = [
        await budgets.stop_budget(
            turn.session, person_id=turn.person_id, budget_id=budget.id, now=turn.now
        )
        for place in await _places(turn)
        for budget in await _budgets(turn, place)
    ]
    await turn.finish()
    await turn.show("budget.stopped" if stopped else "budget.none", keyboard=_home(turn))


async def press_stop(turn: Turn) -> None:
    """Stop telling of the amount that was pressed."""
    (budget_id,) = read_press(turn.said.data, int)
    await budgets.stop_budget(
        turn.session, person_id=turn.person_id, budget_id=budget_id, now=turn.now
    )
    await turn.show("budget.stopped", keyboard=_home(turn))


def _home(turn: Turn) -> Keyboard:
    return [*_more(turn.texts), [back_home(turn.texts)]]


async def take_question(turn: Turn) -> bool:
    """Answer what was asked in a person's own words: a budget, a what-if, or the bill to come."""
    typed = fold(turn.said.text)
    if not typed or not turn.speaker.is_customer:
        return False

    def has(key: str) -> bool:
        return any(word in typed for word in words_of(turn.texts, key))

    if has("budget.word") and has("budget.words_stop"):
        await _stop_all(turn)
    elif has("budget.words_tell") and has("budget.words_over") and find_number(typed):
        await _begin_budget(turn, typed)
    elif find_quantity(turn.texts, typed) and has("whatif.words"):
        await _what_if(turn, typed)
    elif has("outlook.words"):
        await show_outlook(turn)
    else:
        return False
    return True


async def _find_place(session: AsyncSession, reader: Reader, agreement_id: int) -> Place | None:
    """Return where an agreement supplies the reader, while it does."""
    found = await accounts.list_places(session, person_id=reader.person_id)
    return next((place for place in found if place.agreement_id == agreement_id), None)


async def render_tier(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return that a tier comes near, or was reached."""
    texts = reader.texts
    place = await _find_place(session, reader, params["agreement_id"])
    if place is None:
        return None
    if "days" in params:
        said = coming_tier_words(texts, place.service, params)
    else:
        said = texts.get("outlook.tier_reached", tier=params["tier"])
    return Outgoing(text=texts.lines([heading(texts, place), said]), keyboard=_more(texts))


async def render_budget(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return that a budget is reached or going to be, unless it was stopped meanwhile."""
    texts = reader.texts
    budget = await budgets.find_budget(session, budget_id=params["budget_id"])
    if budget is None:
        return None
    place = await _find_place(session, reader, budget.agreement_id)
    if place is None:
        return None
    said = texts.get(
        f"budget.{params['which']}",
        limit=texts.money(budget.limit_minor, budget.currency),
        cost=texts.money(params["minor"], budget.currency),
    )
    keys = [*_more(texts), [_budget_key(texts, place, budget)]]
    return Outgoing(text=texts.lines([heading(texts, place), said]), keyboard=keys)


def _more(texts: Texts) -> list[list[Button]]:
    return [[Button(texts.plain("outlook.key"), press("go", "outlook"))]]


COMMANDS: dict[str, Command] = {
    "outlook": Command(run=show_outlook, customers_only=True),
    "whatif": Command(run=begin_what_if, customers_only=True),
    "budget": Command(run=begin_budget, customers_only=True),
}
PRESSES: dict[str, Handle] = {
    "whatif": press_what_if,
    "budget": press_budget,
    "budgetoff": press_stop,
}
STEPS: dict[str, Handle] = {
    WHAT_IF.step: receive_what_if_place,
    "whatif.quantity": receive_quantity,
    BUDGET.step: receive_budget_place,
    "budget.amount": receive_amount,
}
RENDERERS: dict[str, Render] = {"outlook.tier": render_tier, "outlook.budget": render_budget}
FALLBACKS: tuple[Fallback, ...] = (take_question,)
