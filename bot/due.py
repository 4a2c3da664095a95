"""What may be sent now, and what a newer message makes needless."""

from sqlalchemy import Exists, Select, bindparam, or_, select
from sqlalchemy.orm import aliased

from core.notices.models import Delivery, Outcome

OPEN = (Outcome.DUE, Outcome.POSTPONED)


def has_newer_drawing() -> Exists:
    """Tell whether the same card is due again: each is drawn as things stand when it is sent."""
    newer = aliased(Delivery)
    return (
        select(newer.id)
        .where(
            newer.contact_id == Delivery.contact_id,
            newer.card == Delivery.card,
            newer.id > Delivery.id,
            newer.outcome.in_(OPEN),
        )
        .exists()
    )


def _next_due() -> Select[int, int, int]:
    """Return the query for what may be sent now: in a lane, a chat's messages keep their order."""
    earlier = aliased(Delivery)
    now = bindparam("now", type_=Delivery.due_at.type)
    waits_for_earlier = (
        select(earlier.id)
        .where(
            earlier.contact_id == Delivery.contact_id,
            earlier.lane == Delivery.lane,
            earlier.id < Delivery.id,
            earlier.outcome.in_((*OPEN, Outcome.SENDING)),
            or_(earlier.due_at <= now, earlier.outcome != Outcome.DUE),
        )
        .exists()
    )
    return (
        select(Delivery.id, Delivery.contact_id, Delivery.lane)
        .where(
            Delivery.outcome.in_(OPEN),
            Delivery.due_at <= now,
            Delivery.lane.in_(bindparam("lanes", expanding=True)),
            Delivery.contact_id.notin_(bindparam("busy", expanding=True)),
            ~waits_for_earlier,
        )
        .order_by(Delivery.lane, Delivery.id)
        .limit(bindparam("count"))
    )


NEXT_DUE = _next_due()
