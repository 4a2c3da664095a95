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
from core.billing.payment_states import CAME, SaidEvent, fit_refunds, weigh_events
from core.billing.payments import (
    PaymentConflict,
    Target,
    find_target_by_bill,
    get_payment,
    record_payment,
)
from core.billing.returns import (
    RefundTooLarge,
    Step,
    is_reversed,
    post_return,
    reverse_payment,
    stand_anew,
)
from core.billing.suspense import place_in_suspense, send_back_item
from core.db import lock_for_transaction
from core.errors import DomainError
from core.money import Money

# The bank took back what was refunded: it is in the books, and a person has to claim it.
RETURNED_TWICE = "payment.returned_twice"


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
        DomainError: as `returns.reverse_payment`.
    """
    await reverse_payment(session, number=number, reason=reason, actor_id=actor_id, now=now)
    payment = await get_payment(session, number=number)
    origin = payment.reference.rpartition("/")[0] or payment.reference
    await act_on_events(session, provider=payment.provider, reference=origin, now=now)


async def act_on_events(
    session: AsyncSession, *, provider: str, reference: str, now: datetime
) -> None:
    """
    Bring the books to what is known of a payment.

    Only what cannot be acted on is kept from it, each event with its own reason.
    """
    ours = (ProviderEvent.provider == provider) & (ProviderEvent.reference == reference)
    names = tuple(SaidEvent.__dataclass_fields__)
    columns = (getattr(ProviderEvent, name) for name in names)
    rows = (await session.execute(select(ProviderEvent.id, *columns).where(ours))).all()
    said = {row[0]: SaidEvent(**dict(zip(names, row[1:], strict=True))) for row in rows}
    heard = _Heard(provider=provider, reference=reference, said=frozenset(said.values()), now=now)
    blamed = await _take_fate(session, heard)
    blamed |= await _take_returns(session, heard)
    for event_id, event in said.items():
        await session.execute(
            update(ProviderEvent)
            .where(ProviderEvent.id == event_id)
            .values(problem=blamed.get(event))
        )


class PaymentNotHeardOf(DomainError):
    """Money went back of a payment of which no coming was heard yet."""

    code = "payment.not_heard_of"


class DecisionContradicted(DomainError):
    """The provider says that a payment failed which two people took for good."""

    code = "payment.decision_contradicted"


class UndoneAtDesk(DomainError):
    """The provider says that a payment came which the desk undid as a mistake."""

    code = "payment.undone_at_desk"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """All that was heard of a payment."""

    provider: str
    reference: str
    said: frozenset[SaidEvent]
    now: datetime

    def of(self, *kinds: EventKind) -> list[SaidEvent]:
        return [event for event in self.said if event.kind in kinds]

    @property
    def returns(self) -> list[SaidEvent]:
        return self.of(EventKind.REFUNDED, EventKind.CHARGED_BACK, EventKind.REINSTATED)


_Blamed = dict[SaidEvent, str]


async def _take_fate(session: AsyncSession, heard: _Heard) -> _Blamed:
    """Record what became of a payment, and tell what contradicts that."""
    told = weigh_events(heard.said).told
    payment, item = await _find_books(session, heard)
    if told is not None and item is None and (payment is None or payment.state not in CAME):
        try:
            async with session.begin_nested():
                await _record_fate(session, heard, told, payment)
        except DomainError as refusal:
            return {told: refusal.code}
        payment, item = await _find_books(session, heard)
    came = heard.of(EventKind.SUCCEEDED)
    if payment is not None and payment.state in CAME:
        failed = [] if came else heard.of(EventKind.FAILED)
        blamed = dict.fromkeys(failed, DecisionContradicted.code)
        if came and await is_reversed(session, number=payment.number):
            return dict.fromkeys(came, UndoneAtDesk.code)
        for event in came:
            target = await _find_target(session, event)
            meant = None if target is None else (target.agreement_id, target.bill_id)
            kept = (payment.agreement_id, payment.bill_id)
            if (meant, *_money(event)) != (kept, payment.amount_minor, payment.currency):
                blamed[event] = PaymentConflict.code
        return blamed
    if item is None:
        return {}
    kept_as = (item.words, item.amount_minor, item.currency)
    return {
        event: PaymentConflict.code for event in came if (event.order, *_money(event)) != kept_as
    }


def _money(event: SaidEvent) -> tuple[int, str]:
    return event.amount_minor, event.currency


async def _find_books(
    session: AsyncSession, heard: _Heard
) -> tuple[Payment | None, SuspenseItem | None]:
    """Return the payment of this reference, and the money that waits or waited under it."""
    payment = await session.scalar(
        select(Payment)
        .where(Payment.provider == heard.provider, Payment.reference == heard.reference)
        .execution_options(populate_existing=True)
    )
    item = await session.scalar(
        select(SuspenseItem)
        .where(SuspenseItem.provider == heard.provider, SuspenseItem.reference == heard.reference)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return payment, item


async def _record_fate(
    session: AsyncSession, heard: _Heard, told: SaidEvent, payment: Payment | None
) -> None:
    """Record a payment, or put its money into suspense when it names no bill of ours."""
    is_ours = told.currency == (await get_operator(session)).currency
    target = await _find_target(session, told) if is_ours else None
    if target is not None:
        await record_payment(
            session,
            provider=heard.provider,
            reference=heard.reference,
            target=target,
            amount_minor=told.amount_minor,
            currency=told.currency,
            received_at=told.at,
            now=heard.now,
            state=PaymentState(told.kind.value),
        )
    elif told.kind is EventKind.SUCCEEDED:
        if payment is not None:  # the money came, but not for the bill that it was begun for
            payment.state = PaymentState.FAILED
        await place_in_suspense(
            session,
            provider=heard.provider,
            reference=heard.reference,
            amount_minor=told.amount_minor,
            currency=told.currency,
            payer="",
            words=told.order,
            reason="order_not_ours" if is_ours else "currency",
            received_at=told.at,
            now=heard.now,
        )


async def _take_returns(session: AsyncSession, heard: _Heard) -> _Blamed:
    """Post what went back; return what could not be acted on."""
    if not heard.returns:
        return {}
    payment, item = await _find_books(session, heard)
    try:
        async with session.begin_nested():
            if payment is not None and payment.state in CAME:
                payment = await get_payment(session, number=payment.number)
                return await _post_returns(session, payment, heard)
            if item is not None:
                return await _return_item(session, item, heard)
            raise PaymentNotHeardOf
    except DomainError as refusal:
        return dict.fromkeys(heard.returns, refusal.code)


async def _post_returns(session: AsyncSession, payment: Payment, heard: _Heard) -> _Blamed:
    """
    Post what went back and is not in the books yet.

    A dispute that was won is one step forth and one back, so that nothing depends on the order.
    A refund that turns out too much beside others comes again in the books.
    """
    if await is_reversed(session, number=payment.number):
        raise RefundTooLarge(left=Money(payment.kept_minor, payment.currency))
    standing = weigh_events(heard.said)
    refunded, unfit = fit_refunds(heard.said, came_minor=payment.amount_minor)
    blamed = dict.fromkeys(unfit, RefundTooLarge.code)
    steps = [
        Step(kind, item, amount)
        for item, amount in standing.charged_back.items()
        for kind in ("chargeback", *(["reinstated"] * (item in standing.reinstated)))
    ]
    if rest := refunded - payment.refunded_minor:
        steps.append(Step("refund", f"{refunded}/{len(heard.said)}", rest))
    posted = []
    for step in steps:
        try:
            if await post_return(session, payment, step, now=heard.now):
                posted.append(step)
        except DomainError as refusal:
            blamed |= {each: refusal.code for each in heard.returns if each.item == step.key}
    if posted:
        await stand_anew(session, payment, steps=posted, now=heard.now)
    if payment.kept_minor < 0:
        lost = heard.of(EventKind.CHARGED_BACK)
        blamed |= {each: RETURNED_TWICE for each in lost if each.item not in standing.reinstated}
    return blamed


async def _find_target(session: AsyncSession, told: SaidEvent) -> Target | None:
    try:
        return await find_target_by_bill(session, number=told.order.partition("-")[0])
    except BillNotFound:
        return None


async def _return_item(session: AsyncSession, item: SuspenseItem, heard: _Heard) -> _Blamed:
    """Give back from suspense what the provider gave back, as far as it still waits there."""
    standing = weigh_events(heard.said)
    refunded, unfit = fit_refunds(heard.said, came_minor=item.amount_minor)
    lost = sum(
        amount for name, amount in standing.charged_back.items() if name not in standing.reinstated
    )
    wanted = refunded + lost - item.returned_minor
    if back := min(wanted, item.left_minor):
        await send_back_item(
            session,
            item,
            amount_minor=back,
            reason=heard.provider,
            actor_id=None,
            now=heard.now,
        )
    return dict.fromkeys(heard.returns if wanted > back else unfit, RefundTooLarge.code)


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
