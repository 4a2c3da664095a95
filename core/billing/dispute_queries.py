"""Objections as people look at them, and how long they stopped whose clocks. Only reads."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core.accounts.models import (
    Account,
    AccountRight,
    Agreement,
    Person,
    Premise,
    Service,
    ServicePoint,
)
from core.billing.correction_models import Dispute, DisputeState, Ground
from core.billing.dispute_rules import Pause
from core.billing.disputes import DisputeNotFound
from core.billing.models import Bill
from core.billing.queries import with_party
from core.monitoring.models import Meter, Reading, ReadingStatus
from core.monitoring.rows import Key

SHOWN_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeView:
    """
    An objection with what it is about and who answers it. Units: minor units.

    `is_late` tells that the promised day passed; `right_value` is what the register showed by
    what is accepted now.
    """

    id: int
    number: str
    service: Service
    account_number: str
    address: str
    bill_number: str | None
    total_minor: int | None
    currency: str | None
    serial: str | None
    key: Key | None
    value: Decimal | None
    ground: Ground
    words: str
    person_id: int
    person_name: str
    phone: str | None
    opened_at: datetime
    responsible: str | None
    promised_date: date
    delay: str | None
    state: DisputeState
    answer: str | None
    answered_at: datetime | None
    answered_by: str | None
    is_late: bool
    right_value: Decimal | None


_MAKER = aliased(Person)
_RESPONSIBLE = aliased(Person)
_ANSWERING = aliased(Person)


def _views() -> Select[
    Dispute,
    Service,
    str,
    str,
    str | None,
    int | None,
    str | None,
    str | None,
    str,
    str | None,
    str | None,
    str | None,
    Decimal | None,
]:
    query = select(
        Dispute,
        ServicePoint.service,
        Account.number,
        Premise.address,
        Bill.number,
        Bill.total_minor,
        Bill.currency,
        Meter.serial,
        _MAKER.name,
        _MAKER.phone,
        _RESPONSIBLE.name,
        _ANSWERING.name,
        Reading.value,
    ).join(Agreement, Agreement.id == Dispute.agreement_id)
    return (
        with_party(query)
        .join(_MAKER, _MAKER.id == Dispute.person_id)
        .outerjoin(Bill, Bill.id == Dispute.bill_id)
        .outerjoin(Meter, Meter.id == Dispute.meter_id)
        .outerjoin(
            Reading,
            (Reading.meter_id == Dispute.meter_id)
            & (Reading.register == Dispute.register)
            & (Reading.taken_at == Dispute.taken_at)
            & (Reading.status == ReadingStatus.ACCEPTED),
        )
        .outerjoin(_RESPONSIBLE, _RESPONSIBLE.id == Dispute.responsible_id)
        .outerjoin(_ANSWERING, _ANSWERING.id == Dispute.answered_by_id)
    )


def _view(
    row: Row[
        Dispute,
        Service,
        str,
        str,
        str | None,
        int | None,
        str | None,
        str | None,
        str,
        str | None,
        str | None,
        str | None,
        Decimal | None,
    ],
) -> DisputeView:
    found, service, account, address, bill, total, currency, serial, *_ = row
    name, phone, by, answering, right = row[8:]
    key = None
    if found.meter_id is not None and found.register and found.taken_at is not None:
        key = Key(found.meter_id, found.register, found.taken_at)
    return DisputeView(
        id=found.id,
        number=found.number,
        service=service,
        account_number=account,
        address=address,
        bill_number=bill,
        total_minor=total,
        currency=currency,
        serial=serial,
        key=key,
        value=found.value,
        ground=found.ground,
        words=found.words,
        person_id=found.person_id,
        person_name=name,
        phone=phone,
        opened_at=found.opened_at,
        responsible=by,
        promised_date=found.promised_date,
        delay=found.delay,
        state=found.state,
        answer=found.answer,
        answered_at=found.answered_at,
        answered_by=answering,
        is_late=found.told_late_at is not None,
        right_value=right,
    )


async def list_open(session: AsyncSession) -> list[DisputeView]:
    """Return the objections that wait for an answer, the one promised first at the top."""
    rows = await session.execute(
        _views()
        .where(Dispute.state == DisputeState.OPEN)
        .order_by(Dispute.promised_date, Dispute.id)
        .limit(SHOWN_MAX)
    )
    return [_view(row) for row in rows]


async def get_dispute(session: AsyncSession, *, number: str, person_id: int | None) -> DisputeView:
    """
    Return an objection on a person's account, or any for the staff (`person_id` empty).

    Raises:
        DisputeNotFound: there is none.
    """
    query = _views().where(Dispute.number == number)
    if person_id is not None:
        query = query.join(AccountRight, AccountRight.account_id == Account.id).where(
            AccountRight.person_id == person_id
        )
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise DisputeNotFound(number=number)
    return _view(row)


async def find_of_bill(session: AsyncSession, *, bill_id: int) -> DisputeView | None:
    """Return the latest objection to a bill, if there is one."""
    row = (
        await session.execute(
            _views().where(Dispute.bill_id == bill_id).order_by(Dispute.id.desc()).limit(1)
        )
    ).one_or_none()
    return None if row is None else _view(row)


async def find_pauses(session: AsyncSession, *, bill_ids: Iterable[int]) -> dict[int, list[Pause]]:
    """Return for how long objections stopped the clocks of these bills."""
    pauses: dict[int, list[Pause]] = {}
    for bill_id, opened_at, answered_at in await session.execute(
        select(Dispute.bill_id, Dispute.opened_at, Dispute.answered_at)
        .where(Dispute.bill_id.in_(sorted(set(bill_ids))))
        .order_by(Dispute.id)
    ):
        if bill_id is not None:
            pauses.setdefault(bill_id, []).append(Pause(opened_at, answered_at))
    return pauses


def is_disputed(pauses: Iterable[Pause]) -> bool:
    """Tell whether one of these objections is still open."""
    return any(pause.until is None for pause in pauses)


async def has_open_dispute(session: AsyncSession, *, agreement_id: int) -> bool:
    """Tell whether an objection to any bill or reading of an agreement waits for its answer."""
    found = select(Dispute.id).where(
        Dispute.agreement_id == agreement_id, Dispute.state == DisputeState.OPEN
    )
    return await session.scalar(found.limit(1)) is not None
