"""Gateways: what each sent day by day, and whether it still speaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import ApiKey
from core.db import SCHEMA
from core.monitoring.gateway_models import GatewayDay, Quarantined
from core.monitoring.models import Meter

SHOWN_DAYS = 7
REASONS_SHOWN = 5
REFUSED_KEPT = timedelta(days=90)

_COUNT = text(
    f"""
    INSERT INTO {SCHEMA}.gateway_days AS d
        (gateway_id, day, received, accepted, duplicate, held, rejected, ahead_seconds, last_at)
    SELECT :gateway, CAST(CAST(:now AS timestamptz) AT TIME ZONE timezone AS date),
        :received, :accepted, :duplicate, :held, :rejected, :ahead, :now
    FROM {SCHEMA}.operator
    ON CONFLICT (gateway_id, day) DO UPDATE SET
        received = d.received + excluded.received, accepted = d.accepted + excluded.accepted,
        duplicate = d.duplicate + excluded.duplicate, held = d.held + excluded.held,
        rejected = d.rejected + excluded.rejected, last_at = excluded.last_at,
        ahead_seconds = greatest(d.ahead_seconds, excluded.ahead_seconds)
    """  # noqa: S608 (a constant)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayView:
    """A gateway, its last days (the newest first), and why it was refused lately, by number."""

    id: int
    name: str
    meters: int
    last_at: datetime | None
    is_revoked: bool
    days: Sequence[GatewayDay]
    reasons: Sequence[tuple[str, int]]


async def count_batch(
    session: AsyncSession,
    counts: Mapping[str, int],
    *,
    gateway_id: int,
    ahead: timedelta,
    now: datetime,
) -> None:
    """Add a batch to what a gateway sent today; `ahead` is how far before ours its clock runs."""
    values = {**counts, "gateway": gateway_id, "ahead": int(ahead.total_seconds()), "now": now}
    await session.execute(_COUNT, values)


async def forget_refused(session: AsyncSession, *, now: datetime) -> None:
    """Remove what was refused long ago; the counts of its days stay."""
    await session.execute(delete(Quarantined).where(Quarantined.received_at < now - REFUSED_KEPT))


async def list_gateways(session: AsyncSession, *, now: datetime) -> list[GatewayView]:
    """Return all gateways by name; revoked ones stay in the list while they own meters."""
    meters = (
        select(func.count())
        .select_from(Meter)
        .where(Meter.gateway_id == ApiKey.id, Meter.removed_at.is_(None))
        .scalar_subquery()
    )
    keys = (
        await session.execute(
            select(ApiKey.id, ApiKey.name, ApiKey.revoked_at, meters.label("meters"))
            .where(ApiKey.scope == "gateway")
            .order_by(ApiKey.name)
        )
    ).all()
    first = now.date() - timedelta(days=SHOWN_DAYS)
    days: dict[int, list[GatewayDay]] = {}
    for day in await session.scalars(
        select(GatewayDay).where(GatewayDay.day >= first).order_by(GatewayDay.day.desc())
    ):
        days.setdefault(day.gateway_id, []).append(day)
    reasons = await _count_reasons(session, since=now - timedelta(days=SHOWN_DAYS))
    last = dict(
        (
            await session.execute(
                select(GatewayDay.gateway_id, func.max(GatewayDay.last_at)).group_by(
                    GatewayDay.gateway_id
                )
            )
        ).all()
    )
    return [
        GatewayView(
            id=key.id,
            name=key.name,
            meters=key.meters,
            last_at=last.get(key.id),
            is_revoked=key.revoked_at is not None,
            days=days.get(key.id, []),
            reasons=reasons.get(key.id, [])[:REASONS_SHOWN],
        )
        for key in keys
        if key.revoked_at is None or key.meters
    ]


async def _count_reasons(
    session: AsyncSession, *, since: datetime
) -> dict[int, list[tuple[str, int]]]:
    rows = await session.execute(
        select(Quarantined.gateway_id, Quarantined.reason, func.count())
        .where(Quarantined.received_at > since, Quarantined.gateway_id.is_not(None))
        .group_by(Quarantined.gateway_id, Quarantined.reason)
        .order_by(func.count().desc(), Quarantined.reason)
    )
    reasons: dict[int, list[tuple[str, int]]] = {}
    for gateway_id, reason, count in rows:
        reasons.setdefault(gateway_id or 0, []).append((reason, count))
    return reasons
