"""By when an objection is answered: put off with a reason, and owned up to when it is late."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.models import Role
from core.accounts.service import get_operator, list_staff
from core.billing.correction_models import Dispute, DisputeState
from core.billing.disputes import lock_open, tell_people
from core.errors import DomainError
from core.notices import service as notices
from core.periods import local_day

LONGER_DAYS_MAX = 30


class NotSoLong(DomainError):
    """An answer is put off by a few days, not for ever."""

    code = "dispute.not_so_long"


async def postpone(
    session: AsyncSession, *, number: str, days: int, reason: str, actor_id: int, now: datetime
) -> None:
    """
    Put the promised day off and tell the people why; who does it answers from now on.

    Raises:
        DisputeNotFound, DisputeClosed, OwnDispute: see each.
        NotSoLong: it is put off by no day, or by too many.
    """
    dispute = await lock_open(session, number, actor_id=actor_id)
    if not 0 < days <= LONGER_DAYS_MAX:
        raise NotSoLong(most=LONGER_DAYS_MAX)
    today = local_day(now, zone=ZoneInfo((await get_operator(session)).timezone))
    dispute.promised_date = max(dispute.promised_date, today) + timedelta(days=days)
    dispute.promise_moves += 1
    dispute.delay, dispute.responsible_id, dispute.told_late_at = reason, actor_id, None
    await session.flush()
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action="dispute.postponed",
        subject=f"dispute:{number}",
        promised=dispute.promised_date.isoformat(),
        reason=reason,
    )
    suffix = f":{dispute.promise_moves}"
    await tell_people(
        session, number, dispute.agreement_id, kind="dispute.delayed", now=now, suffix=suffix
    )


async def tell_late(session: AsyncSession, *, now: datetime) -> None:
    """Tell people once that the promised day passed without an answer, and remind managers."""
    today = local_day(now, zone=ZoneInfo((await get_operator(session)).timezone))
    late = await session.execute(
        update(Dispute)
        .where(
            Dispute.state == DisputeState.OPEN,
            Dispute.promised_date < today,
            Dispute.told_late_at.is_(None),
        )
        .values(told_late_at=now)
        .returning(Dispute.number, Dispute.agreement_id, Dispute.promised_date)
        .execution_options(synchronize_session=False)
    )
    managers = await list_staff(session, role=Role.MANAGER)
    for number, agreement_id, promised in late.all():
        suffix = f":{promised.isoformat()}"
        await tell_people(
            session, number, agreement_id, kind="dispute.late", now=now, suffix=suffix
        )
        await notices.enqueue(
            session,
            person_ids=managers,
            kind="dispute.new",
            params={"number": number},
            dedupe_key=f"dispute.new:{number}{suffix}",
            now=now,
        )
