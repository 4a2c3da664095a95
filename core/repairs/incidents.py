"""Many abnormal meters of an area become one repair with followers, and are it until its end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import String, func, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core.accounts import areas
from core.accounts.models import Area, ServicePoint
from core.monitoring.models import SERVICE_OF, Alarm, Meter, Quantity, Side
from core.monitoring.ranges import SWITCHED_OFF
from core.repairs.evidence import count_back, find_measured
from core.repairs.filing import find_previous, open_repair
from core.repairs.grouping import (
    HOMES_MIN,
    WINDOW,
    Abnormal,
    Group,
    count_enough,
    find_groups,
)
from core.repairs.journal import News, record_event
from core.repairs.models import Cause, Follower, Repair
from core.repairs.workflow import ENDED, UNCLAIMED, UNDERWAY, State

CAUSE_OF = {
    (Quantity.PRESSURE, Side.LOW): Cause.LOW_PRESSURE,
    (Quantity.PRESSURE, Side.HIGH): Cause.HIGH_PRESSURE,
    (Quantity.VOLTAGE, Side.LOW): Cause.LOW_VOLTAGE,
    (Quantity.VOLTAGE, Side.HIGH): Cause.HIGH_VOLTAGE,
}
NEWS_OF_CHANGE = {"grew": [News.GREW]}
Path = tuple[int, ...]


class _Home(NamedTuple):
    """A home that an open repair is about, or (without a repair) a new alarm."""

    point: int
    path: Path
    began_at: datetime
    alarm_id: int
    repair_id: int = 0
    area_id: int | None = None


@dataclass(slots=True)
class _Change:
    """What a batch of alarms changes on an incident; told as one event of a kind."""

    kind: str = "spread"
    points: set[int] = field(default_factory=set)
    merged: list[str] = field(default_factory=list)


async def take_up_begins(
    session: AsyncSession, begun: Iterable[tuple[Alarm, int]], *, now: datetime
) -> set[int]:
    """
    Take up those of some new alarms, each with its service point, that belong to incidents.

    Forms incidents of these and the open repairs, and lets them grow and merge. The caller holds
    the filing. Returns the ids of the alarms that were taken up.
    """
    by_cause: dict[Cause, dict[int, list[Alarm]]] = {}
    for alarm, point in begun:
        cause = CAUSE_OF[alarm.quantity, alarm.side]
        by_cause.setdefault(cause, {}).setdefault(point, []).append(alarm)
    taken = set()
    for cause, alarms in by_cause.items():
        latest = {point: each[-1] for point, each in alarms.items()}
        points = await _Gathering(session, cause=cause, begun=latest, now=now).run()
        taken |= {alarm.id for point in points for alarm in alarms[point]}
    return taken


async def take_up_ends(session: AsyncSession, *, alarm_ids: Iterable[int], now: datetime) -> None:
    """Note on incidents that the meters of some followers are back to normal."""
    rows = await session.execute(
        select(Repair, func.array_agg(Follower.service_point_id))
        .join(Follower, Follower.repair_id == Repair.id)
        .where(Follower.alarm_id.in_(list(alarm_ids)), Repair.state.not_in(ENDED))
        .group_by(Repair.id)
        .order_by(Repair.id)
    )
    for repair, points in rows.all():
        await session.refresh(repair, with_for_update=True)
        back, homes, last = await count_back(session, repair_id=repair.id)
        is_over = back == homes
        repair.normal_at = last if is_over else None
        await record_event(
            session,
            repair=repair,
            kind="normal" if is_over else "partly",
            actor_id=None,
            now=now,
            details={"back": back, "homes": homes},
            news=[News.NORMAL] if is_over and repair.state in UNCLAIMED else [],
            customers_at=None if is_over else points,
        )


class _Gathering:
    """One cause: its open repairs, the new alarms, and what becomes of them."""

    def __init__(
        self, session: AsyncSession, *, cause: Cause, begun: Mapping[int, Alarm], now: datetime
    ) -> None:
        self._session = session
        self._cause = cause
        self._begun = begun
        self._now = now
        self._repairs: dict[int, Repair] = {}
        self._changes: dict[int, _Change] = {}

    async def run(self) -> set[int]:
        """Return the points of the new alarms that follow an incident now."""
        await self._lock_open()
        homes = await self._load_homes()
        fresh = await self._load_fresh(self._begun.keys() - {home.point for home in homes})
        for group in await self._find_groups([*homes, *fresh]):
            await self._form(group, homes, fresh)
            homes = await self._load_homes()
            followed = {home.point for home in homes}
            fresh = [each for each in fresh if each.point not in followed]
        await self._join(fresh, homes)
        await self._feed(home for home in homes if home.area_id is not None)
        for repair_id, change in self._changes.items():
            await self._tell(self._repairs[repair_id], change)
        points = {point for change in self._changes.values() for point in change.points}
        return points & self._begun.keys()

    async def _lock_open(self) -> None:
        found = await self._session.scalars(
            select(Repair)
            .where(Repair.cause == self._cause, Repair.state.not_in(ENDED))
            .order_by(Repair.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        self._repairs = {repair.id: repair for repair in found}

    async def _load_homes(self) -> list[_Home]:
        """Return the homes of open repairs; one that was said to be fixed counts by its meter."""
        point = func.coalesce(Follower.service_point_id, Repair.service_point_id)
        rows = await self._session.execute(
            select(
                point,
                Area.path,
                func.coalesce(Follower.began_at, Alarm.began_at),
                Alarm.id,
                Repair.id,
                Repair.area_id,
            )
            .outerjoin(Follower, Follower.repair_id == Repair.id)
            .join(Alarm, Alarm.id == func.coalesce(Follower.alarm_id, Repair.alarm_id))
            .join(ServicePoint, ServicePoint.id == point)
            .join(Area, Area.id == ServicePoint.area_id)
            .where(
                Repair.cause == self._cause,
                Repair.state.not_in(ENDED),
                or_(
                    Repair.area_id.is_not(None),
                    Repair.state != State.FIXED,
                    Alarm.ended_at.is_(None),
                    point.in_(list(self._begun)),
                ),
            )
            .order_by(point)
        )
        homes = [_Home(row[0], _read_path(row[1]), *row[2:]) for row in rows]
        return [
            home._replace(began_at=alarm.began_at, alarm_id=alarm.id)
            if home.area_id is None and (alarm := self._begun.get(home.point)) is not None
            else home
            for home in homes
        ]

    async def _load_fresh(self, points: Iterable[int]) -> list[_Home]:
        rows = await self._session.execute(
            select(ServicePoint.id, Area.path)
            .join(Area, Area.id == ServicePoint.area_id)
            .where(ServicePoint.id.in_(list(points)))
            .order_by(ServicePoint.id)
        )
        return [
            _Home(point, _read_path(path), self._begun[point].began_at, self._begun[point].id)
            for point, path in rows
        ]

    async def _find_groups(self, homes: list[_Home]) -> list[Group]:
        if len(homes) < HOMES_MIN:
            return []
        abnormal = [Abnormal(home.point, home.path, home.began_at) for home in homes]
        return find_groups(abnormal, supplied=await self._count_supplied(abnormal))

    async def _count_supplied(self, abnormal: list[Abnormal]) -> dict[int, int]:
        """Count the metered points of each area; of one with far too many, only so many."""
        service = next(
            SERVICE_OF[quantity]
            for (quantity, _), cause in CAUSE_OF.items()
            if cause is self._cause
        )
        below = aliased(Area)
        inside = (
            select(Meter.id)
            .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
            .join(below, below.id == ServicePoint.area_id)
            .where(
                below.path.op("~>=~")(Area.path),
                below.path.op("~<~")(func.concat(Area.path, ":", type_=String)),  # after the digits
                ServicePoint.service == service,
                ServicePoint.supply.not_in(SWITCHED_OFF),
                Meter.removed_at.is_(None),
            )
            .limit(count_enough(len(abnormal)))
            .lateral()
        )
        rows = await self._session.execute(
            select(Area.id, func.count(inside.c.id))
            .outerjoin(inside, true())
            .where(Area.id.in_({area_id for each in abnormal for area_id in each.path}))
            .group_by(Area.id)
        )
        return {row[0]: row[1] for row in rows}

    async def _form(self, group: Group, homes: list[_Home], fresh: list[_Home]) -> None:
        """Make the repairs and alarms of a group one incident, unless they are that already."""
        path = next(each.path for each in (*homes, *fresh) if each.point in group.points)
        path = path[: path.index(group.area_id) + 1]
        begins = _find_begins(homes)
        absorbed = {
            home.repair_id: self._repairs[home.repair_id]
            for home in homes
            if home.point in group.points
            and home.area_id not in path
            and begins[home.repair_id] >= group.since
        }
        joining = [each for each in fresh if each.point in group.points]
        holder = _find_holder(path, homes)
        if not absorbed and (holder is not None or not joining):
            return  # it is known; new alarms join it
        if holder is not None:
            master = self._repairs[holder]
        else:
            master = await self._choose_master(group, list(absorbed.values()), joining)
        moving = [home for home in homes if home.repair_id in absorbed]
        await self._follow(master, [*moving, *joining])
        change = self._changes.setdefault(master.id, _Change())
        change.points |= {each.point for each in (*moving, *joining)}
        for loser in absorbed.values():
            if loser is not master:
                await self._merge(loser, master)
                change.merged.append(loser.number)

    async def _choose_master(
        self, group: Group, absorbed: list[Repair], joining: list[_Home]
    ) -> Repair:
        """Return the repair that is the incident now: one under way, the oldest, or a new one."""
        unfixed = [repair for repair in absorbed if repair.state is not State.FIXED]
        if unfixed or not joining:
            master = min(
                unfixed or absorbed, key=lambda each: (each.state not in UNDERWAY, each.id)
            )
            master.area_id = group.area_id
            self._changes[master.id] = _Change("grew")
            return master
        first = min(joining, key=lambda each: (each.began_at, each.point))
        master = await open_repair(
            self._session,
            service_point_id=first.point,
            area_id=group.area_id,
            cause=self._cause,
            now=self._now,
        )
        master.alarm_id = first.alarm_id
        self._repairs[master.id] = master
        self._changes[master.id] = _Change("filed")
        return master

    async def _follow(self, master: Repair, homes: Iterable[_Home]) -> None:
        self._session.add_all(
            Follower(
                repair_id=master.id,
                service_point_id=home.point,
                alarm_id=home.alarm_id,
                began_at=home.began_at,
            )
            for home in homes
            if home.repair_id != master.id or home.area_id is None
        )
        await self._session.flush()

    async def _merge(self, loser: Repair, master: Repair) -> None:
        """End a repair that goes on as another; its history and its people keep it."""
        was_offered = loser.state in UNCLAIMED
        loser.state = State.MERGED
        loser.state_since = loser.closed_at = self._now
        loser.version += 1
        loser.merged_into_id = master.id
        await self._session.execute(
            update(Repair).where(Repair.merged_into_id == loser.id).values(merged_into_id=master.id)
        )
        await record_event(
            self._session,
            repair=loser,
            kind="merge",
            actor_id=None,
            now=self._now,
            state=State.MERGED,
            details={"into": master.number},
            news=[News.MERGED],
            is_offer=was_offered,
        )

    async def _join(self, fresh: list[_Home], homes: list[_Home]) -> None:
        """Let new alarms within an open incident's area follow it, the nearest one's."""
        begins = _find_begins(homes)
        for each in fresh:
            holder = _find_holder(each.path, homes)
            if holder is not None and each.began_at >= begins[holder] - WINDOW:
                await self._follow(self._repairs[holder], [each])
                self._changes.setdefault(holder, _Change()).points.add(each.point)

    async def _feed(self, followers: Iterable[_Home]) -> None:
        """Note new alarms of homes that follow an incident already."""
        for home in followers:
            alarm = self._begun.get(home.point)
            if alarm is not None:
                await self._session.execute(
                    update(Follower)
                    .where(
                        Follower.repair_id == home.repair_id,
                        Follower.service_point_id == home.point,
                    )
                    .values(alarm_id=alarm.id, answered_at=None)
                )
                self._changes.setdefault(home.repair_id, _Change()).points.add(home.point)

    async def _tell(self, repair: Repair, change: _Change) -> None:
        back, homes, last = await count_back(self._session, repair_id=repair.id)
        repair.normal_at = last if back == homes else None
        measured = await find_measured(self._session, repair=repair)
        assert measured is not None  # noqa: S101 (an incident has followers)
        assert repair.area_id is not None  # noqa: S101 (the same)
        area = await areas.get_area(self._session, area_id=repair.area_id)
        is_new = change.kind == "filed"
        contradicts = repair.state is State.FIXED
        spreads = change.kind == "spread"
        await record_event(
            self._session,
            repair=repair,
            kind="contradicted" if contradicts else change.kind,
            actor_id=None,
            now=self._now,
            state=State.NEW if is_new else None,
            details={
                "homes": len(change.points) if spreads else homes,
                "place": area.full_name,
                "quantity": measured.quantity,
                "value": measured.worst,
                "merged": ", ".join(change.merged),
                "alarms": " ".join(
                    str(self._begun[point].id)
                    for point in sorted(change.points & self._begun.keys())
                ),
                "previous": await find_previous(self._session, repair=repair) if is_new else None,
            },
            news=[News.CONTRADICTED] if contradicts else NEWS_OF_CHANGE.get(change.kind, ()),
            is_offer=repair.state in UNCLAIMED,
            customers_at=change.points if spreads else None,
        )


def _read_path(path: str) -> Path:
    return tuple(int(part) for part in path.strip("/").split("/"))


def _find_begins(homes: Iterable[_Home]) -> dict[int, datetime]:
    """Return when the first home of each repair became abnormal."""
    begins: dict[int, datetime] = {}
    for home in homes:
        begins[home.repair_id] = min(begins.get(home.repair_id, home.began_at), home.began_at)
    return begins


def _find_holder(path: Path, homes: Iterable[_Home]) -> int | None:
    """Return the incident whose area is the nearest around a place."""
    around = {home.area_id: home.repair_id for home in homes if home.area_id in path}
    return next((around[area_id] for area_id in reversed(path) if area_id in around), None)
