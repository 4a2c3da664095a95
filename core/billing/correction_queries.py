"""What became of a bill after it was issued: credits, successors, objections, and who was told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core.accounts.models import Contact, Person
from core.billing.bills import people_of
from core.billing.consumption import BilledSpan
from core.billing.correction_models import CreditKind, CreditNote
from core.billing.corrections import lock_bill
from core.billing.dispute_queries import DisputeView, find_of_bill
from core.billing.inputs import read_spans
from core.billing.models import Bill, BillState
from core.billing.plan_models import PaymentPlan
from core.billing.plan_queries import find_active, get_terms
from core.billing.plan_queries import find_of_bill as find_plan
from core.billing.plan_rules import possible_parts
from core.billing.queries import BillSummary, get_summary
from core.errors import DomainError
from core.monitoring.rows import Key
from core.notices.models import Delivery, Outcome, Unreached

PROOFS_MAX = 100
# What is said about a bill, and has to arrive.
PROVEN_KINDS = (
    "bill.issued",
    "bill.document",
    "bill.voided",
    "bill.rebilled",
    "bill.credited",
    "dunning.reminder",
    "dunning.notice",
    "payment.invoice",
)


class CreditNotFound(DomainError):
    """There is no credit note of this number that this person may see."""

    code = "billing.credit_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class BillStory:
    """
    What became of a bill; `replaces` and `replaced_by` are numbers of bills.

    `is_divisible` tells whether it is large enough to be paid in parts, and no plan is under way.
    """

    credits: Sequence[CreditNote]
    replaces: str | None
    replaced_by: str | None
    dispute: DisputeView | None
    plan: PaymentPlan | None
    is_divisible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditView:
    """A credit note and the bill that it takes something off."""

    note: CreditNote
    summary: BillSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """
    A bill that was taken back and the one in its place, if its days are billed at all.

    `credits` are what somebody had taken off the old one, and `keeps_credits` tells that it went
    over to the new one.
    """

    old: BillSummary
    new: BillSummary | None
    credits: Sequence[CreditNote]
    keeps_credits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """
    What became of a message about a bill to a person; without an outcome they have no contact.

    `sent_at` is the only proof that it arrived, `seen_at` that somebody looked at it.
    """

    kind: str
    person_name: str
    phone: str | None
    channel: str | None
    at: datetime
    outcome: Outcome | None
    sent_at: datetime | None
    seen_at: datetime | None


async def get_story(session: AsyncSession, *, bill: Bill) -> BillStory:
    """Return what became of a bill after it was issued."""
    credits_ = await session.scalars(
        select(CreditNote).where(CreditNote.bill_id == bill.id).order_by(CreditNote.id)
    )
    active = await find_active(session, agreement_id=bill.agreement_id)
    minor, terms = bill.total_minor - bill.credited_minor, await get_terms(session)
    return BillStory(
        credits=credits_.all(),
        replaces=await session.scalar(select(Bill.number).where(Bill.id == bill.replaces_id)),
        replaced_by=await session.scalar(select(Bill.number).where(Bill.replaces_id == bill.id)),
        dispute=await find_of_bill(session, bill_id=bill.id),
        plan=await find_plan(session, bill_id=bill.id),
        is_divisible=active is None and bool(possible_parts(minor, terms=terms)),
    )


async def get_credit(session: AsyncSession, *, number: str, person_id: int | None) -> CreditView:
    """
    Return a credit note of a bill that a person may see, or any for the staff.

    Raises:
        CreditNotFound: there is none.
        BillNotFound: its bill is somebody else's.
    """
    found = (
        await session.execute(
            select(CreditNote, Bill.number)
            .join(Bill, Bill.id == CreditNote.bill_id)
            .where(CreditNote.number == number)
        )
    ).one_or_none()
    if found is None:
        raise CreditNotFound(number=number)
    note, bill_number = found
    summary = await get_summary(session, number=bill_number, person_id=person_id)
    return CreditView(note=note, summary=summary)


async def list_replaced(
    session: AsyncSession, *, numbers: Sequence[str], person_id: int | None
) -> list[Replaced]:
    """Return bills that were billed again, each with the one in its place, in this order."""
    successor = aliased(Bill)
    found: dict[str, str] = dict(
        (
            await session.execute(
                select(Bill.number, successor.number)
                .join(successor, successor.replaces_id == Bill.id)
                .where(Bill.number.in_(numbers))
            )
        ).all()
    )

    async def summary(number: str | None) -> BillSummary | None:
        if number is None:
            return None
        return await get_summary(session, number=number, person_id=person_id)

    async def gifts(bill: BillSummary | None) -> Sequence[CreditNote]:
        if bill is None:
            return ()
        notes = (await get_story(session, bill=bill.bill)).credits
        return [note for note in notes if note.kind is CreditKind.CORRECTION]

    replaced = []
    for number in numbers:
        old = await get_summary(session, number=number, person_id=person_id)
        new = await summary(found.get(number))
        keeps = bool(await gifts(new))
        replaced.append(Replaced(old=old, new=new, credits=await gifts(old), keeps_credits=keeps))
    return replaced


async def list_billed_readings(
    session: AsyncSession, *, number: str
) -> list[tuple[Key, BilledSpan]]:
    """
    Return the readings that a bill closes on and that somebody made; of a first bill all of them.

    Raises:
        BillNotFound: there is no such bill.
    """
    bill = await lock_bill(session, number=number)
    inputs = await session.scalar(select(Bill.inputs).where(Bill.id == bill.id))
    is_first = await session.scalar(
        select(func.bool_and(Bill.starts_date >= bill.starts_date)).where(
            Bill.agreement_id == bill.agreement_id, Bill.state != BillState.VOID
        )
    )
    spans = read_spans(inputs or {"readings": []})
    return [
        (Key(span.meter_id, span.register, shown.at), span)
        for span in spans
        for shown in ((span.opening, span.closing) if is_first else (span.closing,))
        if not shown.is_estimate
    ]


async def list_proofs(session: AsyncSession, *, bill: Bill) -> list[Proof]:
    """Return what became of every message about a bill, the oldest first."""
    people = (await people_of(session, agreement_ids=[bill.agreement_id])).get(
        bill.agreement_id, []
    )

    def is_about(table: type[Delivery | Unreached]) -> ColumnElement[bool]:
        params = table.params
        return table.kind.in_(PROVEN_KINDS) & or_(
            params["number"].astext == bill.number,
            params["bill"].astext == bill.number,
            params["bills"].contains([bill.number]),
            params["numbers"].contains([bill.number]),
        )

    sent = await session.execute(
        select(
            Delivery.kind,
            Person.name,
            Person.phone,
            Contact.channel,
            Delivery.created_at,
            Delivery.outcome,
            Delivery.sent_at,
            Delivery.seen_at,
        )
        .join(Contact, Contact.id == Delivery.contact_id)
        .join(Person, Person.id == Contact.person_id)
        .where(Contact.person_id.in_(people), is_about(Delivery))
        .order_by(Delivery.id)
        .limit(PROOFS_MAX)
    )
    missed = await session.execute(
        select(Unreached.kind, Person.name, Person.phone, Unreached.at)
        .join(Person, Person.id == Unreached.person_id)
        .where(Unreached.person_id.in_(people), is_about(Unreached))
        .order_by(Unreached.id)
        .limit(PROOFS_MAX)
    )
    proofs = [
        Proof(
            kind=kind,
            person_name=name,
            phone=phone,
            channel=channel,
            at=at,
            outcome=outcome,
            sent_at=sent_at,
            seen_at=seen_at,
        )
        for kind, name, phone, channel, at, outcome, sent_at, seen_at in sent
    ] + [
        Proof(
            kind=kind,
            person_name=name,
            phone=phone,
            channel=None,
            at=at,
            outcome=None,
            sent_at=None,
            seen_at=None,
        )
        for kind, name, phone, at in missed
    ]
    return sorted(proofs, key=lambda proof: proof.at)
