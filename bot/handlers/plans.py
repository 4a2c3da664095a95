"""Conversation: a debt paid in parts; asked for or offered, agreed or declined, and its parts."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn, WhichNumber
from bot.handlers.account import back_home, cancel_key
from bot.handlers.plan_words import describe_plan, part_lines, plan_keys
from bot.outgoing import Button, Outgoing, press, read_press
from bot.texts import Texts, clean_line
from core.accounts.models import Role
from core.accounts.service import Speaker, get_operator
from core.billing import plan_queries, plans
from core.billing.bills import people_of
from core.billing.plan_models import PlanState
from core.billing.plan_queries import PlanView
from core.billing.plans import Debt, PlanClosed
from core.periods import local_day

REASON_LENGTH_MAX = 200
MANAGERS = frozenset({Role.MANAGER})


def _number(turn: Turn, *, like: str) -> str:
    if turn.said.data:
        return str(read_press(turn.said.data, str)[0])
    if not turn.said.arguments:
        raise WhichNumber(example=f"/{turn.said.command} {like}")
    return turn.said.arguments[0].upper()


async def begin(turn: Turn) -> None:
    """Show into how many parts the debt of the bill may go; a typed count chooses at once."""
    number = _number(turn, like="W1001")
    debt = await _weigh(turn, number)
    if len(turn.said.arguments) > 1:
        count = int(turn.texts.parse_quantity(turn.said.arguments[1]))
        await _show_parts(turn, number, debt, count)
        return
    texts = turn.texts
    keys = [
        [
            Button(
                texts.count("plan.in_parts", count, amount=texts.money(first, debt.currency)),
                press("partsas", number, count),
            )
        ]
        for count in debt.counts
        for first in [-(-debt.minor // count)]
    ]
    words = texts.get(
        "plan.ask",
        bills=", ".join(bill.number for bill in debt.bills),
        debt=texts.money(debt.minor, debt.currency),
    )
    await turn.draw(words, keyboard=[*keys, [cancel_key(texts)]])


async def _weigh(turn: Turn, number: str) -> Debt:
    return await plans.weigh_debt(
        turn.session,
        bill_number=number,
        person_id=turn.person_id,
        is_manager=Role.MANAGER in turn.speaker.roles,
    )


async def press_count(turn: Turn) -> None:
    """Show the days and amounts of as many parts as were pressed."""
    number, count = read_press(turn.said.data, str, int)
    await _show_parts(turn, number, await _weigh(turn, number), count)


async def _show_parts(turn: Turn, number: str, debt: Debt, count: int) -> None:
    parts = debt.divide(count, today=local_day(turn.now, zone=turn.texts.zone))
    key = "plan.sure_ask" if debt.is_own else "plan.sure_offer"
    words = [
        turn.texts.get("plan.sure", debt=turn.texts.money(debt.minor, debt.currency)),
        *part_lines(turn.texts, parts, debt.currency),
        turn.texts.get(key),
    ]
    go = press("partsgo", number, count, debt.minor, parts[0].due.isoformat())
    keys = [
        [Button(turn.texts.plain("plan.ask_key" if debt.is_own else "plan.offer_key"), go)],
        [Button(turn.texts.plain("plan.other_count"), press("parts", number))],
        [cancel_key(turn.texts)],
    ]
    await turn.draw(turn.texts.lines(words), keyboard=keys)


async def press_go(turn: Turn) -> None:
    """Ask for, or offer, the plan that was shown; if days or amounts moved, show it again."""
    number, count, minor, first = read_press(turn.said.data, str, int, int, date.fromisoformat)
    debt = await _weigh(turn, number)
    parts = debt.divide(count, today=local_day(turn.now, zone=turn.texts.zone))
    if (debt.minor, parts[0].due) != (minor, first):
        await _show_parts(turn, number, debt, count)
        return
    made = await plans.propose_plan(
        turn.session,
        bill_number=number,
        count=count,
        person_id=turn.person_id,
        is_manager=Role.MANAGER in turn.speaker.roles,
        now=turn.now,
    )
    await turn.finish()
    await _show(turn, made)


async def show(turn: Turn) -> None:
    """Show the plan that was pressed, or whose number follows the command."""
    await _show(turn, _number(turn, like="A1001"))


async def _show(turn: Turn, number: str) -> None:
    found, is_own = await _find(turn.session, number, turn.speaker, turn.now)
    keys = plan_keys(turn.texts, found, person_id=turn.person_id, is_own=is_own)
    words = describe_plan(turn.texts, found, for_staff=not is_own)
    await turn.draw(words, keyboard=[*keys, [back_home(turn.texts)]])


async def _find(
    session: AsyncSession, number: str, asking: Speaker | Reader, now: datetime
) -> tuple[PlanView, bool]:
    """Return a plan and whether it is the person's own; managers see all."""
    seen_by = None if Role.MANAGER in asking.roles else asking.person_id
    found = await plan_queries.get_plan(session, number=number, person_id=seen_by, now=now)
    people = await people_of(session, agreement_ids=[found.plan.agreement_id])
    return found, asking.person_id in people.get(found.plan.agreement_id, ())


async def list_plans(turn: Turn) -> None:
    """Show managers the plans that wait or run."""
    turn.require(Role.MANAGER)
    found = await plan_queries.list_plans(turn.session, now=turn.now)
    texts = turn.texts
    keys = [[Button(row_words(texts, each), press("plan", each.plan.number))] for each in found]
    title = texts.count("plan.list", len(found)) if found else texts.get("plan.list_none")
    await turn.draw(title, keyboard=[*keys, [back_home(texts)]])


def row_words(texts: Texts, found: PlanView) -> str:
    """Return a plan's line in a list."""
    return texts.plain(
        "plan.row",
        number=found.plan.number,
        address=found.address,
        left=texts.money(found.left_minor, found.plan.currency),
        state=texts.plain(f"plan.short_{found.plan.state}"),
    )


async def press_agree(turn: Turn) -> None:
    """Agree to a plan: a manager to one that was asked for, its people to an offer."""
    number = _number(turn, like="A1001")
    found, is_own = await _find(turn.session, number, turn.speaker, turn.now)
    if not is_own and found.plan.state is PlanState.ASKED:
        turn.require(Role.MANAGER)
    await plans.agree(turn.session, number=number, person_id=turn.person_id, now=turn.now)
    await _show(turn, number)


async def press_decline(turn: Turn) -> None:
    """Ask a manager why a plan is declined."""
    turn.require(Role.MANAGER)
    number = _number(turn, like="A1001")
    found = await plan_queries.get_plan(turn.session, number=number, person_id=None, now=turn.now)
    if found.plan.state is not PlanState.ASKED:
        raise PlanClosed(number=number)
    await turn.ask("plan.reason", number=number)
    await turn.show("plan.ask_reason", number=number, keyboard=[[cancel_key(turn.texts)]])


async def receive_reason(turn: Turn) -> None:
    """Decline a plan for the reason that a manager typed."""
    turn.require(Role.MANAGER)
    number = turn.draft["number"]
    await plans.decline(
        turn.session,
        number=number,
        reason=clean_line(turn.said.text, length_max=REASON_LENGTH_MAX),
        actor_id=turn.person_id,
        now=turn.now,
    )
    await turn.finish()
    await _show(turn, number)


async def press_withdraw(turn: Turn) -> None:
    """Take back what was asked for or offered, or leave an offer."""
    number = _number(turn, like="A1001")
    await plans.withdraw(turn.session, number=number, person_id=turn.person_id, now=turn.now)
    await _show(turn, number)


async def press_pay(turn: Turn) -> None:
    """Ask for the payment of exactly the next part: to the oldest bill, then to the others."""
    number = _number(turn, like="A1001")
    found = await plan_queries.get_plan(
        turn.session, number=number, person_id=turn.person_id, now=turn.now
    )
    bill, part = found.open_bill, found.next
    if found.plan.state is not PlanState.AGREED or bill is None or part is None:
        raise PlanClosed(number=number)
    await turn.send(
        "payment.invoice",
        number=bill.number,
        amount_minor=part.amount_minor,
        is_for_all=part.amount_minor > bill.left_minor,
        plan=number,
        position=part.position,
    )
    await turn.send("payment.link", number=bill.number)


# What is said only while a plan stands there; other messages tell what happened.
_WHILE: dict[str, frozenset[PlanState]] = {
    "plan.offered": frozenset({PlanState.OFFERED}),
    "plan.agreed": frozenset({PlanState.AGREED}),
    "plan.part_due": frozenset({PlanState.AGREED}),
    "plan.missed": frozenset({PlanState.AGREED}),
}


async def _intro(session: AsyncSession, texts: Texts, name: str, found: PlanView) -> str:
    terms, operator = await plan_queries.get_terms(session), await get_operator(session)
    return texts.get(
        name,
        number=found.plan.number,
        grace=texts.count("dispute.days", terms.grace_days),
        left=texts.money(found.left_minor, found.plan.currency),
        hotline=operator.hotline,
    )


def _renderer(name: str) -> Render:
    """Return what makes a message about a plan for its people, with its screen below."""

    async def render(
        session: AsyncSession, reader: Reader, params: dict[str, Any]
    ) -> Outgoing | None:
        found = await plan_queries.get_plan(
            session, number=params["number"], person_id=reader.person_id, now=reader.now
        )
        is_over = found.plan.state not in _WHILE.get(name, PlanState)
        if is_over or (name in {"plan.part_due", "plan.missed"} and found.next is None):
            return None
        keys: Sequence[Sequence[Button]] = plan_keys(
            reader.texts, found, person_id=reader.person_id, is_own=True
        )
        if found.open_bill is not None and found.plan.state is PlanState.BROKEN:
            label = reader.texts.plain("bill.pay")
            keys = [[Button(label, press("paydue", found.open_bill.number))]]
        words = [
            await _intro(session, reader.texts, name, found),
            describe_plan(reader.texts, found, for_staff=False),
        ]
        return Outgoing(text=reader.texts.lines(words), keyboard=keys)

    return render


async def render_card(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return to managers what happened to a plan, with what they can do, while it is true."""
    found, is_own = await _find(session, params["number"], reader, reader.now)
    if found.plan.state != params["state"] or Role.MANAGER not in reader.roles:
        return None
    words = [
        reader.texts.get(f"plan.card_{found.plan.state}"),
        describe_plan(reader.texts, found, for_staff=True),
    ]
    keys = plan_keys(reader.texts, found, person_id=reader.person_id, is_own=is_own)
    return Outgoing(text=reader.texts.lines(words), keyboard=keys)


COMMANDS: dict[str, Command] = {
    "plans": Command(run=list_plans, roles=MANAGERS),
    "parts": Command(run=begin, in_menu=False),
    "plan": Command(run=show, in_menu=False),
}
PRESSES: dict[str, Handle] = {
    "parts": begin,
    "partsas": press_count,
    "partsgo": press_go,
    "plan": show,
    "planyes": press_agree,
    "planno": press_decline,
    "planback": press_withdraw,
    "paypart": press_pay,
}
STEPS: dict[str, Handle] = {"plan.reason": receive_reason}
RENDERERS: dict[str, Render] = {
    "plan.card": render_card,
    **{
        name: _renderer(name)
        for name in (
            "plan.offered",
            "plan.agreed",
            "plan.declined",
            "plan.withdrawn",
            "plan.part_due",
            "plan.missed",
            "plan.broken",
            "plan.kept",
            "plan.ended",
            "plan.lapsed",
        )
    },
}
NUMBERS: dict[str, str] = {"A": "plan"}
