"""The ladder from a kind word to an order, per agreement: water debt never touches electricity."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account, Agreement, Contact, Person, Premise, Role, Service
from core.accounts.service import get_operator, list_staff
from core.billing.arrears import Arrears, find_arrears
from core.billing.bills import people_of
from core.billing.dunning_rules import POLICIES, is_daytime, next_step
from core.billing.models import Bill, BillState, DunningLook, DunningStep, StepKind
from core.billing.settlement import lock_agreements
from core.notices import service as notices

CHUNK = 500
# What people read at each step; a proposal is read by managers, when an order is made of it.
_MESSAGES = {StepKind.REMINDER: "dunning.reminder", StepKind.CUT_NOTICE: "dunning.notice"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreachedDebtor:
    """Somebody whom no message about a bill has reached, for a manager to call or visit."""

    bill_number: str
    service: Service
    kind: StepKind
    since: datetime
    account_number: str
    address: str
    names: Sequence[str]
    phones: Sequence[str]


async def run_dunning(session: AsyncSession, *, now: datetime) -> int:
    """
    Take every step of the ladder that is due; return how many agreements were looked at.

    Looks at each agreement in arrears once a local day, in daytime, at most `CHUNK` a call, so
    the caller comes back until none is left. Locks the agreements: a payment in the same moment
    either comes first and is seen, or waits. Called again, or in any order, it repeats nothing.
    """
    zone = ZoneInfo((await get_operator(session)).timezone)
    local = now.astimezone(zone)
    if not is_daytime(local):
        return 0
    agreement_ids = await _list_unseen(session, local.date())
    if not agreement_ids:
        return 0
    await lock_agreements(session, agreement_ids=agreement_ids)
    found = await find_arrears(session, agreement_ids=agreement_ids, now=now)
    calm = [arrears for arrears in found.values() if not arrears.has_unknown_payment]
    due = [
        (arrears, kind)
        for arrears in calm
        if (kind := next_step(arrears.stand(), policy=POLICIES[arrears.service], now=now))
    ]
    await _take_steps(session, due, day=local.date(), now=now)
    await _repeat_unreached(session, calm, day=local.date(), now=now)
    looked = insert(DunningLook)
    await session.execute(
        looked.on_conflict_do_update(
            index_elements=["agreement_id"],
            set_={"day": func.greatest(DunningLook.day, looked.excluded.day)},
        ),
        [{"agreement_id": each, "day": local.date()} for each in agreement_ids],
    )
    return len(agreement_ids)


async def _list_unseen(session: AsyncSession, today: date) -> list[int]:
    first = min(policy.remind_after_days for policy in POLICIES.values())
    return list(
        await session.scalars(
            select(Bill.agreement_id)
            .distinct()
            .outerjoin(DunningLook, DunningLook.agreement_id == Bill.agreement_id)
            .where(
                Bill.state == BillState.ISSUED,
                Bill.due_date <= today - timedelta(days=first),
                or_(DunningLook.day.is_(None), DunningLook.day < today),
            )
            .order_by(Bill.agreement_id)
            .limit(CHUNK)
        )
    )


def _key(arrears: Arrears, kind: StepKind, day: date) -> str:
    return f"dunning:{arrears.bill_number}:{kind}:{arrears.rounds}:{day.isoformat()}"


async def _take_steps(
    session: AsyncSession,
    due: Sequence[tuple[Arrears, StepKind]],
    *,
    day: date,
    now: datetime,
) -> None:
    if not due:
        return
    await session.execute(
        insert(DunningStep).on_conflict_do_nothing(),
        [
            {
                "agreement_id": arrears.agreement_id,
                "bill_id": arrears.bill_id,
                "kind": kind,
                "round": 0 if kind is StepKind.REMINDER else arrears.rounds,
                "at": now,
                "owed_minor": arrears.overdue_minor,
                "dedupe_key": _key(arrears, kind, day),
            }
            for arrears, kind in due
        ],
    )
    await _tell(session, due, day=day, now=now)


async def _tell(
    session: AsyncSession,
    due: Iterable[tuple[Arrears, StepKind]],
    *,
    day: date,
    now: datetime,
) -> None:
    due = list(due)
    for wanted, message in _MESSAGES.items():
        await notices.enqueue_each(
            session,
            kind=message,
            messages=[
                notices.Message(
                    person_ids=arrears.person_ids,
                    params={"bill": arrears.bill_number, "payments": arrears.rounds},
                    dedupe_key=_key(arrears, kind, day),
                )
                for arrears, kind in due
                if kind is wanted
            ],
            now=now,
        )


async def _repeat_unreached(
    session: AsyncSession, arrears: Iterable[Arrears], *, day: date, now: datetime
) -> None:
    """
    Say again what reached nobody, where somebody can be reached by now; tell managers once.

    A message whose fate is unknown counts as not received.
    """
    unreached = [
        (each, step)
        for each in arrears
        if (step := each.unproven) is not None and step.dedupe_key != _key(each, step.kind, day)
    ]
    reachable = set(
        await session.scalars(
            select(Contact.person_id).where(
                Contact.person_id.in_(
                    {person for each, _ in unreached for person in each.person_ids}
                ),
                Contact.unreachable_since.is_(None),
            )
        )
    )
    again = [(each, step) for each, step in unreached if reachable & set(each.person_ids)]
    fresh = [step.id for _, step in unreached if step.unreached_at is None]
    marks = [{"id": step_id, "unreached_at": now} for step_id in fresh]
    keys = [{"id": step.id, "dedupe_key": _key(each, step.kind, day)} for each, step in again]
    for changes in (marks, keys):
        if changes:
            await session.execute(update(DunningStep), changes)
    await _tell(session, [(each, step.kind) for each, step in again], day=day, now=now)
    if fresh:
        await notices.enqueue(
            session,
            person_ids=await list_staff(session, role=Role.MANAGER),
            kind="dunning.unreached",
            params={},
            dedupe_key=f"dunning.unreached:{min(fresh)}",
            now=now,
        )


async def list_unreached(session: AsyncSession, *, now: datetime) -> list[UnreachedDebtor]:
    """Return all debtors whom the ladder waits for because no message reaches them."""
    agreements = set(
        await session.scalars(
            select(DunningStep.agreement_id)
            .join(Bill, Bill.id == DunningStep.bill_id)
            .where(DunningStep.unreached_at.is_not(None), Bill.state == BillState.ISSUED)
            .order_by(DunningStep.id)
        )
    )
    arrears = await find_arrears(session, agreement_ids=agreements, now=now)
    waiting = {
        each.agreement_id: (each, step)
        for each in arrears.values()
        if (step := each.unproven) is not None and step.unreached_at is not None
    }
    places = {
        agreement_id: (number, address)
        for agreement_id, number, address in await session.execute(
            select(Agreement.id, Account.number, Premise.address)
            .join(Account, Account.id == Agreement.account_id)
            .join(Premise, Premise.id == Account.premise_id)
            .where(Agreement.id.in_(waiting))
        )
    }
    people = await people_of(session, agreement_ids=waiting)
    persons = {
        person.id: person
        for person in await session.scalars(
            select(Person).where(Person.id.in_({p for each in people.values() for p in each}))
        )
    }
    return [
        UnreachedDebtor(
            bill_number=each.bill_number,
            service=each.service,
            kind=step.kind,
            since=step.at,
            account_number=places[agreement_id][0],
            address=places[agreement_id][1],
            names=[persons[person].name for person in people.get(agreement_id, ())],
            phones=[
                phone for person in people.get(agreement_id, ()) if (phone := persons[person].phone)
            ],
        )
        for agreement_id, (each, step) in sorted(waiting.items(), key=lambda item: item[1][1].at)
    ]


def count_households(debtors: Iterable[UnreachedDebtor]) -> int:
    """Return how many homes these debts belong to: one may owe for both services."""
    return len({debtor.account_number for debtor in debtors})
