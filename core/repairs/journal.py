"""Writing down what happens on a repair. Callers own the transaction."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from core.repairs.models import Attachment, Repair, RepairEvent
from core.repairs.workflow import State


async def record_event(
    session: AsyncSession,
    *,
    repair: Repair,
    kind: str,
    actor_id: int | None,
    now: datetime,
    state: State | None = None,
    promised_at: datetime | None = None,
    photo_ref: str = "",
    details: Mapping[str, object] | None = None,
) -> RepairEvent:
    """Add an event to a repair's history, with its photo; empty details are left out."""
    event = RepairEvent(
        repair_id=repair.id,
        at=now,
        actor_id=actor_id,
        kind=kind,
        state=state,
        promised_at=promised_at,
        details={
            name: str(value) for name, value in (details or {}).items() if value not in {None, ""}
        },
    )
    session.add(event)
    await session.flush()
    if photo_ref:
        session.add(
            Attachment(
                repair_id=repair.id,
                event_id=event.id,
                channel_ref=photo_ref,
                media_type="image/jpeg",
            )
        )
        await session.flush()
    return event
