"""Plans to pay in parts: asked for, offered, agreed, watched; each told in its transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.models import Role
from core.accounts.service import get_operator, list_staff
from core.billing.bills import BillNotFound, people_of
from core.billing.dispute_queries import find_pauses, is_disputed
from core.billing.invoices import BillNotOpen
from core.billing.models import Bill, BillState
from core.billing.plan_models import PaymentPlan, PlanBill, PlanPart, PlanState
from core.billing.plan_queries import (
    PlanNotFound,
    find_active,
    find_of_bill,
    get_terms,
    read_progress,
)
from core.billing.plan_rules import (
    ACTIVE,
    Part,
    Terms,
    divide_debt,
    may_become,
    possible_parts,
    put_off,
)
from core.billing.settlement import OpenBill, list_open_bills, lock_agreements, reconsider_debts
from core.errors import DomainError
from core.money import Money
from core.notices import service as notices
from core.numbers import take_numbers
from core.periods import local_day

SERIES = "A"
# Once the clocks stood for one of these, the people of the account do not ask again for its bills.
_ASKED_BEFORE = (PlanState.DECLINED, PlanState.WITHDRAWN, PlanState.BROKEN)


class PlanClosed(DomainError):
    """The plan was decided on before, or there is nothing left of it to decide."""

    code = "plan.closed"


class AlreadyPlanned(DomainError):
    """The debt is in a plan already, or was asked about before."""

    code = "plan.already"


class OtherBillsPlanned(DomainError):
    """While one plan runs no other is made; a bill that came since is paid by itself."""

    code = "plan.other_bills"


class TooSmall(DomainError):
    """A debt is not divided into so many parts."""

    code = "plan.too_small"


class BillDisputed(DomainError):
    """An objection is answered before its bill is paid in parts."""

    code = "plan.disputed"


class OwnPlan(DomainError):
    """Nobody agrees to a plan of their own, and nobody but its people to one that is offered."""

    code = "plan.own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """What an agreement owes now and how it may be divided. Units: `minor` minor units."""

    agreement_id: int
    currency: str
    minor: int
    bills: Sequence[OpenBill]
    terms: Terms
    counts: range
    is_own: bool

    def divide(self, count: int, *, today: date) -> list[Part]:
        """
        Return its parts.

        Raises:
            TooSmall: it is not divided into so many.
        """
        if count not in self.counts:
            raise TooSmall(least=Money(self.terms.part_minor_min, self.currency))
        return divide_debt(self.minor, count=count, today=today, terms=self.terms)


async def weigh_debt(
    session: AsyncSession, *, bill_number: str, person_id: int, is_manager: bool
) -> Debt:
    """
    Return the debt to which a bill belongs: all open bills of its agreement.

    Raises:
        BillNotFound: there is no such bill, or it is somebody else's and not a manager asks.
        BillNotOpen: nothing is left to pay of it.
        AlreadyPlanned: a plan for it waits or runs; or its people asked before.
        OtherBillsPlanned: one for other bills of its agreement waits or runs.
        BillDisputed: somebody objects to a bill.
        TooSmall: there is nothing to divide.
    """
    bill = (
        await session.execute(
            select(Bill.id, Bill.agreement_id, Bill.state).where(Bill.number == bill_number)
        )
    ).one_or_none()
    if bill is None or bill.state is BillState.HELD:
        raise BillNotFound(number=bill_number)
    people = await people_of(session, agreement_ids=[bill.agreement_id])
    is_own = person_id in people.get(bill.agreement_id, ())
    if not is_own and not is_manager:
        raise BillNotFound(number=bill_number)
    waiting = await list_open_bills(session, agreement_ids=[bill.agreement_id])
    if bill.id not in {each.bill_id for each in waiting if each.left_minor > 0}:
        raise BillNotOpen(number=bill_number)
    ids = [each.bill_id for each in waiting]
    active = await find_active(session, agreement_id=bill.agreement_id)
    own = None if active is None else await find_of_bill(session, bill_id=bill.id)
    if active is not None and (own is None or own.id != active.id):
        raise OtherBillsPlanned(number=active.number, bill=bill_number)
    await _require_unplanned(session, bill.agreement_id, ids, is_own=is_own)
    pauses = await find_pauses(session, bill_ids=ids)
    for each in waiting:
        if is_disputed(pauses.get(each.bill_id, ())):
            raise BillDisputed(number=each.number)
    terms = await get_terms(session)
    minor, currency = sum(each.left_minor for each in waiting), waiting[0].currency
    counts = possible_parts(minor, terms=terms)
    if not counts:
        raise TooSmall(least=Money(terms.part_minor_min, currency))
    return Debt(
        agreement_id=bill.agreement_id,
        currency=currency,
        minor=minor,
        bills=waiting,
        terms=terms,
        counts=counts,
        is_own=is_own,
    )


async def _require_unplanned(
    session: AsyncSession, agreement_id: int, bill_ids: Sequence[int], *, is_own: bool
) -> None:
    asked = (
        select(PlanBill.plan_id)
        .where(PlanBill.plan_id == PaymentPlan.id, PlanBill.bill_id.in_(bill_ids))
        .exists()
    )
    is_active = PaymentPlan.state.in_(ACTIVE)
    was_asked = PaymentPlan.state.in_(_ASKED_BEFORE if is_own else ()) & asked
    was_asked &= PaymentPlan.paused_at.is_not(None)
    before = await session.scalar(
        select(PaymentPlan.number)
        .where(PaymentPlan.agreement_id == agreement_id, is_active | was_asked)
        .order_by(PaymentPlan.id.desc())
        .limit(1)
    )
    if before is not None:
        raise AlreadyPlanned(number=before)


async def propose_plan(
    session: AsyncSession,
    *,
    bill_number: str,
    count: int,
    person_id: int,
    is_manager: bool,
    now: datetime,
) -> str:
    """
    Ask for a plan as one of its people, or offer it as a manager; return its number.

    One that is asked for stops the clocks at once: nobody is cut off while waiting for an answer.

    Raises:
        DomainError: as `weigh_debt`.
        TooSmall: the debt is not divided into so many parts.
    """
    agreement_id = await session.scalar(select(Bill.agreement_id).where(Bill.number == bill_number))
    await lock_agreements(session, agreement_ids=[agreement_id or 0])
    debt = await weigh_debt(
        session, bill_number=bill_number, person_id=person_id, is_manager=is_manager
    )
    today = local_day(now, zone=ZoneInfo((await get_operator(session)).timezone))
    parts = debt.divide(count, today=today)
    (number,) = await take_numbers(session, prefix=SERIES)
    plan = PaymentPlan(
        number=number,
        agreement_id=debt.agreement_id,
        currency=debt.currency,
        debt_minor=debt.minor,
        person_id=person_id,
        state=PlanState.ASKED if debt.is_own else PlanState.OFFERED,
        opened_at=now,
        paused_at=now if debt.is_own else None,
        looked_on=today,
    )
    session.add(plan)
    await session.flush()
    session.add_all(PlanBill(plan_id=plan.id, bill_id=bill.bill_id) for bill in debt.bills)
    session.add_all(
        PlanPart(
            plan_id=plan.id, position=position, due_date=part.due, amount_minor=part.amount_minor
        )
        for position, part in enumerate(parts, 1)
    )
    await session.flush()
    _note(session, plan, now=now, actor_id=person_id)
    if debt.is_own:
        await tell_managers(session, plan, now=now)
        await reconsider_debts(session, agreement_ids=[plan.agreement_id], now=now)
    else:
        await tell_people(session, plan, kind="plan.offered", now=now)
    return number


async def agree(session: AsyncSession, *, number: str, person_id: int, now: datetime) -> None:
    """
    Agree to a plan: a manager to one that was asked for, its people to one that was offered.

    Its days move by the days for which it waited, never to an earlier one.

    Raises:
        PlanNotFound: there is none of this number.
        PlanClosed: it does not wait for an answer, or nothing is left to pay.
        OwnPlan: the other side agrees.
    """
    plan, is_own = await _lock_waiting(session, number, person_id)
    if is_own is (plan.state is PlanState.ASKED):
        raise OwnPlan(number=number)
    zone = ZoneInfo((await get_operator(session)).timezone)
    today = local_day(now, zone=zone)
    progress = await read_progress(session, plan, now=now)
    if not progress.bills:
        raise PlanClosed(number=number)
    waited = (today - local_day(plan.opened_at, zone=zone)).days
    moved = put_off(progress.parts, days=waited)
    for row in await session.scalars(select(PlanPart).where(PlanPart.plan_id == plan.id)):
        row.due_date = moved[row.position - 1].due
    was_offered = plan.state is PlanState.OFFERED
    plan.agreed_at, plan.looked_on = now, today
    plan.paused_at = plan.paused_at or now
    await move(session, plan, PlanState.AGREED, now=now, actor_id=person_id)
    await tell_people(session, plan, kind="plan.agreed", now=now)
    if was_offered:
        await tell_managers(session, plan, now=now)
    await reconsider_debts(session, agreement_ids=[plan.agreement_id], now=now)


async def decline(
    session: AsyncSession, *, number: str, reason: str, actor_id: int, now: datetime
) -> None:
    """
    Decline a plan that was asked for, and say why; the clocks go on from where they stood.

    Raises:
        PlanNotFound, PlanClosed, OwnPlan: as `agree`.
    """
    plan, is_own = await _lock_waiting(session, number, actor_id)
    if is_own or plan.state is not PlanState.ASKED:
        raise OwnPlan(number=number)
    plan.reason = reason
    await move(session, plan, PlanState.DECLINED, now=now, actor_id=actor_id)
    await tell_people(session, plan, kind="plan.declined", now=now)


async def withdraw(session: AsyncSession, *, number: str, person_id: int, now: datetime) -> None:
    """
    Take back what was asked for or offered, or leave an offer, before it is agreed.

    Raises:
        PlanNotFound, PlanClosed: as `agree`.
        OwnPlan: it is neither the person's account nor their offer.
    """
    plan, is_own = await _lock_waiting(session, number, person_id)
    if not is_own and plan.person_id != person_id:
        raise OwnPlan(number=number)
    await move(session, plan, PlanState.WITHDRAWN, now=now, actor_id=person_id)
    if is_own:
        await tell_managers(session, plan, now=now)
    else:
        await tell_people(session, plan, kind="plan.withdrawn", now=now)


async def _lock_waiting(
    session: AsyncSession, number: str, person_id: int
) -> tuple[PaymentPlan, bool]:
    """Return a plan that waits, its agreement locked, and whether it is the person's own."""
    query = select(PaymentPlan).where(PaymentPlan.number == number)
    plan = await session.scalar(query)
    if plan is None:
        raise PlanNotFound(number=number)
    await lock_agreements(session, agreement_ids=[plan.agreement_id])
    plan = (await session.scalars(query.execution_options(populate_existing=True))).one()
    if plan.state not in {PlanState.ASKED, PlanState.OFFERED}:
        raise PlanClosed(number=number)
    people = await people_of(session, agreement_ids=[plan.agreement_id])
    return plan, person_id in people.get(plan.agreement_id, ())


async def move(
    session: AsyncSession,
    plan: PaymentPlan,
    state: PlanState,
    *,
    now: datetime,
    actor_id: int | None = None,
) -> None:
    """
    Take a plan one step on, with its audit.

    Raises:
        PlanClosed: no such step leads from where it stands.
    """
    if not may_become(plan.state, state):
        raise PlanClosed(number=plan.number)
    plan.state = state
    if actor_id is not None:
        plan.decided_by_id = actor_id
    if state not in ACTIVE:
        plan.ended_at = now
    await session.flush()
    _note(session, plan, now=now, actor_id=actor_id)


def _note(session: AsyncSession, plan: PaymentPlan, *, now: datetime, actor_id: int | None) -> None:
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action=f"plan.{plan.state}",
        subject=f"plan:{plan.number}",
        debt_minor=plan.debt_minor,
        **({} if plan.reason is None else {"reason": plan.reason}),
    )


async def tell_people(
    session: AsyncSession, plan: PaymentPlan, *, kind: str, now: datetime, suffix: str = ""
) -> None:
    """Send a message of a kind about a plan to everybody of its account, once."""
    people = await people_of(session, agreement_ids=[plan.agreement_id])
    await notices.enqueue(
        session,
        person_ids=people.get(plan.agreement_id, ()),
        kind=kind,
        params={"number": plan.number},
        dedupe_key=f"{kind}:{plan.number}{suffix}",
        now=now,
    )


async def tell_managers(
    session: AsyncSession, plan: PaymentPlan, *, now: datetime, suffix: str = ""
) -> None:
    """Show managers where a plan stands, once for each state."""
    await notices.enqueue(
        session,
        person_ids=await list_staff(session, role=Role.MANAGER),
        kind="plan.card",
        params={"number": plan.number, "state": plan.state.value},
        dedupe_key=f"plan.card:{plan.number}:{plan.state}{suffix}",
        now=now,
    )
