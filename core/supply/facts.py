"""What is known at this moment of a cut that is wanted. Only reads; callers hold the agreement."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import AccountRight, Agreement, Role, ServicePoint, Staff, Supply
from core.accounts.service import get_operator
from core.billing.arrears import Arrears, find_arrears
from core.billing.bills import people_of
from core.billing.dispute_queries import find_pauses, has_open_dispute, is_disputed
from core.billing.dispute_rules import Pause
from core.billing.dunning_rules import POLICIES
from core.billing.models import StepKind
from core.billing.payments import has_unknown_payment
from core.billing.plan_queries import find_plan_pauses
from core.billing.prepaid import Balance, PrepaidWatch, find_balances
from core.billing.prepaid_rules import prepaid_policy
from core.db import lock_for_transaction
from core.monitoring.models import Meter
from core.notices import service as notices
from core.repairs.models import Cause, Repair
from core.repairs.workflow import ENDED
from core.supply.dangers import is_in_danger
from core.supply.guards import DAY, HOUR, Facts
from core.supply.models import OrderState, Reason, SupplyOrder
from core.supply.orders import Case, News, find_working_meter, news_key

BRAKE = "supply.cuts"  # the same lock as in guards.sql


async def gather(
    session: AsyncSession, *, case: Case, now: datetime
) -> tuple[Facts, Arrears | Balance | None]:
    """
    Return the facts of a case, and the arrears or the prepaid balance they rest on.

    Also holds the count of cuts still until the transaction ends, so that two decisions in the
    same moment see each other.
    """
    operator = await get_operator(session)
    point = await session.get_one(ServicePoint, case.service_point_id, populate_existing=True)
    agreement = await session.get_one(Agreement, case.agreement_id, populate_existing=True)
    found = await find_arrears(session, agreement_ids=[case.agreement_id], now=now)
    arrears = found.get(case.agreement_id)
    reminder = arrears.find_step(StepKind.REMINDER) if arrears else None
    notice = arrears.find_step(StepKind.CUT_NOTICE) if arrears else None
    in_hour, in_day = await _count_cuts(session, case=case, now=now)
    facts = Facts(
        policy=POLICIES[point.service],
        local=now.astimezone(ZoneInfo(operator.timezone)),
        overdue_days=arrears.overdue_days if arrears else 0,
        overdue_minor=arrears.overdue_minor if arrears else 0,
        reminder_delivered_at=reminder.counts_from if reminder else None,
        notice_delivered_at=notice.counts_from if notice else None,
        has_paid_since_notice=arrears.has_paid_since_notice if arrears else False,
        has_unknown_payment=arrears.has_unknown_payment if arrears else False,
        protected=point.protected,
        is_disputed=await _is_paused(session, case, find_pauses),
        is_planned=await _is_paused(session, case, find_plan_pauses),
        is_bill_open=arrears is not None and arrears.bill_id == case.bill_id,
        is_estimated=arrears.is_estimated if arrears else False,
        is_agreement_current=agreement.ends_date is None,
        is_switchable=await _is_switchable(session, case=case),
        supply=point.supply,
        is_manager=await _is_manager(session, case.approver_id),
        has_own_right=await _has_right(session, case),
        meters=await _count_meters(session),
        cuts_in_hour=in_hour,
        cuts_in_day=in_day,
        warned_at=await _find_warning(session, case),
        in_danger=await _is_in_danger(session, case),
    )
    if case.reason is Reason.CREDIT_USED:
        return await _judge_credit(session, facts, case, now=now)
    return facts, arrears


async def _judge_credit(
    session: AsyncSession, facts: Facts, case: Case, *, now: datetime
) -> tuple[Facts, Balance]:
    """Return the facts of a prepaid supply; one that is postpaid by now owes nothing here."""
    operator = await get_operator(session)
    agreement = await session.get_one(Agreement, case.agreement_id)
    point = await session.get_one(ServicePoint, case.service_point_id)
    ids = [case.agreement_id]
    balance = (await find_balances(session, agreement_ids=ids, now=now))[case.agreement_id]
    watch = await session.get(PrepaidWatch, case.agreement_id, populate_existing=True)
    notice_at = None
    if watch is not None and watch.used_up_at is not None:
        fates = await notices.list_fates(session, dedupe_keys=[watch.notice_key])
        people = await people_of(session, agreement_ids=ids)
        notice_at = notices.find_delivery(
            fates.get(watch.notice_key, ()), person_ids=people.get(case.agreement_id, ())
        )
    left = 0 if balance.minor is None else balance.minor
    facts = replace(
        facts,
        policy=prepaid_policy(operator, point.service),
        overdue_minor=max(-left, 0),
        notice_delivered_at=notice_at,
        has_unknown_payment=await has_unknown_payment(session, agreement_id=case.agreement_id),
        is_disputed=await has_open_dispute(session, agreement_id=case.agreement_id),
        is_estimated=balance.is_estimated or balance.minor is None,
        credit_left_minor=left + operator.emergency_minor if agreement.is_prepaid else 1,
    )
    return facts, balance


async def _is_paused(
    session: AsyncSession, case: Case, find: Callable[..., Awaitable[dict[int, list[Pause]]]]
) -> bool:
    """Tell whether an objection to the bill of a case, or a plan for it, is open."""
    if case.bill_id is None:
        return False
    pauses = await find(session, bill_ids=[case.bill_id])
    return is_disputed(pauses.get(case.bill_id, ()))


async def _is_in_danger(session: AsyncSession, case: Case) -> bool | None:
    """Tell whether a danger goes on; once the command was sent, that it seems over may be why."""
    if case.danger is None:
        return None
    is_sent = case.order is not None and case.order.sent_at is not None
    return is_sent or await is_in_danger(session, case.danger)


async def _is_switchable(session: AsyncSession, *, case: Case) -> bool:
    """Tell whether the very meter of the case can be switched, and nobody is repairing that."""
    meter = await find_working_meter(session, service_point_id=case.service_point_id)
    if meter is None or meter.id != case.meter_id or not meter.switchable:
        return False
    repair = await session.scalar(
        select(Repair.id).where(
            Repair.service_point_id == case.service_point_id,
            Repair.cause.in_([Cause.SUPPLY_SWITCH, Cause.SWITCHED_OFF]),
            Repair.state.not_in(ENDED),
        )
    )
    return meter.gateway_id is not None and repair is None


async def _is_manager(session: AsyncSession, person_id: int | None) -> bool:
    return await session.get(Staff, (person_id, Role.MANAGER)) is not None


async def _has_right(session: AsyncSession, case: Case) -> bool:
    right = await session.scalar(
        select(AccountRight.person_id)
        .join(Agreement, Agreement.account_id == AccountRight.account_id)
        .where(Agreement.id == case.agreement_id, AccountRight.person_id == case.approver_id)
    )
    return right is not None


async def _count_meters(session: AsyncSession) -> int:
    count = select(func.count()).select_from(Meter).where(Meter.removed_at.is_(None))
    return await session.scalar(count) or 0


async def _count_cuts(session: AsyncSession, *, case: Case, now: datetime) -> tuple[int, int]:
    """Return how many other cuts were sent, or approved to be sent, in the last hour and day."""
    await lock_for_transaction(session, BRAKE)
    begun_at = func.coalesce(SupplyOrder.sent_at, SupplyOrder.approved_at)
    row = await session.execute(
        select(func.count().filter(begun_at > now - HOUR), func.count()).where(
            begun_at > now - DAY,
            SupplyOrder.wanted == Supply.CUT,
            or_(SupplyOrder.sent_at.is_not(None), SupplyOrder.state == OrderState.APPROVED),
            SupplyOrder.id != (case.order.id if case.order is not None else 0),
        )
    )
    in_hour, in_day = row.one()
    return in_hour, in_day


async def _find_warning(session: AsyncSession, case: Case) -> datetime | None:
    """Return when the last warning about an approved order provably reached somebody there."""
    if case.order is None:
        return None
    key = news_key(case.order, News.CUT_ORDERED)
    fates = await notices.list_fates(session, dedupe_keys=[key])
    people = await people_of(session, agreement_ids=[case.agreement_id])
    return notices.find_delivery(fates.get(key, ()), person_ids=people.get(case.agreement_id, ()))
