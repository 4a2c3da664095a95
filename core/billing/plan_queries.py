"""Plans to pay in parts as people look at them, and which clocks they stop. Only reads."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import (
    Account,
    AccountRight,
    Agreement,
    Person,
    Premise,
    Service,
    ServicePoint,
)
from core.accounts.service import get_operator
from core.billing.correction_models import Dispute
from core.billing.dispute_rules import Pause
from core.billing.models import Bill
from core.billing.plan_models import PaymentPlan, PlanBill, PlanPart, PlanState
from core.billing.plan_rules import ACTIVE, NextPart, Part, Terms, next_part, stood_still
from core.billing.queries import BillSummary
from core.billing.settlement import OpenBill, list_open_bills
from core.errors import DomainError

SHOWN_MAX = 200


class PlanNotFound(DomainError):
    """There is no such plan, or it is somebody else's."""

    code = "plan.not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """
    A plan with what it pays and what is next; `open_bill` is the oldest that is still open.

    `broken_before` counts the earlier plans of this agreement that were not kept.
    Units: minor units.
    """

    plan: PaymentPlan
    service: Service
    account_number: str
    address: str
    person_name: str
    phone: str | None
    decided_by: str | None
    bills: Sequence[str]
    parts: Sequence[Part]
    left_minor: int
    open_bill: OpenBill | None
    next: NextPart | None
    broken_before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The parts of a plan, by the day on which each is due now, and what is open of its bills."""

    parts: Sequence[Part]
    bills: Sequence[OpenBill]

    @property
    def left_minor(self) -> int:
        """What is left to pay. Units: minor units."""
        return sum(bill.left_minor for bill in self.bills)

    @property
    def next(self) -> NextPart | None:
        """What is to be paid next."""
        return next_part(self.parts, left_minor=self.left_minor)


@dataclass(frozen=True, slots=True)
class Asked:
    """The part of a plan that is asked for now, on any of its bills. Units: minor units."""

    number: str
    part: NextPart
    count: int
    left_minor: int


async def get_terms(session: AsyncSession) -> Terms:
    """Return what the operator allows."""
    operator = await get_operator(session)
    return Terms(
        parts_max=operator.plan_parts_max,
        part_minor_min=operator.plan_part_minor_min,
        days=operator.plan_days,
        grace_days=operator.plan_grace_days,
    )


async def get_plan(
    session: AsyncSession, *, number: str, person_id: int | None, now: datetime
) -> PlanView:
    """
    Return a plan on a person's account, or any for the staff (`person_id` empty).

    Raises:
        PlanNotFound: there is none.
    """
    query = select(PaymentPlan).where(PaymentPlan.number == number)
    if person_id is not None:
        query = query.where(
            PaymentPlan.agreement_id.in_(
                select(Agreement.id)
                .join(AccountRight, AccountRight.account_id == Agreement.account_id)
                .where(AccountRight.person_id == person_id)
            )
        )
    plan = await session.scalar(query.execution_options(populate_existing=True))
    if plan is None:
        raise PlanNotFound(number=number)
    return await _view(session, plan, now)


async def list_plans(session: AsyncSession, *, now: datetime) -> list[PlanView]:
    """Return the plans that wait or run, those that wait for a manager first."""
    plans = await session.scalars(
        select(PaymentPlan)
        .where(PaymentPlan.state.in_(ACTIVE))
        .order_by(PaymentPlan.state != PlanState.ASKED, PaymentPlan.id)
        .limit(SHOWN_MAX)
        .execution_options(populate_existing=True)
    )
    return [await _view(session, plan, now) for plan in plans]


async def _view(session: AsyncSession, plan: PaymentPlan, now: datetime) -> PlanView:
    service, account, address = (
        await session.execute(
            select(ServicePoint.service, Account.number, Premise.address)
            .select_from(Agreement)
            .join(Account, Account.id == Agreement.account_id)
            .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
            .join(Premise, Premise.id == ServicePoint.premise_id)
            .where(Agreement.id == plan.agreement_id)
        )
    ).one()
    person = await session.get_one(Person, plan.person_id)
    decided_by = None
    if plan.decided_by_id is not None:
        decided_by = (await session.get_one(Person, plan.decided_by_id)).name
    bills = await session.scalars(
        select(Bill.number)
        .join(PlanBill, PlanBill.bill_id == Bill.id)
        .where(PlanBill.plan_id == plan.id)
        .order_by(Bill.id)
    )
    progress = await read_progress(session, plan, now=now)
    broken = await session.scalar(
        select(func.count()).where(
            PaymentPlan.agreement_id == plan.agreement_id,
            PaymentPlan.state == PlanState.BROKEN,
            PaymentPlan.id < plan.id,
        )
    )
    return PlanView(
        plan=plan,
        service=service,
        account_number=account,
        address=address,
        person_name=person.name,
        phone=person.phone,
        decided_by=decided_by,
        bills=bills.all(),
        parts=progress.parts,
        left_minor=progress.left_minor,
        open_bill=progress.bills[0] if progress.bills else None,
        next=progress.next,
        broken_before=broken or 0,
    )


async def read_progress(session: AsyncSession, plan: PaymentPlan, *, now: datetime) -> Progress:
    """Return how far a plan is; its days stood still while an objection to its bills was open."""
    zone = ZoneInfo((await get_operator(session)).timezone)
    rows = await session.execute(
        select(PlanPart.due_date, PlanPart.amount_minor)
        .where(PlanPart.plan_id == plan.id)
        .order_by(PlanPart.position)
    )
    own = set(await session.scalars(select(PlanBill.bill_id).where(PlanBill.plan_id == plan.id)))
    until = min(now, plan.ended_at or now)
    agreed = plan.agreed_at or until  # the wait for the answer moved the days already
    pauses = [
        Pause(max(opened, agreed).astimezone(zone), answered and answered.astimezone(zone))
        for opened, answered in await session.execute(
            select(Dispute.opened_at, Dispute.answered_at).where(Dispute.bill_id.in_(own))
        )
    ]
    waiting = await list_open_bills(session, agreement_ids=[plan.agreement_id])
    return Progress(
        parts=stood_still([Part(*row) for row in rows], pauses=pauses, now=until.astimezone(zone)),
        bills=[bill for bill in waiting if bill.bill_id in own and bill.left_minor > 0],
    )


async def find_of_bill(session: AsyncSession, *, bill_id: int) -> PaymentPlan | None:
    """Return the latest plan that pays a bill, if there is one."""
    found: PaymentPlan | None = await session.scalar(
        select(PaymentPlan)
        .join(PlanBill, PlanBill.plan_id == PaymentPlan.id)
        .where(PlanBill.bill_id == bill_id)
        .order_by(PaymentPlan.id.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )
    return found


async def find_active(session: AsyncSession, *, agreement_id: int) -> PaymentPlan | None:
    """Return the plan of an agreement that waits or runs, if there is one."""
    found: PaymentPlan | None = await session.scalar(
        select(PaymentPlan)
        .where(PaymentPlan.agreement_id == agreement_id, PaymentPlan.state.in_(ACTIVE))
        .execution_options(populate_existing=True)
    )
    return found


async def find_running(
    session: AsyncSession, *, agreement_id: int, now: datetime
) -> PlanView | None:
    """Return the plan that stops the clocks of an agreement's debt, if one does."""
    plan = await session.scalar(
        select(PaymentPlan)
        .where(
            PaymentPlan.agreement_id == agreement_id,
            PaymentPlan.paused_at.is_not(None),
            PaymentPlan.ended_at.is_(None),
        )
        .execution_options(populate_existing=True)
    )
    return None if plan is None else await _view(session, plan, now)


async def find_asked(session: AsyncSession, *, summary: BillSummary, now: datetime) -> Asked | None:
    """Return what a plan that runs asks for now of a bill, if one does."""
    plan = await find_of_bill(session, bill_id=summary.bill.id)
    if plan is None or plan.state is not PlanState.AGREED:
        return None
    progress = await read_progress(session, plan, now=now)
    part = progress.next
    if part is None or summary.left_minor <= 0:
        return None
    return Asked(
        number=plan.number, part=part, count=len(progress.parts), left_minor=progress.left_minor
    )


async def find_plan_pauses(
    session: AsyncSession, *, bill_ids: Iterable[int]
) -> dict[int, list[Pause]]:
    """Return for how long plans stopped the clocks of these bills."""
    pauses: dict[int, list[Pause]] = {}
    for bill_id, paused_at, ended_at in await session.execute(
        select(PlanBill.bill_id, PaymentPlan.paused_at, PaymentPlan.ended_at)
        .join(PaymentPlan, PaymentPlan.id == PlanBill.plan_id)
        .where(PlanBill.bill_id.in_(sorted(set(bill_ids))))
    ):
        if paused_at is not None:
            pauses.setdefault(bill_id, []).append(Pause(paused_at, ended_at))
    return pauses


async def find_begun(session: AsyncSession, *, waiting: Collection[OpenBill]) -> set[int]:
    """Return those of these open bills on whose agreed plan the first part is paid."""
    left = {bill.bill_id: bill.left_minor for bill in waiting}
    begun = (
        select(PlanBill.bill_id, PaymentPlan.id, PaymentPlan.debt_minor, PlanPart.amount_minor)
        .join(PaymentPlan, PaymentPlan.id == PlanBill.plan_id)
        .join(PlanPart, PlanPart.plan_id == PaymentPlan.id)
        .where(
            PlanBill.bill_id.in_(sorted(left)),
            PaymentPlan.state == PlanState.AGREED,
            PlanPart.position == 1,
        )
    )
    plans: dict[int, tuple[int, set[int]]] = {}
    for bill_id, plan_id, debt, first in await session.execute(begun):
        plans.setdefault(plan_id, (debt - first, set()))[1].add(bill_id)
    return {
        bill_id
        for later, bills in plans.values()
        if sum(left[each] for each in bills) <= later
        for bill_id in bills
    }


async def count_broken(session: AsyncSession, *, agreement_ids: Iterable[int]) -> Mapping[int, int]:
    """Return how many plans of each of these agreements were not kept."""
    rows = await session.execute(
        select(PaymentPlan.agreement_id, func.count())
        .where(
            PaymentPlan.agreement_id.in_(sorted(set(agreement_ids))),
            PaymentPlan.state == PlanState.BROKEN,
        )
        .group_by(PaymentPlan.agreement_id)
    )
    return dict(rows.all())
