"""
Money meets bills: what came in is put to what is open, the oldest first.

Supply stands above billing and yet has to give back, in the same transaction, what was cut for a
debt that shrank. So it asks here to be told, once, when it is loaded.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import BigInteger, Date, Row, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Agreement
from core.billing.models import Allocation, Bill, BillState, Payment
from core.billing.payment_states import CAME
from core.monitoring.rows import is_among

# The order in which payments reach bills: as the money came in, not as we heard of it.
IN_TURN = (Payment.received_at, Payment.provider, Payment.reference)

Listener = Callable[[AsyncSession, Collection[int], datetime], Awaitable[None]]
_listeners: list[Listener] = []


def tell_of_debts(listener: Listener) -> None:
    """Have a function called whenever debts may have shrunk, in the same transaction."""
    _listeners.append(listener)


async def reconsider_debts(
    session: AsyncSession, *, agreement_ids: Collection[int], now: datetime
) -> None:
    """
    Let everybody who acts on debts look again at those of these agreements.

    Raises:
        RuntimeError: nobody asked to be told, so a cut would outlive its debt.
    """
    if not _listeners:
        raise RuntimeError
    for listener in _listeners:
        await listener(session, agreement_ids, now)


@dataclass(frozen=True, slots=True)
class OpenBill:
    """A bill that is not settled yet; `left_minor` is what remains to pay."""

    bill_id: int
    agreement_id: int
    number: str
    due_date: date
    currency: str
    left_minor: int


async def lock_agreements(session: AsyncSession, *, agreement_ids: Iterable[int]) -> None:
    """Hold agreements until the transaction ends: their bills and money change one at a time."""
    await session.execute(
        select(Agreement.id)
        .where(is_among(Agreement.id, set(agreement_ids)))
        .order_by(Agreement.id)
        .with_for_update(key_share=True)
    )


async def list_open_bills(session: AsyncSession, *, agreement_ids: Iterable[int]) -> list[OpenBill]:
    """Return the bills that have to be paid, of each agreement the oldest first."""
    paid = func.coalesce(func.sum(Allocation.amount_minor), 0)
    rows = await session.execute(
        select(
            Bill.id,
            Bill.agreement_id,
            Bill.number,
            cast(Bill.due_date, Date),  # an issued bill has one, says the database
            Bill.currency,
            cast(Bill.total_minor - Bill.credited_minor - paid, BigInteger),
        )
        .outerjoin(Allocation, Allocation.bill_id == Bill.id)
        .where(Bill.agreement_id.in_(sorted(set(agreement_ids))), Bill.state == BillState.ISSUED)
        .group_by(Bill.id)
        .order_by(Bill.agreement_id, Bill.due_date, Bill.id)
    )
    return [OpenBill(*row) for row in rows]


async def _list_credits(
    session: AsyncSession, agreement_ids: Iterable[int]
) -> Sequence[Row[int, int, int | None, int]]:
    """Return payments not used up: id, agreement, the bill that was meant, what is left."""
    used = func.coalesce(func.sum(Allocation.amount_minor), 0)
    rows = await session.execute(
        select(
            Payment.id,
            Payment.agreement_id,
            Payment.bill_id,
            cast(Payment.kept_minor - used, BigInteger),
        )
        .outerjoin(Allocation, Allocation.payment_id == Payment.id)
        .where(
            is_among(Payment.agreement_id, set(agreement_ids)),
            Payment.state.in_(CAME),
        )
        .group_by(Payment.id)
        .having(Payment.kept_minor > used)
        .order_by(*IN_TURN)
    )
    return rows.all()


async def list_creditors(session: AsyncSession, *, agreement_ids: Iterable[int]) -> set[int]:
    """Return those of the agreements that have money which is put to no bill."""
    return {row.agreement_id for row in await _list_credits(session, agreement_ids)}


async def settle(
    session: AsyncSession, *, agreement_ids: Iterable[int], now: datetime
) -> frozenset[int]:
    """
    Put all unused money of these agreements to their open bills and return which were settled.

    A payment goes to the bill that its payer named, then to the oldest; the rest stays credit.
    Whoever acts on debts is told. The caller holds the agreements locked.
    """
    agreements = set(agreement_ids)
    bills = await list_open_bills(session, agreement_ids=agreements)
    left = {bill.bill_id: bill.left_minor for bill in bills}
    allocations = []
    for payment_id, agreement_id, meant, credit in await _list_credits(session, agreements):
        rest = credit
        ours = [bill.bill_id for bill in bills if bill.agreement_id == agreement_id]
        for bill_id in sorted(ours, key=lambda bill_id: bill_id != meant):
            amount = min(rest, left[bill_id])
            if amount > 0:
                allocations.append(
                    {"payment_id": payment_id, "bill_id": bill_id, "amount_minor": amount}
                )
                left[bill_id] -= amount
                rest -= amount
    if allocations:
        added = insert(Allocation)
        await session.execute(
            added.on_conflict_do_update(
                index_elements=["payment_id", "bill_id"],
                set_={"amount_minor": Allocation.amount_minor + added.excluded.amount_minor},
            ),
            allocations,
        )
    settled = frozenset(bill_id for bill_id, amount in left.items() if amount <= 0)
    if settled:
        await session.execute(
            update(Bill)
            .where(Bill.id.in_(settled))
            .values(state=BillState.SETTLED, settled_at=now)
            .execution_options(synchronize_session=False)
        )
    await reconsider_debts(session, agreement_ids=agreements, now=now)
    return settled


async def free_excess(session: AsyncSession, *, bill_id: int, amount_max: int) -> None:
    """Take back what payments gave a bill beyond an amount, from the latest payment first."""
    paid = await session.execute(
        select(Allocation.payment_id, Allocation.amount_minor)
        .where(Allocation.bill_id == bill_id)
        .order_by(Allocation.payment_id)
    )
    left = amount_max
    for payment_id, amount in paid.all():
        kept = min(amount, left)
        left -= kept
        this = (Allocation.bill_id == bill_id) & (Allocation.payment_id == payment_id)
        if kept == 0:
            await session.execute(delete(Allocation).where(this))
        elif kept < amount:
            await session.execute(update(Allocation).where(this).values(amount_minor=kept))


async def settle_anew(session: AsyncSession, *, agreement_id: int, now: datetime) -> None:
    """
    Put all money of an agreement to its bills from the first, as if all was known in time.

    Needed when money went back, so that bills open again, and when an earlier payment is heard of
    after a later one. The caller holds the agreement locked.
    """
    ours = select(Bill.id).where(Bill.agreement_id == agreement_id)
    was = dict(
        (
            await session.execute(
                update(Bill)
                .where(
                    Bill.id.in_(select(Allocation.bill_id).where(Allocation.bill_id.in_(ours))),
                    Bill.state == BillState.SETTLED,
                )
                .values(state=BillState.ISSUED)
                .returning(Bill.id, Bill.settled_at)
                .execution_options(synchronize_session=False)
            )
        ).all()
    )
    await session.execute(delete(Allocation).where(Allocation.bill_id.in_(ours)))
    settled = await settle(session, agreement_ids=[agreement_id], now=now)
    for bill_id, settled_at in was.items():
        await session.execute(
            update(Bill)
            .where(Bill.id == bill_id)
            .values(settled_at=settled_at if bill_id in settled else None)
            .execution_options(synchronize_session=False)
        )
