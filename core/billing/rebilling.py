"""A wrong bill is billed again, and with it all that build on it, from inputs put right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.models import Agreement, Premise, ServicePoint
from core.billing.bills import SERIES, insert_bills, make_due, people_of
from core.billing.correction_models import CreditKind, CreditNote
from core.billing.corrections import (
    BillIsNegative,
    BillIsVoid,
    BillRow,
    credit_old_use,
    list_from,
    lock_bill,
    withdraw,
    write_credit,
)
from core.billing.disputes import hand_on, uphold
from core.billing.drafts import Draft, Scope, draft_bills
from core.billing.inputs import read_spans
from core.billing.models import Allocation, Bill, BillState
from core.billing.settlement import free_excess, settle
from core.billing.tariff_store import list_codes
from core.db import undone
from core.errors import DomainError
from core.monitoring.correcting import correct_reading
from core.monitoring.estimates import keep_estimates
from core.monitoring.rows import Key
from core.notices import service as notices
from core.periods import Period

PEOPLE_MAX = 50


class CannotBillAgain(DomainError):
    """What the bill would be made of is not there; `why` is its code, for the log."""

    code = "billing.cannot_bill_again"


class NotAHousehold(DomainError):
    """A home has at least one person, and no hotel's worth of them."""

    code = "billing.not_a_household"


class NotATariff(DomainError):
    """There is no such tariff for this service."""

    code = "billing.not_a_tariff"


class NothingWouldChange(DomainError):
    """The bill would be made again as it is: a number more and nothing for it."""

    code = "billing.nothing_would_change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    What was wrong, as it is right; nothing if it was put right before.

    A credit note may have been a gift, or have put right in part what is put right now: whoever
    bills again says by `keeps_credits` whether it goes over to the new bill, and by `answers`
    whether this answers the open objection to the bill; otherwise that goes over to the new one.
    """

    keeps_credits: bool = True
    answers: bool = False
    people: int | None = None
    tariff_code: str | None = None
    reading: tuple[Key, Decimal] | None = None


class Gift(NamedTuple):
    """What a credit note took off a bill. Units: minor units."""

    number: str
    amount_minor: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """
    A bill and the one in its place, if its days are billed at all.

    `oddity` is why the new one would be held if nobody looked at it; `old_use_minor` is what was
    taken off it for use older than the limit, `gifts` are the credit notes of the old one, of
    which `kept_minor` went over to it. Units: minor units, without what was credited.
    """

    old: str
    old_minor: int
    was_seen: bool
    gifts: Sequence[Gift]
    new: str | None = None
    new_minor: int = 0
    oddity: str | None = None
    old_use_minor: int = 0
    kept_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebilled:
    """What came of billing again, the earliest bill first."""

    pairs: Sequence[Pair]
    currency: str


async def preview_rebill(
    session: AsyncSession, *, number: str, change: Change, actor_id: int, now: datetime
) -> Rebilled:
    """Return what `rebill` would do, by doing and undoing it."""
    async with undone(session):
        return await rebill(
            session, number=number, change=change, reason="-", actor_id=actor_id, now=now
        )


async def rebill(
    session: AsyncSession,
    *,
    number: str,
    change: Change,
    reason: str,
    actor_id: int,
    now: datetime,
) -> Rebilled:
    """
    Void a bill and all that build on it, and bill their periods again from what is right now.

    What was paid on each stays with the bill in its place, as far as that goes, and so do its
    credit notes unless the change says otherwise. What a new bill would charge more for use older
    than the limit is taken off. The people get one message. Whoever does this has looked at the
    new bills, so none of them is held.

    Raises:
        BillNotFound: there is no such bill.
        BillIsVoid: it was taken back or billed again before.
        NothingWouldChange: every bill would be as it is.
        CannotBillAgain: a reading or a price for it is missing.
        BillIsNegative: a new bill would be below zero.
        ReasonMissing: none is given.
        DomainError: the change itself cannot be.
    """
    bill = await lock_bill(session, number=number)
    if bill.state is BillState.VOID:
        raise BillIsVoid(number=number)
    await _apply(session, bill, change, reason=reason, actor_id=actor_id, now=now)
    olds = await list_from(session, bill=bill)
    for old in olds:
        await withdraw(session, bill=old, reason=reason, actor_id=actor_id, now=now)
    said: dict[str, Any] = {"answer": reason.strip(), "actor_id": actor_id, "now": now}
    answered = await uphold(session, bill_id=bill.id, **said) if change.answers else None
    pairs = [
        await _bill_again(
            session,
            old,
            keeps_credits=change.keeps_credits,
            reason=reason,
            actor_id=actor_id,
            now=now,
        )
        for old in reversed(olds)
    ]
    if not await _differ(session, pairs):
        raise NothingWouldChange(number=number)
    for old, pair in zip(reversed(olds), pairs, strict=True):
        if pair.new is None:  # nothing is left to object to
            answered = await uphold(session, bill_id=old.id, **said) or answered
    await settle(session, agreement_ids=[bill.agreement_id], now=now)
    await _tell(session, bill.agreement_id, pairs, answered, now=now)
    return Rebilled(pairs=pairs, currency=bill.currency)


async def _apply(
    session: AsyncSession,
    bill: BillRow,
    change: Change,
    *,
    reason: str,
    actor_id: int,
    now: datetime,
) -> None:
    agreement = await session.get_one(Agreement, bill.agreement_id)
    point = await session.get_one(ServicePoint, agreement.service_point_id)
    if change.reading is not None:
        key, value = change.reading
        await correct_reading(
            session, key=key, value=value, reason=reason, person_id=actor_id, now=now
        )
    if change.people is not None:
        if not 0 < change.people <= PEOPLE_MAX:
            raise NotAHousehold(most=PEOPLE_MAX)
        await session.execute(
            update(Premise)
            .where(Premise.id == point.premise_id)
            .values(household_size=change.people)
            .execution_options(synchronize_session=False)
        )
    if change.tariff_code is not None:
        if (await list_codes(session)).get(change.tariff_code) is not point.service:
            raise NotATariff(tariff=change.tariff_code)
        await session.execute(
            update(Agreement)
            .where(Agreement.id == agreement.id)
            .values(tariff_code=change.tariff_code)
            .execution_options(synchronize_session=False)
        )
    for name in ("people", "tariff_code"):
        if (value_ := getattr(change, name)) is not None:
            audit.record(
                session,
                at=now,
                actor_id=actor_id,
                action=f"agreement.{name}",
                subject=f"agreement:{agreement.id}",
                value=value_,
                reason=reason,
            )


async def _differ(session: AsyncSession, pairs: Sequence[Pair]) -> bool:
    """Tell whether a new bill is not what the one before it was."""
    for pair in pairs:
        found = await session.execute(
            select(Bill.tariff_version_id, Bill.total_minor, Bill.inputs).where(
                Bill.number.in_([pair.old, pair.new])
            )
        )
        old, *new = [(*row[:2], _without_sources(row[2])) for row in found]
        if new != [old] or (pair.was_seen and pair.old_minor != pair.new_minor):
            return True
    return False


def _without_sources(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bill's inputs; who read a register makes no other bill, whether anybody did does."""
    spans = [
        (each.meter_id, each.register, ends.at, ends.value, ends.is_estimate)
        for each in read_spans(inputs)
        for ends in (each.opening, each.closing)
    ]
    return {**inputs, "readings": spans}


async def _bill_again(
    session: AsyncSession,
    old: BillRow,
    *,
    keeps_credits: bool,
    reason: str,
    actor_id: int,
    now: datetime,
) -> Pair:
    """Make the bill in the place of one that was just voided."""
    draft = await _draft(session, old)
    was_seen = old.state is not BillState.HELD
    charged = old.total_minor - old.credited_minor if was_seen else 0
    gifts = await _list_gifts(session, old)
    if draft is None:
        await free_excess(session, bill_id=old.id, amount_max=0)
        return Pair(old=old.number, old_minor=charged, was_seen=was_seen, gifts=gifts)
    total = draft.computed.total_minor
    if total < 0:
        raise BillIsNegative(number=old.number)
    await keep_estimates(session, draft.estimates, now=now)
    ids = await insert_bills(
        session, run_id=old.run_id, prefix=old.number[0], drafts=[draft], replaces_id=old.id
    )
    (number,) = ids
    await session.execute(
        update(Allocation).where(Allocation.bill_id == old.id).values(bill_id=ids[number])
    )
    await hand_on(session, bill_id=old.id, successor_id=ids[number])
    await free_excess(session, bill_id=ids[number], amount_max=total)
    await make_due(session, bill_ids=[ids[number]], now=now, is_decided=True, is_told=not was_seen)
    going_over = gifts if keeps_credits else ()
    old_use = await credit_old_use(
        session,
        number=number,
        already_minor=charged + sum(gift.amount_minor for gift in going_over),
        reason=reason,
        actor_id=actor_id,
        now=now,
    )
    kept = await _carry_over(session, number, going_over, actor_id=actor_id, now=now)
    return Pair(
        old=old.number,
        old_minor=charged,
        was_seen=was_seen,
        new=number,
        new_minor=total - old_use - kept,
        oddity=draft.held_reason,
        old_use_minor=old_use,
        gifts=gifts,
        kept_minor=kept,
    )


async def _list_gifts(session: AsyncSession, old: BillRow) -> list[Gift]:
    """Return what somebody took off a bill; old use is found anew for each bill."""
    found = await session.execute(
        select(CreditNote.number, CreditNote.amount_minor, CreditNote.reason)
        .where(CreditNote.bill_id == old.id, CreditNote.kind == CreditKind.CORRECTION)
        .order_by(CreditNote.id)
    )
    return [Gift(*row) for row in found]


async def _carry_over(
    session: AsyncSession, number: str, gifts: Sequence[Gift], *, actor_id: int, now: datetime
) -> int:
    """Write credit notes anew for the bill in the old one's place; return how much they take."""
    written = 0
    for gift in gifts:
        bill = await lock_bill(session, number=number)
        amount = min(gift.amount_minor, bill.total_minor - bill.credited_minor)
        if amount > 0:
            written += amount
            await write_credit(
                session,
                bill,
                amount=amount,
                kind=CreditKind.CORRECTION,
                reason=gift.reason,
                actor_id=actor_id,
                now=now,
            )
    return written


async def _draft(session: AsyncSession, old: BillRow) -> Draft | None:
    """Return the new bill for a voided one's days; none if the agreement ended before them."""
    service = next(service for service, prefix in SERIES.items() if prefix == old.number[0])
    scope = Scope(
        service=service,
        period=Period(old.starts_date, old.ends_date),
        first_date=old.starts_date,
        is_exact=True,
    )
    found = await draft_bills(session, scope=scope, agreement_ids=[old.agreement_id])
    for each in found:
        if isinstance(each, Draft):
            return each
        raise CannotBillAgain(number=old.number, why=each.reason)
    return None


async def _tell(
    session: AsyncSession,
    agreement_id: int,
    pairs: Sequence[Pair],
    answered: str | None,
    *,
    now: datetime,
) -> None:
    seen = [pair for pair in pairs if pair.was_seen]
    if not seen:
        return
    people = await people_of(session, agreement_ids=[agreement_id])
    await notices.enqueue(
        session,
        person_ids=people.get(agreement_id, ()),
        kind="bill.rebilled",
        params={
            "numbers": [pair.old for pair in seen],
            "bills": [pair.new for pair in seen if pair.new],
            "answered": answered,
        },
        dedupe_key=f"rebilled:{seen[0].old}",
        now=now,
    )
