"""What providers say of payments: kept once, and acted on as a whole, in whatever order it came."""

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.service import get_operator
from core.billing.bills import BillNotFound
from core.billing.models import EventKind, Payment, PaymentState, ProviderEvent, SuspenseItem
from core.billing.payment_states import CAME, SaidEvent, Standing, weigh_events
from core.billing.payments import Target, find_target_by_bill, get_payment, record_payment
from core.billing.returns import post_return, reverse_payment, stand_anew
from core.billing.suspense import place_in_suspense, send_back_item
from core.db import lock_for_transaction
from core.errors import DomainError


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent(SaidEvent):
    """An event whose signature was found good; `body` is all of it, as it came."""

    provider: str
    event_id: str
    reference: str
    body: str


async def take_event(session: AsyncSession, event: NewEvent, *, now: datetime) -> None:
    """
    Keep an event and act on all that is known of its payment; said again, it changes nothing.

    What cannot be acted on waits with the reason; money that cannot be placed goes to suspense.
    """
    await lock_for_transaction(session, f"events:{event.provider}:{event.reference}")
    is_new = await session.scalar(
        insert(ProviderEvent)
        .values(**asdict(event), received_at=now)
        .on_conflict_do_nothing(index_elements=["provider", "event_id"])
        .returning(ProviderEvent.id)
    )
    if is_new is not None:
        await act_on_events(session, provider=event.provider, reference=event.reference, now=now)


async def undo_payment(
    session: AsyncSession, *, number: str, reason: str, actor_id: int, now: datetime
) -> None:
    """
    Undo a payment; what its provider gave back of money that is in suspense again goes with it.

    Raises:
        PaymentNotFound, PartlyReturned, AlreadyReversed: as `returns.reverse_payment`.
    """
    await reverse_payment(session, number=number, reason=reason, actor_id=actor_id, now=now)
    payment = await get_payment(session, number=number)
    origin = payment.reference.rpartition("/")[0] or payment.reference
    await act_on_events(session, provider=payment.provider, reference=origin, now=now)


async def act_on_events(
    session: AsyncSession, *, provider: str, reference: str, now: datetime
) -> None:
    """Bring the books to what is known of a payment."""
    ours = (ProviderEvent.provider == provider) & (ProviderEvent.reference == reference)
    columns = (getattr(ProviderEvent, name) for name in SaidEvent.__dataclass_fields__)
    names = tuple(SaidEvent.__dataclass_fields__)
    rows = await session.execute(select(*columns).where(ours))
    standing = weigh_events(SaidEvent(**dict(zip(names, row, strict=True))) for row in rows)
    problem = None
    try:
        async with session.begin_nested():
            await _act(session, provider, reference, standing, now)
    except DomainError as refusal:
        problem = refusal.code
    await session.execute(update(ProviderEvent).where(ours).values(problem=problem))


class PaymentNotHeardOf(DomainError):
    """Money went back of a payment of which no coming was heard yet."""

    code = "payment.not_heard_of"


class DecisionContradicted(DomainError):
    """The provider says that a payment failed which two people took for good."""

    code = "payment.decision_contradicted"


async def _act(
    session: AsyncSession, provider: str, reference: str, standing: Standing, now: datetime
) -> None:
    told = standing.told
    if told is not None:
        await _take_fate(session, provider, reference, told, now)
    has_returns = bool(standing.refunded_minor or standing.charged_back)
    number = await session.scalar(
        select(Payment.number).where(Payment.provider == provider, Payment.reference == reference)
    )
    if number is None:
        if has_returns:
            await _return_item(session, provider, reference, standing, now)
        return
    payment = await get_payment(session, number=number)
    if payment.state not in CAME and has_returns:
        raise PaymentNotHeardOf
    if payment.state in CAME and told is not None and told.kind is EventKind.FAILED:
        raise DecisionContradicted(number=number)
    latest = await _post_returns(session, payment, standing, now)
    if latest is not None:
        await stand_anew(session, payment, kind=latest[0], key=latest[1], now=now)


async def _post_returns(
    session: AsyncSession, payment: Payment, standing: Standing, now: datetime
) -> tuple[str, str] | None:
    """
    Post what went back and is not in the books yet; return the last of it, by kind and name.

    A dispute that was won is one step forth and one back, so that nothing depends on the order.
    """
    steps = [
        (kind, item, amount)
        for item, amount in standing.charged_back.items()
        for kind in ("chargeback", *(["reinstated"] * (item in standing.reinstated)))
    ]
    rest = standing.refunded_minor - payment.refunded_minor
    if rest > 0:
        steps.append(("refund", str(standing.refunded_minor), rest))
    latest = None
    for kind, key, amount in steps:
        if await post_return(session, payment, kind=kind, key=key, amount_minor=amount, now=now):
            latest = kind, key
    return latest


async def _take_fate(
    session: AsyncSession, provider: str, reference: str, told: SaidEvent, now: datetime
) -> None:
    """Record what became of a payment, or put it into suspense when it names no bill of ours."""
    is_ours = told.currency == (await get_operator(session)).currency
    target = await _find_target(session, told) if is_ours else None
    if target is not None:
        await record_payment(
            session,
            provider=provider,
            reference=reference,
            target=target,
            amount_minor=told.amount_minor,
            currency=told.currency,
            received_at=told.at,
            now=now,
            state=PaymentState(told.kind.value),
        )
    elif told.kind is EventKind.SUCCEEDED:
        await place_in_suspense(
            session,
            provider=provider,
            reference=reference,
            amount_minor=told.amount_minor,
            currency=told.currency,
            payer="",
            words=told.order,
            reason="order_not_ours" if is_ours else "currency",
            received_at=told.at,
            now=now,
        )


async def _find_target(session: AsyncSession, told: SaidEvent) -> Target | None:
    try:
        return await find_target_by_bill(session, number=told.order.partition("-")[0])
    except BillNotFound:
        return None


async def _return_item(
    session: AsyncSession, provider: str, reference: str, standing: Standing, now: datetime
) -> None:
    """Give back from suspense what the provider gave back."""
    item = await session.scalar(
        select(SuspenseItem)
        .where(SuspenseItem.provider == provider, SuspenseItem.reference == reference)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if item is None:
        raise PaymentNotHeardOf
    lost = sum(
        amount for name, amount in standing.charged_back.items() if name not in standing.reinstated
    )
    back = standing.refunded_minor + lost - item.returned_minor
    if back:
        await send_back_item(
            session, item, amount_minor=back, reason=provider, actor_id=None, now=now
        )


async def note_problem(
    session: AsyncSession, *, event_id: int, actor_id: int, now: datetime
) -> None:
    """Take an event that could not be acted on off the list: a person has seen to it."""
    await session.execute(
        update(ProviderEvent)
        .where(ProviderEvent.id == event_id, ProviderEvent.problem.is_not(None))
        .values(noted_by_id=actor_id)
    )
    audit.record(
        session, at=now, actor_id=actor_id, action="event.noted", subject=f"event:{event_id}"
    )
