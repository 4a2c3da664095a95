"""What agreements owe past the day, and how far the ladder has got with them. Only reads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Agreement, Service, ServicePoint
from core.accounts.service import get_operator
from core.billing.bills import people_of
from core.billing.dispute_queries import find_pauses, is_disputed
from core.billing.dispute_rules import Pause, counted_from
from core.billing.dunning_rules import Standing
from core.billing.inputs import read_spans
from core.billing.models import Bill, DunningStep, Payment, StepKind
from core.billing.payment_states import CAME, OPEN
from core.billing.plan_queries import count_broken, find_begun, find_plan_pauses
from core.billing.settlement import OpenBill, list_open_bills
from core.monitoring.models import Source
from core.monitoring.rows import is_among
from core.notices import service as notices
from core.periods import local_day


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """
    A step that was taken for a bill; `is_open` while its message may still be sent.

    `counts_from` is when it was delivered, moved on by the time of objections and plans since.
    """

    id: int
    kind: StepKind
    round: int
    at: datetime
    dedupe_key: str
    delivered_at: datetime | None
    counts_from: datetime | None
    is_open: bool
    unreached_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrears:
    """
    What an agreement owes past the day; the bill is the oldest unpaid one, the ladder's anchor.

    `rounds` counts what makes a notice start anew: payments that came, plans that were broken.
    Units: `*_minor` minor units; `left_minor` of that bill, `overdue_minor` of all past their day.
    """

    agreement_id: int
    service: Service
    bill_id: int
    bill_number: str
    due_date: date
    currency: str
    left_minor: int
    overdue_minor: int
    overdue_days: int
    is_estimated: bool
    rounds: int
    paid_at: datetime | None
    has_unknown_payment: bool
    steps: Sequence[Step]
    person_ids: Sequence[int]

    def find_step(self, kind: StepKind) -> Step | None:
        """Return the latest step of a kind for the bill."""
        return next((step for step in reversed(self.steps) if step.kind is kind), None)

    @property
    def has_paid_since_notice(self) -> bool:
        """Whether a payment or a plan came after the latest notice, so that it no longer counts."""
        notice = self.find_step(StepKind.CUT_NOTICE)
        return notice is not None and notice.round != self.rounds

    @property
    def unproven(self) -> Step | None:
        """The latest step, if its message still matters and has provably reached nobody."""
        if not self.steps or self.steps[-1].kind is StepKind.CUT_PROPOSED:
            return None
        step = self.steps[-1]
        is_current = step.kind is StepKind.REMINDER or step.round == self.rounds
        return step if is_current and not step.is_open and step.delivered_at is None else None

    def stand(self) -> Standing:
        """Return where the ladder stands."""
        reminder = self.find_step(StepKind.REMINDER)
        notice = None if self.has_paid_since_notice else self.find_step(StepKind.CUT_NOTICE)
        proposed = self.find_step(StepKind.CUT_PROPOSED)
        return Standing(
            overdue_days=self.overdue_days,
            overdue_minor=self.overdue_minor,
            is_estimated=self.is_estimated,
            is_reminded=reminder is not None,
            reminder_delivered_at=reminder.counts_from if reminder else None,
            is_noticed=notice is not None,
            notice_delivered_at=notice.counts_from if notice else None,
            is_proposed=proposed is not None and proposed.round == self.rounds,
            paid_at=self.paid_at,
        )


async def find_arrears(
    session: AsyncSession,
    *,
    agreement_ids: Iterable[int],
    now: datetime,
    with_paused: bool = False,
) -> dict[int, Arrears]:
    """
    Return the arrears of those of these agreements that have a bill past its day.

    A bill to which somebody objects counts as none until that is answered, and one that is paid
    in parts while that is asked for or kept. `with_paused` counts them, but for plans of which
    the first part is paid. No bill of a prepaid agreement is ever overdue.
    """
    today = local_day(now, zone=ZoneInfo((await get_operator(session)).timezone))
    overdue: dict[int, list[OpenBill]] = {}
    postpaid = await session.scalars(
        select(Agreement.id).where(
            is_among(Agreement.id, set(agreement_ids)), ~Agreement.is_prepaid
        )
    )
    found = await list_open_bills(session, agreement_ids=postpaid)
    late = [bill for bill in found if bill.due_date < today and bill.left_minor > 0]
    ids = [bill.bill_id for bill in late]
    pauses: dict[int, Sequence[Pause]] = dict(await find_pauses(session, bill_ids=ids))
    for bill_id, planned in (await find_plan_pauses(session, bill_ids=ids)).items():
        pauses[bill_id] = [*pauses.get(bill_id, ()), *planned]
    begun = await find_begun(session, waiting=found) if with_paused else ()
    for bill in late:
        is_paused = is_disputed(pauses.get(bill.bill_id, ()))
        if not is_paused or (with_paused and bill.bill_id not in begun):
            overdue.setdefault(bill.agreement_id, []).append(bill)
    anchors = {bills[0].bill_id: agreement_id for agreement_id, bills in overdue.items()}
    people = await people_of(session, agreement_ids=overdue)
    steps = await _find_steps(session, anchors, people, pauses, now)
    payments = await _find_payments(session, overdue)
    broken = await count_broken(session, agreement_ids=overdue)
    estimated = await _find_estimated(session, anchors)
    services = await _find_services(session, overdue)
    return {
        agreement_id: Arrears(
            agreement_id=agreement_id,
            service=services[agreement_id],
            bill_id=bills[0].bill_id,
            bill_number=bills[0].number,
            due_date=bills[0].due_date,
            currency=bills[0].currency,
            left_minor=bills[0].left_minor,
            overdue_minor=sum(bill.left_minor for bill in bills),
            overdue_days=(today - bills[0].due_date).days,
            is_estimated=bills[0].bill_id in estimated,
            steps=steps.get(agreement_id, ()),
            person_ids=people.get(agreement_id, ()),
            rounds=came + broken.get(agreement_id, 0),
            paid_at=paid_at,
            has_unknown_payment=is_unknown,
        )
        for agreement_id, bills in overdue.items()
        for came, paid_at, is_unknown in [payments.get(agreement_id, (0, None, False))]
    }


async def find_arrears_of_bill(
    session: AsyncSession, *, number: str, now: datetime
) -> Arrears | None:
    """Return the arrears of a bill's agreement while that very bill is the oldest unpaid one."""
    agreement_id = await session.scalar(select(Bill.agreement_id).where(Bill.number == number))
    found = await find_arrears(session, agreement_ids=[agreement_id or 0], now=now)
    arrears = found.get(agreement_id or 0)
    return arrears if arrears is not None and arrears.bill_number == number else None


async def _find_payments(
    session: AsyncSession, agreement_ids: Iterable[int]
) -> dict[int, tuple[int, datetime | None, bool]]:
    # What went back later counts too: a notice before it has been answered once, and is no more.
    came = Payment.state.in_(CAME)
    unknown = Payment.state.in_(OPEN)
    rows = await session.execute(
        select(
            Payment.agreement_id,
            func.count().filter(came),
            func.max(Payment.received_at).filter(came),
            func.bool_or(unknown),
        )
        .where(Payment.agreement_id.in_(sorted(agreement_ids)))
        .group_by(Payment.agreement_id)
    )
    return {
        agreement_id: (came, paid_at, is_unknown)
        for agreement_id, came, paid_at, is_unknown in rows
    }


async def _find_steps(
    session: AsyncSession,
    anchors: Mapping[int, int],
    people: Mapping[int, Sequence[int]],
    pauses: Mapping[int, Sequence[Pause]],
    now: datetime,
) -> dict[int, list[Step]]:
    rows = list(
        await session.scalars(
            select(DunningStep)
            .where(DunningStep.bill_id.in_(sorted(anchors)))
            .order_by(DunningStep.round, DunningStep.id)
            .execution_options(populate_existing=True)
        )
    )
    fates = await notices.list_fates(session, dedupe_keys=[row.dedupe_key for row in rows])
    steps: dict[int, list[Step]] = {}
    for row in rows:
        known = fates.get(row.dedupe_key, [])
        delivered_at = notices.find_delivery(known, person_ids=people.get(anchors[row.bill_id], ()))
        steps.setdefault(anchors[row.bill_id], []).append(
            Step(
                id=row.id,
                kind=row.kind,
                round=row.round,
                at=row.at,
                dedupe_key=row.dedupe_key,
                delivered_at=delivered_at,
                counts_from=delivered_at
                and counted_from(delivered_at, pauses=pauses.get(row.bill_id, ()), now=now),
                is_open=any(fate.is_open for fate in known),
                unreached_at=row.unreached_at,
            )
        )
    return steps


async def _find_estimated(session: AsyncSession, bill_ids: Iterable[int]) -> frozenset[int]:
    """Return those of the bills that rest on an estimate; nothing is cut for a guess."""
    rows = await session.execute(select(Bill.id, Bill.inputs).where(Bill.id.in_(sorted(bill_ids))))
    return frozenset(
        bill_id
        for bill_id, inputs in rows
        if any(span.closing.source == Source.ESTIMATE for span in read_spans(inputs))
    )


async def _find_services(session: AsyncSession, agreement_ids: Iterable[int]) -> dict[int, Service]:
    rows = await session.execute(
        select(Agreement.id, ServicePoint.service)
        .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
        .where(Agreement.id.in_(sorted(agreement_ids)))
    )
    return dict(rows.all())
