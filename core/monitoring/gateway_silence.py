"""Silent gateways: one notice to managers, repeated until one of them takes it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, extract, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts import service as accounts
from core.accounts.models import ApiKey, Person, Role, Staff
from core.errors import DomainError
from core.monitoring.gateway_models import GatewayDay, GatewaySilence, GatewayWatch, Hearing
from core.monitoring.models import Alarm, Meter, Quantity
from core.monitoring.silence_rules import is_gateway_silent
from core.notices import service as notices
from core.notices.models import Lane

LOOK_EVERY = timedelta(minutes=10)
# Who did not look for so long was away himself.
BREAK = timedelta(hours=2)
REMIND_EVERY = timedelta(hours=4)


class SilenceNotFound(DomainError):
    """There is no such silence, it is over, or this person is no manager."""

    code = "silence.not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceView:
    """A silence as managers see it; without a name it is that of all gateways."""

    silence: GatewaySilence
    name: str | None
    taken_by: str | None


class _Gateway(NamedTuple):
    """
    What is known of a gateway at a look.

    Of its `unheard` meters those are `silent` that had their time since our last break (`since`).
    """

    id: int
    last_at: datetime
    since: datetime
    meters: int
    silent: int
    unheard: int
    unheard_since: datetime | None
    allowed: timedelta | None

    def is_whole(self, now: datetime) -> bool:
        """Tell whether nothing at all comes from it."""
        return self.allowed is not None and now - max(self.last_at, self.since) > self.allowed

    def stays_whole(self, now: datetime) -> bool:
        """Tell whether that goes on: our own breaks count no more, only what was heard."""
        return self.allowed is None or now - self.last_at > self.allowed

    def is_silent(self, now: datetime) -> bool:
        """Tell whether it has fallen silent, whole or in a part."""
        return self._is(self.silent, now - max(self.last_at, self.since))

    def stays_silent(self, now: datetime) -> bool:
        """Tell whether that goes on, as `stays_whole`."""
        return self._is(self.unheard, now - self.last_at)

    def _is(self, silent: int, unheard_for: timedelta) -> bool:
        return is_gateway_silent(
            meters=self.meters, silent=silent, unheard_for=unheard_for, allowed=self.allowed
        )


async def look_at_gateways(session: AsyncSession, *, now: datetime) -> None:
    """
    Find gateways that fell silent or speak again, unless somebody looked a moment ago.

    The caller holds the lock. When all are silent, it is told once: that is more likely our side.
    """
    newest = await session.scalar(select(func.max(GatewayWatch.looked_at)))
    if newest is not None and now - newest < LOOK_EVERY:
        return
    is_break = newest is None or now - newest > BREAK
    since = now if is_break else None
    gateways = {each.id: each for each in await _load(session, since=since, now=now)}
    rows = await session.scalars(
        select(GatewaySilence).where(GatewaySilence.ended_at.is_(None)).with_for_update()
    )
    running = {silence.gateway_id: silence for silence in rows}
    over = {key for key in running if _is_over(key, gateways, now=now)}
    for gateway_id, silence in running.items():
        if gateway_id in over:
            is_gone = gateway_id is not None and gateway_id not in gateways
            await _end(session, silence, is_told=not is_gone, now=now)
        elif silence.taken_at is None and now - silence.told_at >= REMIND_EVERY:
            silence.told_at = now
            await _tell(session, silence, "silence.again", now=now)
    if len(gateways) > 1 and all(each.is_whole(now) for each in gateways.values()):
        begun: dict[int | None, list[_Gateway]] = {None: list(gateways.values())}
    else:
        begun = {each.id: [each] for each in gateways.values() if each.is_silent(now)}
    if None in over:
        begun.clear()  # the meters behind them have not been listened to yet
    for gateway_id in begun.keys() - running.keys():
        await _begin(session, gateway_id, begun[gateway_id], now=now)
    anew = gateways.keys() if is_break or None in over else over
    await _keep_watches(session, gateways, anew=anew, now=now)


def _is_over(gateway_id: int | None, gateways: Mapping[int, _Gateway], *, now: datetime) -> bool:
    """Tell whether a silence has ended: data came, or nobody expects any from there."""
    if gateway_id is None:
        return not all(each.stays_whole(now) for each in gateways.values())
    return gateway_id not in gateways or not gateways[gateway_id].stays_silent(now)


async def _load(session: AsyncSession, *, since: datetime | None, now: datetime) -> list[_Gateway]:
    """Return the gateways that have spoken and own meters; `since` replaces what is known of it."""
    last = (
        select(GatewayDay.gateway_id, func.max(GatewayDay.last_at).label("last_at"))
        .group_by(GatewayDay.gateway_id)
        .subquery()
    )
    watched_since = literal(since) if since else func.coalesce(GatewayWatch.since, now)
    is_counted = Hearing.heard_at.is_not(None) & Alarm.id.is_(None)  # no repair of its own yet

    def passed(moment: ColumnElement[Any]) -> ColumnElement[bool]:
        return is_counted & (extract("epoch", now - moment) > Hearing.allowed_seconds)

    unheard = passed(Hearing.heard_at.expression)
    rows = await session.execute(
        select(
            ApiKey.id,
            last.c.last_at,
            watched_since,
            func.count().filter(is_counted),
            func.count().filter(passed(func.greatest(Hearing.heard_at, watched_since))),
            func.count().filter(unheard),
            func.max(Hearing.heard_at).filter(unheard),  # since then all of them are silent
            func.min(Hearing.allowed_seconds).filter(is_counted),
        )
        .join(last, last.c.gateway_id == ApiKey.id)
        .join(Meter, (Meter.gateway_id == ApiKey.id) & Meter.removed_at.is_(None))
        .outerjoin(Hearing, Hearing.meter_id == Meter.id)
        .outerjoin(GatewayWatch, GatewayWatch.gateway_id == ApiKey.id)
        .outerjoin(
            Alarm,
            (Alarm.meter_id == Meter.id)
            & (Alarm.quantity == Quantity.SILENCE)
            & Alarm.ended_at.is_(None),
        )
        .where(ApiKey.revoked_at.is_(None))
        .group_by(ApiKey.id, last.c.last_at, GatewayWatch.since)
        .order_by(ApiKey.id)
    )
    return [
        _Gateway._make([*known, None if seconds is None else timedelta(seconds=seconds)])
        for *known, seconds in rows
    ]


async def _begin(
    session: AsyncSession, gateway_id: int | None, gateways: list[_Gateway], *, now: datetime
) -> None:
    whole = all(each.is_whole(now) for each in gateways)
    meters = sum(each.meters for each in gateways)
    begins = max(each.last_at if whole else each.unheard_since or now for each in gateways)
    silence = GatewaySilence(
        gateway_id=gateway_id,
        meters=meters,
        silent=meters if whole else sum(each.silent for each in gateways),
        began_at=begins,
        found_at=now,
        told_at=now,
    )
    session.add(silence)
    await session.flush()
    await _draw(session, silence, now=now)


async def _end(
    session: AsyncSession, silence: GatewaySilence, *, is_told: bool, now: datetime
) -> None:
    silence.ended_at = now
    await session.flush()
    await _draw(session, silence, now=now)
    if is_told:
        await _tell(session, silence, "silence.over", now=now)


async def _keep_watches(
    session: AsyncSession,
    gateway_ids: Iterable[int],
    *,
    anew: Collection[int | None],
    now: datetime,
) -> None:
    for gateway_id in gateway_ids:
        fresh = {"since": now} if gateway_id in anew else {}
        await session.execute(
            insert(GatewayWatch)
            .values(gateway_id=gateway_id, looked_at=now, since=now)
            .on_conflict_do_update(index_elements=["gateway_id"], set_={"looked_at": now, **fresh})
        )


async def _draw(session: AsyncSession, silence: GatewaySilence, *, now: datetime) -> None:
    """Have the managers' card drawn, for the first time or again."""
    version = sum(moment is not None for moment in (silence.taken_at, silence.ended_at))
    await notices.refresh_card(
        session,
        person_ids=await accounts.list_staff(session, role=Role.MANAGER),
        kind="silence.gateway",
        params={"silence": silence.id},
        card=f"silence:{silence.id}",
        version=version,
        now=now,
    )


async def _tell(
    session: AsyncSession, silence: GatewaySilence, kind: str, *, now: datetime
) -> None:
    await notices.enqueue(
        session,
        person_ids=await accounts.list_staff(session, role=Role.MANAGER),
        kind=kind,
        params={"silence": silence.id},
        dedupe_key=f"{kind}:{silence.id}:{now.isoformat()}",
        now=now,
        lane=Lane.URGENT,
    )


async def list_silent(session: AsyncSession) -> set[int | None]:
    """Return the gateways that are silent now; nothing in it means all."""
    return set(
        await session.scalars(
            select(GatewaySilence.gateway_id).where(GatewaySilence.ended_at.is_(None))
        )
    )


async def list_silences(session: AsyncSession) -> list[SilenceView]:
    """Return the silences that are not over, the oldest first."""
    ids = await session.scalars(
        select(GatewaySilence.id)
        .where(GatewaySilence.ended_at.is_(None))
        .order_by(GatewaySilence.id)
    )
    return [await get_silence(session, silence_id=silence_id) for silence_id in ids]


async def get_silence(session: AsyncSession, *, silence_id: int) -> SilenceView:
    """Return a silence, for a message that was decided before."""
    row = await session.execute(
        select(GatewaySilence, ApiKey.name, Person.name)
        .outerjoin(ApiKey, ApiKey.id == GatewaySilence.gateway_id)
        .outerjoin(Person, Person.id == GatewaySilence.taken_by_id)
        .where(GatewaySilence.id == silence_id)
        .execution_options(populate_existing=True)
    )
    silence, name, taken_by = row.one()
    return SilenceView(silence=silence, name=name, taken_by=taken_by)


async def take_silence(
    session: AsyncSession, *, silence_id: int, person_id: int, now: datetime
) -> SilenceView:
    """
    Let a manager take care of a silence; who was first, does. Managers are reminded no more.

    Raises:
        SilenceNotFound: there is none, it is over, or this person is no manager.
    """
    silence = await session.get(GatewaySilence, silence_id, with_for_update=True)
    is_manager = await session.get(Staff, (person_id, Role.MANAGER)) is not None
    if silence is None or silence.ended_at is not None or not is_manager:
        raise SilenceNotFound
    if silence.taken_at is None:
        silence.taken_at, silence.taken_by_id = now, person_id
        await session.flush()
        audit.record(
            session,
            at=now,
            actor_id=person_id,
            action="silence.taken",
            subject=f"gateway:{silence.gateway_id or '*'}",
        )
        await _draw(session, silence, now=now)
    return await get_silence(session, silence_id=silence_id)
