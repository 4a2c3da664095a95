"""Wrong bills: taken back, credited in part or whole, billed again; each with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Row, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.billing import ledger
from core.billing.back_billing import compute_old_part, oldest_billable
from core.billing.bills import BillNotFound, make_due, people_of
from core.billing.correction_models import CreditKind, CreditNote
from core.billing.disputes import uphold
from core.billing.models import Allocation, Bill, BillState, LedgerAccount
from core.billing.settlement import free_excess, lock_agreements, settle
from core.errors import DomainError
from core.money import Money
from core.notices import service as notices
from core.numbers import take_numbers

SERIES = "C"
_BILL = (
    Bill.id,
    Bill.number,
    Bill.agreement_id,
    Bill.run_id,
    Bill.state,
    Bill.starts_date,
    Bill.ends_date,
    Bill.currency,
    Bill.total_minor,
    Bill.credited_minor,
)
BillRow = Row[int, str, int, int | None, BillState, date, date, str, int, int]


class BillNotHeld(DomainError):
    """Only a bill that is held back can be released."""

    code = "billing.bill_not_held"


class BillIsNegative(DomainError):
    """A bill below zero is never sent; it is voided and its cause put right."""

    code = "billing.bill_is_negative"


class HasOldUse(DomainError):
    """The bill charges use older than the limit; what to do with it has to be decided first."""

    code = "billing.has_old_use"


class BillIsVoid(DomainError):
    """The bill was taken back or billed again before."""

    code = "billing.bill_is_void"


class LaterBillExists(DomainError):
    """Bills build on each other, so only an agreement's latest one can be voided."""

    code = "billing.later_bill_exists"


class CreditTooLarge(DomainError):
    """A bill is credited with more than nothing and at most with what it asks for."""

    code = "billing.credit_too_large"


class ReasonMissing(DomainError):
    """Whoever reads of a correction reads why."""

    code = "billing.reason_missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credited:
    """A credit note that was written. Units: minor units."""

    number: str
    amount_minor: int
    currency: str


async def release_held(
    session: AsyncSession, *, number: str, actor_id: int, now: datetime, waiver: str | None = None
) -> None:
    """
    Issue a bill that was held back, after somebody looked at it.

    One with use older than the limit stays held for that reason, unless the actor says with
    `waiver` why it is billed all the same.

    Raises:
        BillNotFound: there is no such bill.
        BillNotHeld: it is not held.
        HasOldUse: it charges use older than the limit, and nobody says why.
        BillIsNegative: it is below zero.
    """
    bill = await _lock_held(session, number)
    if waiver is not None:
        await _set(session, bill.id, waived_by_id=actor_id, waiver=_said(waiver))
    if not await make_due(session, bill_ids=[bill.id], now=now):
        raise HasOldUse(number=number, limit=await oldest_billable(session, now=now))
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action="bill.released",
        subject=f"bill:{number}",
        **({} if waiver is None else {"waiver": waiver}),
    )


async def release_without_old(
    session: AsyncSession, *, number: str, reason: str, actor_id: int, now: datetime
) -> None:
    """
    Issue a held bill and take off at once what it charges for use older than the limit.

    Raises:
        DomainError: as `release_held`.
    """
    bill = await _lock_held(session, number)
    await make_due(session, bill_ids=[bill.id], now=now, is_decided=True)
    audit.record(
        session, at=now, actor_id=actor_id, action="bill.released", subject=f"bill:{number}"
    )
    await credit_old_use(
        session, number=number, already_minor=0, reason=reason, actor_id=actor_id, now=now
    )


async def _lock_held(session: AsyncSession, number: str) -> BillRow:
    bill = await lock_bill(session, number=number)
    if bill.state is not BillState.HELD:
        raise BillNotHeld(number=number)
    if bill.total_minor < 0:
        raise BillIsNegative(number=number)
    return bill


async def lock_bill(session: AsyncSession, *, number: str) -> BillRow:
    """
    Return a bill with its agreement locked.

    Raises:
        BillNotFound: there is none.
    """
    agreement_id = await session.scalar(select(Bill.agreement_id).where(Bill.number == number))
    if agreement_id is None:
        raise BillNotFound(number=number)
    await lock_agreements(session, agreement_ids=[agreement_id])
    return (await session.execute(select(*_BILL).where(Bill.number == number))).one()


async def list_from(session: AsyncSession, *, bill: BillRow) -> Sequence[BillRow]:
    """Return a bill and those that build on it, the latest first."""
    rows = await session.execute(
        select(*_BILL)
        .where(
            Bill.agreement_id == bill.agreement_id,
            Bill.state != BillState.VOID,
            Bill.starts_date >= bill.starts_date,
        )
        .order_by(Bill.starts_date.desc())
    )
    return rows.all()


async def void_bill(
    session: AsyncSession, *, number: str, reason: str, actor_id: int | None, now: datetime
) -> None:
    """
    Take a wrong bill back: its posting is reversed, money on it goes to what else is open.

    The people are told with the reason, unless the bill was held and nobody saw it. The period
    is billed again by running it again.

    Raises:
        BillNotFound: there is no such bill, or it is void already.
        LaterBillExists: a later bill builds on it.
        ReasonMissing: none is given.
    """
    bill = await lock_bill(session, number=number)
    if bill.state is BillState.VOID:
        raise BillIsVoid(number=number)
    latest = (await list_from(session, bill=bill))[0]
    if latest.number != number:
        raise LaterBillExists(number=number, later=latest.number)
    await withdraw(session, bill=bill, reason=reason, actor_id=actor_id, now=now)
    if bill.state is BillState.HELD:
        return
    await uphold(session, bill_id=bill.id, answer=reason.strip(), actor_id=actor_id, now=now)
    await session.execute(delete(Allocation).where(Allocation.bill_id == bill.id))
    await settle(session, agreement_ids=[bill.agreement_id], now=now)
    people = await people_of(session, agreement_ids=[bill.agreement_id])
    await notices.enqueue(
        session,
        person_ids=people.get(bill.agreement_id, ()),
        kind="bill.voided",
        params={"number": number},
        dedupe_key=f"bill.voided:{number}",
        now=now,
    )


async def withdraw(
    session: AsyncSession, *, bill: BillRow, reason: str, actor_id: int | None, now: datetime
) -> None:
    """
    Make a bill void: it and its credit notes are reversed in the books.

    What was paid on it stays put to it, and an objection open; the caller puts them elsewhere.

    Raises:
        ReasonMissing: none is given.
    """
    said = _said(reason)
    await _set(session, bill.id, state=BillState.VOID, void_reason=said)
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action="bill.voided",
        subject=f"bill:{bill.number}",
        reason=said,
    )
    if bill.state is BillState.HELD:
        return
    notes = await session.scalars(
        select(CreditNote.number).where(CreditNote.bill_id == bill.id).order_by(CreditNote.id)
    )
    for note in notes.all():
        await ledger.reverse(session, reference=f"credit:{note}", at=now)
    if bill.total_minor:
        await ledger.reverse(session, reference=f"bill:{bill.number}", at=now)


async def credit_bill(
    session: AsyncSession,
    *,
    number: str,
    amount_minor: int | None,
    reason: str,
    actor_id: int | None,
    now: datetime,
    answers: bool = False,
) -> Credited:
    """
    Take a part off a bill, or all that is left of it (`amount_minor` empty), by a credit note.

    What was paid on the bill beyond the rest goes to what else is open, the oldest first, and
    stays credit otherwise. An open objection to the bill stays open unless this `answers` it.

    Raises:
        BillNotFound: there is no such bill that anybody has seen.
        BillIsVoid: it was taken back or billed again.
        CreditTooLarge: the amount is not between nothing and the bill.
        ReasonMissing: none is given.
    """
    bill = await lock_bill(session, number=number)
    if bill.state is BillState.VOID:
        raise BillIsVoid(number=number)
    if bill.state is BillState.HELD:
        raise BillNotFound(number=number)
    credited = await write_credit(
        session,
        bill,
        amount=bill.total_minor - bill.credited_minor if amount_minor is None else amount_minor,
        kind=CreditKind.CORRECTION,
        reason=reason,
        actor_id=actor_id,
        now=now,
    )
    answered = None
    if answers:
        answered = await uphold(
            session, bill_id=bill.id, answer=reason.strip(), actor_id=actor_id, now=now
        )
    people = await people_of(session, agreement_ids=[bill.agreement_id])
    await notices.enqueue(
        session,
        person_ids=people.get(bill.agreement_id, ()),
        kind="bill.credited",
        params={"credit": credited.number, "bill": number, "answered": answered},
        dedupe_key=f"credit:{credited.number}",
        now=now,
    )
    return credited


async def credit_old_use(
    session: AsyncSession,
    *,
    number: str,
    already_minor: int,
    reason: str,
    actor_id: int | None,
    now: datetime,
) -> int:
    """Take off what an issued bill newly charges for use older than the limit; return how much."""
    bill = await lock_bill(session, number=number)
    old = await compute_old_part(session, bill_id=bill.id, already_minor=already_minor, now=now)
    if old:
        await write_credit(
            session,
            bill,
            amount=old,
            kind=CreditKind.OLD_USE,
            reason=reason,
            actor_id=actor_id,
            now=now,
        )
    return old


async def write_credit(
    session: AsyncSession,
    bill: BillRow,
    *,
    amount: int,
    kind: CreditKind,
    reason: str,
    actor_id: int | None,
    now: datetime,
) -> Credited:
    """
    Write a credit note; nobody is told yet.

    Raises:
        CreditTooLarge, ReasonMissing: see each.
    """
    rest = bill.total_minor - bill.credited_minor
    if not 0 < amount <= rest:
        raise CreditTooLarge(number=bill.number, left=Money(rest, bill.currency))
    said = _said(reason)
    (number,) = await take_numbers(session, prefix=SERIES)
    session.add(
        CreditNote(
            number=number,
            bill_id=bill.id,
            kind=kind,
            currency=bill.currency,
            amount_minor=amount,
            reason=said,
            at=now,
            actor_id=actor_id,
        )
    )
    await session.flush()
    await _set(session, bill.id, credited_minor=Bill.credited_minor + amount)
    await ledger.post(
        session,
        kind="credit_note",
        reference=f"credit:{number}",
        corrects=f"bill:{bill.number}",
        entries=ledger.owed_against(
            LedgerAccount.REVENUE,
            agreement_id=bill.agreement_id,
            amount_minor=-amount,
            currency=bill.currency,
        ),
        at=now,
    )
    await free_excess(session, bill_id=bill.id, amount_max=rest - amount)
    await settle(session, agreement_ids=[bill.agreement_id], now=now)
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action="bill.credited",
        subject=f"bill:{bill.number}",
        credit=number,
        amount_minor=amount,
        reason=said,
    )
    return Credited(number=number, amount_minor=amount, currency=bill.currency)


async def _set(session: AsyncSession, bill_id: int, **values: object) -> None:
    await session.execute(
        update(Bill)
        .where(Bill.id == bill_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def _said(reason: str) -> str:
    said = reason.strip()
    if not said:
        raise ReasonMissing
    return said
