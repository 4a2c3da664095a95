"""Conversation: why is my supply off, what was cut and restored, and the messages about it."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn, WhichNumber
from bot.handlers import cuts
from bot.handlers.account import back_home
from bot.handlers.plan_words import pay_part_key
from bot.handlers.prepaid_words import missing_words
from bot.handlers.supply_words import (
    card_keys,
    card_words,
    danger_values,
    describe_answer,
    history_words,
    is_closed_for_burst,
    overdue_words,
    pay_key,
    place_words,
    reasons,
    restore_reason,
)
from bot.outgoing import Button, Outgoing, press, read_press
from bot.repair_card import mine_key
from core.accounts import service as accounts
from core.accounts.models import Role, Supply
from core.billing import dunning, queries
from core.billing.arrears import Arrears, find_arrears_of_bill
from core.billing.dunning_rules import POLICIES
from core.billing.prepaid import find_balances
from core.billing.prepaid_rules import least_top_up
from core.supply import queries as orders
from core.supply.answers import Why, why_is_my_supply_off
from core.supply.models import Reason
from core.supply.queries import OrderView

PLACES_MAX = 6


async def why(turn: Turn) -> None:
    """Say for each of a person's places why the supply is off, or that it is not."""
    operator = await accounts.get_operator(turn.session)
    places = await accounts.list_places(turn.session, person_id=turn.person_id)
    parts, keys = [], []
    for place in places[:PLACES_MAX]:
        answer = await why_is_my_supply_off(
            turn.session,
            person_id=turn.person_id,
            service_point_id=place.service_point_id,
            now=turn.now,
        )
        parts.append(describe_answer(turn.texts, answer, hotline=operator.hotline, now=turn.now))
        if answer.why in {Why.CREDIT_USED, Why.CREDIT_ORDERED}:
            ids = [place.agreement_id]
            found = await find_balances(turn.session, agreement_ids=ids, now=turn.now)
            missing = missing_words(turn.texts, operator, found[place.agreement_id])
            parts[-1] = turn.texts.lines([parts[-1], missing])
        if answer.plan is not None and (part := pay_part_key(turn.texts, answer.plan)):
            keys += part
        elif answer.arrears is not None:
            keys.append([pay_key(turn.texts, answer.arrears)])
        if answer.danger is not None and is_closed_for_burst(answer):
            keys.append([mine_key(turn.texts, answer.danger.source_id)])
        if answer.why in {Why.CREDIT_USED, Why.CREDIT_ORDERED}:
            top_up = turn.texts.plain("prepaid.top_up")
            keys.append([Button(top_up, press("topup", place.agreement_id))])
        label = turn.texts.plain(
            "supply.history_key", service=turn.texts.plain(f"service.{place.service}")
        )
        keys.append([Button(label, press("supplyhist", place.service_point_id))])
    report = Button(turn.texts.plain("supply.report"), press("go", "report"))
    again = Button(turn.texts.plain("supply.again"), press("go", "supply"))
    await turn.draw("\n\n".join(parts), keyboard=[*keys, [report, again], [back_home(turn.texts)]])


async def show_history(turn: Turn) -> None:
    """Show every cut and restoration at a place: why, how much, who, when."""
    (service_point_id,) = read_press(turn.said.data, int)
    place = await accounts.get_place_of(
        turn.session, person_id=turn.person_id, service_point_id=service_point_id
    )
    found = await orders.list_history(
        turn.session, service_point_id=service_point_id, person_id=turn.person_id
    )
    lines = [history_words(turn.texts, order) for order in found]
    title = place_words(turn.texts, service=place.service, address=place.address)
    none = turn.texts.get("supply.history_none")
    await turn.draw("\n\n".join([title, *(lines or [none])]), keyboard=[[_back(turn)]])


async def show_order(turn: Turn) -> None:
    """Show the order whose number was typed: to managers its card, to its people its story."""
    if not turn.said.arguments:
        raise WhichNumber(example="/order S1001")
    number = turn.said.arguments[0].upper()
    if Role.MANAGER in turn.speaker.roles:
        await cuts.show(turn, number)
        return
    order = await orders.get_order_of(turn.session, number=number, person_id=turn.person_id)
    await turn.draw(history_words(turn.texts, order), keyboard=[[_back(turn)]])


def _back(turn: Turn) -> Button:
    return Button(turn.texts.plain("supply.back"), press("go", "supply"))


async def _debt(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> tuple[Arrears, dict[str, object]] | None:
    """Return what a message of the ladder says, or nothing once it is no longer true."""
    arrears = await find_arrears_of_bill(session, number=params["bill"], now=reader.now)
    if arrears is None or arrears.rounds != params["payments"]:
        return None
    summary = await queries.get_summary(session, number=params["bill"], person_id=None)
    operator = await accounts.get_operator(session)
    texts, party = reader.texts, summary.party
    return arrears, {
        "service": texts.plain(f"service.{party.service}"),
        "bill": arrears.bill_number,
        "address": party.address,
        "account": party.account_number,
        "left": texts.money(arrears.left_minor, arrears.currency),
        "overdue": texts.money(arrears.overdue_minor, arrears.currency),
        "due": texts.day(arrears.due_date),
        "hotline": operator.hotline,
    }


async def render_reminder(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the kind word about an unpaid bill, unless it was paid meanwhile."""
    found = await _debt(session, reader, params)
    if found is None:
        return None
    arrears, values = found
    words = reader.texts.get("dunning.reminder", **values)
    if arrears.overdue_minor > arrears.left_minor:
        words += "\n" + reader.texts.get("dunning.in_all", **values)
    return _with_payment(reader, arrears, words)


async def render_notice(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the notice that supply may be cut, unless something was paid meanwhile."""
    found = await _debt(session, reader, params)
    if found is None:
        return None
    arrears, values = found
    until = reader.now + POLICIES[arrears.service].notice_period
    words = reader.texts.get("dunning.notice", until=reader.texts.moment(until), **values)
    return _with_payment(reader, arrears, words)


def _with_payment(reader: Reader, arrears: Arrears, words: str) -> Outgoing:
    return Outgoing(text=words, keyboard=[[pay_key(reader.texts, arrears)]])


async def render_unreached(
    session: AsyncSession, reader: Reader, _params: dict[str, Any]
) -> Outgoing | None:
    """Return to a manager how many debtors no message reaches."""
    found = await dunning.list_unreached(session, now=reader.now)
    if not found:
        return None
    key = Button(reader.texts.plain("cut.unreached_key"), press("cutlost", 0))
    count = dunning.count_households(found)
    return Outgoing(text=reader.texts.count("dunning.unreached", count), keyboard=[[key]])


async def _values(session: AsyncSession, reader: Reader, order: OrderView) -> dict[str, object]:
    operator = await accounts.get_operator(session)
    texts = reader.texts
    warning = POLICIES[order.service].last_warning
    return {
        "number": order.number,
        "service": texts.plain(f"service.{order.service}"),
        "address": order.address,
        "account": order.account_number,
        "bill": order.bill_number or "",
        "overdue": overdue_words(texts, order),
        "days": order.overdue_days,
        "at": texts.moment(order.finished_at or order.proposed_at),
        "earliest": texts.moment(reader.now + warning),
        "name": order.approved_by or "",
        **danger_values(texts, order),
        "hotline": operator.hotline,
    }


async def _news(
    session: AsyncSession, reader: Reader, params: dict[str, Any], key: str
) -> Outgoing:
    order = await orders.get_order(session, number=params["order"])
    keys = []
    if key in {"supply.cut", "supply.cut_ordered"} and order.bill_number is not None:
        arrears = await find_arrears_of_bill(session, number=order.bill_number, now=reader.now)
        if arrears is not None:
            keys.append(pay_key(reader.texts, arrears))
    keys.append(Button(reader.texts.plain("supply.look"), press("go", "supply")))
    is_cut = key in {"supply.cut", "supply.cut_ordered"}
    if order.reason is Reason.CREDIT_USED and is_cut:
        key = f"{key}_{order.reason}"
        keys.insert(0, Button(reader.texts.plain("prepaid.top_up"), press("go", "topup")))
    if order.danger is not None and is_cut:
        key = f"{key}_{order.danger.reason}"
        if order.danger.reason is Reason.BURST:
            keys.insert(0, mine_key(reader.texts, order.danger.source_id))
    values = await _values(session, reader, order)
    if order.reason is Reason.CREDIT_USED and is_cut:
        values |= await _credit(session, reader, order)
    words = reader.texts.get(key, **values)
    if order.reason is Reason.SAFE:
        words += "\n" + restore_reason(reader.texts, order)
    return Outgoing(text=words, keyboard=[[each] for each in keys])


async def _credit(session: AsyncSession, reader: Reader, order: OrderView) -> dict[str, object]:
    """Return how much of a prepaid credit is missing now, and the least that ends that."""
    operator, agreement_id = await accounts.get_operator(session), order.agreement_id
    found = await find_balances(session, agreement_ids=[agreement_id], now=reader.now)
    left = found[agreement_id].minor
    left = -order.overdue_minor if left is None else left
    least = least_top_up(left, emergency_minor=operator.emergency_minor)
    return {"overdue": reader.texts.money(-left), "missing": reader.texts.money(least)}


async def render_cut_ordered(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the last warning, unless the order is off already."""
    order = await orders.get_order(session, number=params["order"])
    if order.finished_at is not None:
        return None
    return await _news(session, reader, params, "supply.cut_ordered")


async def render_cut_cancelled(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing:
    """Return that an announced cut does not take place."""
    return await _news(session, reader, params, "supply.cut_cancelled")


async def render_cut(session: AsyncSession, reader: Reader, params: dict[str, Any]) -> Outgoing:
    """Return that supply was cut: why, how much, how to pay."""
    return await _news(session, reader, params, "supply.cut")


async def render_restoring(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return that supply comes back, and what to close before, unless it is back."""
    order = await orders.get_order(session, number=params["order"])
    if order.finished_at is not None:
        return None
    return await _news(session, reader, params, f"supply.restoring_{order.service}")


async def render_restored(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing:
    """Return that supply is back, or waits for a button on the meter."""
    order = await orders.get_order(session, number=params["order"])
    waits = order.supply is Supply.READY
    key = "supply.waits_for_button" if waits else "supply.restored"
    return await _news(session, reader, params, key)


async def render_card(session: AsyncSession, reader: Reader, params: dict[str, Any]) -> Outgoing:
    """Return an order to cut as it stands, for managers."""
    order = await orders.get_order(session, number=params["order"])
    restore = await orders.find_restore(session, cut=order)
    words = card_words(reader.texts, order, restore)
    return Outgoing(text=words, keyboard=card_keys(reader.texts, order, restore))


async def render_alert(session: AsyncSession, reader: Reader, params: dict[str, Any]) -> Outgoing:
    """Return to managers what does not go as it should."""
    order = await orders.get_order(session, number=params["order"])
    texts = reader.texts
    words = texts.get(
        f"supply.alert_{params['alert']}",
        number=order.number,
        serial=order.meter_serial,
        details=reasons(texts, ", ".join(params["details"])),
    )
    place = place_words(texts, service=order.service, address=order.address)
    return Outgoing(text=texts.lines([place, words]))


COMMANDS: dict[str, Command] = {
    "supply": Command(run=why, customers_only=True),
    "order": Command(run=show_order, in_menu=False),
}
PRESSES: dict[str, Handle] = {"supplyhist": show_history}
STEPS: dict[str, Handle] = {}
NUMBERS: dict[str, str] = {"S": "order"}
RENDERERS: dict[str, Render] = {
    "dunning.reminder": render_reminder,
    "dunning.notice": render_notice,
    "dunning.unreached": render_unreached,
    "supply.proposed": render_card,
    "supply.alert": render_alert,
    "supply.cut_ordered": render_cut_ordered,
    "supply.cut_cancelled": render_cut_cancelled,
    "supply.cut": render_cut,
    "supply.restoring": render_restoring,
    "supply.restored": render_restored,
}
