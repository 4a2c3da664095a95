"""
Prepaid agreements: what is left, looked at again and again, and who is told when it gets low.

The balance is the credit in the books less what the use since the last bill costs. A bill takes
its total from the credit the moment it is made, so that the balance stays what it was.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import ARRAY, BigInteger, ForeignKey, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core import audit
from core.accounts.models import Account, Agreement, Service, ServicePoint
from core.accounts.service import get_operator
from core.billing.bills import people_of
from core.billing.budgets import get_place
from core.billing.drafts import Draft, Scope, draft_bills
from core.billing.dunning_rules import next_daytime
from core.billing.inputs import read_spans
from core.billing.models import LedgerEntry
from core.billing.prepaid_rules import (
    STEPS_PICKED_MAX,
    Crossing,
    Mark,
    default_steps,
    find_crossing,
)
from core.billing.running import find_first_billed
from core.billing.settlement import list_open_bills, lock_agreements, reconsider_debts
from core.db import Base
from core.errors import DomainError
from core.monitoring.rows import is_among
from core.notices import service as notices
from core.periods import Period, local_day, month_of

CHUNK: Final = 500
LOOK_EVERY: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)


class StepsNotPossible(DomainError):
    """One can pick up to two steps, of those that the operator offers."""

    code = "prepaid.steps_not_possible"


class BillsOpen(DomainError):
    """What was billed so far is paid first: nobody starts to pay ahead with a debt."""

    code = "prepaid.bills_open"


class AlreadySo(DomainError):
    """The agreement is paid in this way already, or is over."""

    code = "prepaid.already_so"


class PrepaidWatch(Base):
    """
    How a prepaid balance stood when it was last looked at, and what its people were told.

    `steps` are those that somebody picked, empty (NULL) for the usual ones; `told` counts the
    messages, of which the last one is that nothing is left while `used_up_at` is set.
    """

    __tablename__ = "prepaid_watches"

    agreement_id: Mapped[int] = mapped_column(
        ForeignKey("agreements.id"), primary_key=True, autoincrement=False
    )
    steps: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))
    balance_minor: Mapped[int | None]
    looked_at: Mapped[datetime | None] = mapped_column(index=True)
    told: Mapped[int] = mapped_column(server_default=text("0"))
    used_up_at: Mapped[datetime | None] = mapped_column(index=True)

    @property
    def notice_key(self) -> str:
        """The key of the latest message."""
        return f"prepaid:{self.agreement_id}:{self.told}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """
    What is left of a prepaid agreement's money, as of the reading at `read_at`.

    `running_minor` is the price of what is not billed yet; nothing where it cannot be told.
    Units: minor units.
    """

    agreement_id: int
    currency: str
    credit_minor: int
    running_minor: int | None
    read_at: datetime | None
    is_estimated: bool

    @property
    def minor(self) -> int | None:
        """What is left, below zero once emergency credit is used."""
        return None if self.running_minor is None else self.credit_minor - self.running_minor


async def find_balances(
    session: AsyncSession, *, agreement_ids: Collection[int], now: datetime
) -> dict[int, Balance]:
    """Return the balances of agreements; a few statements for all of them."""
    operator = await get_operator(session)
    today = local_day(now, zone=ZoneInfo(operator.timezone))
    credit = {
        agreement_id: -int(owed)
        for agreement_id, owed in await session.execute(
            select(LedgerEntry.agreement_id, func.sum(LedgerEntry.amount_minor))
            .where(is_among(LedgerEntry.agreement_id, set(agreement_ids)))
            .group_by(LedgerEntry.agreement_id)
        )
    }
    found: dict[int, Balance] = {}
    for service, members in (await _by_service(session, agreement_ids)).items():
        month = month_of(today)
        before = month_of(month.starts - DAY)  # with which billing begins if it has not yet
        scope = Scope(
            service=service,
            period=Period(month.starts, today + DAY),
            first_date=await find_first_billed(session, service) or before.starts,
            is_running=True,
        )
        drafts = {
            each.agreement_id: each
            for each in await draft_bills(session, scope=scope, agreement_ids=members)
        }
        for agreement_id in members:
            draft = drafts.get(agreement_id)
            spans = read_spans(json.loads(draft.inputs)) if isinstance(draft, Draft) else []
            read = [span.closing.at for span in spans if not span.closing.is_estimate]
            running = draft.computed.total_minor if isinstance(draft, Draft) else None
            found[agreement_id] = Balance(
                agreement_id=agreement_id,
                currency=operator.currency,
                credit_minor=credit.get(agreement_id, 0),
                running_minor=0 if draft is None else running,
                read_at=min(read, default=None),
                is_estimated=len(read) < len(spans),
            )
    return found


async def _by_service(
    session: AsyncSession, agreement_ids: Collection[int]
) -> dict[Service, list[int]]:
    found: dict[Service, list[int]] = {}
    for agreement_id, service in await session.execute(
        select(Agreement.id, ServicePoint.service)
        .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
        .where(is_among(Agreement.id, set(agreement_ids)))
        .order_by(Agreement.id)
    ):
        found.setdefault(service, []).append(agreement_id)
    return found


async def look_at_balances(session: AsyncSession, *, now: datetime) -> int:
    """Look at each prepaid balance once an hour, at most `CHUNK` a call; return at how many."""
    found = await session.scalars(
        select(Agreement.id)
        .outerjoin(PrepaidWatch, PrepaidWatch.agreement_id == Agreement.id)
        .where(
            Agreement.is_prepaid,
            Agreement.ends_date.is_(None),
            or_(PrepaidWatch.looked_at.is_(None), PrepaidWatch.looked_at <= now - LOOK_EVERY),
        )
        .order_by(Agreement.id)
        .limit(CHUNK)
    )
    return len(await judge_balances(session, agreement_ids=found.all(), now=now))


async def judge_balances(
    session: AsyncSession, *, agreement_ids: Collection[int], now: datetime
) -> dict[int, Balance]:
    """
    Note how the prepaid ones of these agreements stand, tell what they fell to, and return them.

    Locks the agreements. Each mark is told once for each time that the balance falls to it; what
    cannot be told (no reading, a bill that is held) is not guessed. At night it waits.
    """
    prepaid = (
        await session.scalars(
            select(Agreement.id).where(
                is_among(Agreement.id, set(agreement_ids)), Agreement.is_prepaid
            )
        )
    ).all()
    if not prepaid:
        return {}
    await lock_agreements(session, agreement_ids=prepaid)
    balances = await find_balances(session, agreement_ids=prepaid, now=now)
    watches = await _watches(session, balances)
    operator = await get_operator(session)
    told: list[tuple[PrepaidWatch, Crossing]] = []
    for agreement_id, balance in balances.items():
        watch, left = watches[agreement_id], balance.minor
        watch.looked_at = now
        if left is None:
            continue
        # Also where the operator gives less emergency credit than before.
        is_news = watch.used_up_at is None and left <= -operator.emergency_minor
        crossing = find_crossing(
            before=None if is_news else watch.balance_minor,
            after=left,
            steps=steps_of(watch, operator.prepaid_steps),
            emergency_minor=operator.emergency_minor,
        )
        watch.balance_minor = left
        if left > -operator.emergency_minor:
            watch.used_up_at = None
        if crossing is not None:
            watch.told += 1
            watch.used_up_at = now if crossing.mark is Mark.USED_UP else None
            told.append((watch, crossing))
    await session.flush()
    await _tell(session, told, now=now)
    return balances


async def _watches(session: AsyncSession, agreement_ids: Iterable[int]) -> dict[int, PrepaidWatch]:
    """Return the watches of agreements that the caller holds locked, made where there are none."""
    ids = sorted(agreement_ids)
    if not ids:
        return {}
    await session.execute(
        insert(PrepaidWatch).on_conflict_do_nothing(), [{"agreement_id": each} for each in ids]
    )
    found = await session.scalars(
        select(PrepaidWatch)
        .where(is_among(PrepaidWatch.agreement_id, ids))
        .execution_options(populate_existing=True)
    )
    return {watch.agreement_id: watch for watch in found}


async def _tell(
    session: AsyncSession, told: Sequence[tuple[PrepaidWatch, Crossing]], *, now: datetime
) -> None:
    zone = ZoneInfo((await get_operator(session)).timezone)
    people = await people_of(session, agreement_ids=[watch.agreement_id for watch, _ in told])
    await notices.enqueue_each(
        session,
        kind="prepaid.low",
        messages=[
            notices.Message(
                person_ids=people.get(watch.agreement_id, ()),
                params={
                    "agreement_id": watch.agreement_id,
                    "mark": crossing.mark.value,
                    "at_minor": crossing.at_minor,
                },
                dedupe_key=watch.notice_key,
            )
            for watch, crossing in told
        ],
        now=now,
        due_at=next_daytime(now.astimezone(zone)),
    )


def steps_of(watch: PrepaidWatch | None, offered: Sequence[int]) -> list[int]:
    """Return at which steps people are told; one that is not offered any more is none."""
    if watch is None or watch.steps is None:
        return default_steps(offered)
    return [step for step in watch.steps if step in offered]


async def get_steps(session: AsyncSession, *, agreement_id: int) -> list[int]:
    """Return at which steps the people of an agreement are told. Units: minor units."""
    operator = await get_operator(session)
    return steps_of(await session.get(PrepaidWatch, agreement_id), operator.prepaid_steps)


async def pick_steps(
    session: AsyncSession, *, person_id: int, agreement_id: int, steps: Collection[int]
) -> None:
    """
    Have the people of an agreement told at these steps, and at no others.

    Raises:
        AgreementNotFound: it is not theirs, or over.
        StepsNotPossible: there are more than two, or one that is not offered.
    """
    await get_place(session, person_id=person_id, agreement_id=agreement_id)
    offered = (await get_operator(session)).prepaid_steps
    if len(set(steps)) > STEPS_PICKED_MAX or not set(steps) <= set(offered):
        raise StepsNotPossible(most=STEPS_PICKED_MAX)
    await lock_agreements(session, agreement_ids=[agreement_id])
    watch = (await _watches(session, [agreement_id]))[agreement_id]
    watch.steps = sorted(set(steps), reverse=True)
    await session.flush()


async def switch_payment(
    session: AsyncSession,
    *,
    agreement_id: int,
    to_prepaid: bool,
    actor_id: int | None,
    now: datetime,
) -> None:
    """
    Have an agreement paid ahead, or after its bills; its books stay as they are.

    Credit pays the next bills, and what a balance was short of is on the bills that are open. A
    cut that rested on the other way is undone.

    Raises:
        AlreadySo: it is paid so, or over.
        BillsOpen: a bill is not paid; what is owed is not taken from what is paid ahead.
    """
    await lock_agreements(session, agreement_ids=[agreement_id])
    agreement = await session.get_one(Agreement, agreement_id, populate_existing=True)
    if agreement.is_prepaid is to_prepaid or agreement.ends_date is not None:
        raise AlreadySo
    if to_prepaid and await list_open_bills(session, agreement_ids=[agreement_id]):
        raise BillsOpen
    agreement.is_prepaid = to_prepaid
    watch = (await _watches(session, [agreement_id]))[agreement_id]
    watch.balance_minor = watch.looked_at = watch.used_up_at = None
    watch.told += 1
    await session.flush()
    account = await session.get_one(Account, agreement.account_id)
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action="agreement.prepaid" if to_prepaid else "agreement.postpaid",
        subject=f"account:{account.number}",
        agreement=agreement_id,
    )
    people = await people_of(session, agreement_ids=[agreement_id])
    await notices.enqueue(
        session,
        person_ids=people.get(agreement_id, ()),
        kind="prepaid.switched",
        params={"agreement_id": agreement_id, "to_prepaid": to_prepaid},
        dedupe_key=watch.notice_key,
        now=now,
    )
    await reconsider_debts(session, agreement_ids=[agreement_id], now=now)
