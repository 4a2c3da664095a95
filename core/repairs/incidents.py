"""Many abnormal meters of an area become one repair with followers, and are it until its end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import areas
from core.monitoring.models import SERVICE_OF, Alarm, Quantity, Side
from core.repairs.evidence import count_back, find_measured
from core.repairs.filing import find_previous, open_repair, reopen
from core.repairs.grouping import HOMES_MIN, WINDOW, Abnormal, Group, count_enough, find_groups
from core.repairs.homes import Home, count_supplied, load_homes
from core.repairs.journal import News, record_event
from core.repairs.models import Cause, Follower, Repair
from core.repairs.workflow import ENDED, UNCLAIMED, UNDERWAY, State

CAUSE_OF = {
    (Quantity.PRESSURE, Side.LOW): Cause.LOW_PRESSURE,
    (Quantity.PRESSURE, Side.HIGH): Cause.HIGH_PRESSURE,
    (Quantity.VOLTAGE, Side.LOW): Cause.LOW_VOLTAGE,
    (Quantity.VOLTAGE, Side.HIGH): Cause.HIGH_VOLTAGE,
    (Quantity.SILENCE, Side.HIGH): Cause.SILENT_METER,
}
NEWS_OF_CHANGE = {
    "grew": [News.GREW],
    "reopened": [News.REOPENED, News.CONTRADICTED, News.OFFERED],
}


@dataclass(slots=True)
class _Change:
    """What a batch of alarms changes on an incident; told as one event of a kind."""

    kind: str = "spread"
    former_id: int | None = None
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
        if alarm.quantity not in SERVICE_OF:
            continue  # many silent meters are their gateway's silence, which is told elsewhere
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
        homes = await self._load()
        for group in await self._find_groups(homes):
            await self._form(group, homes)
            homes = await self._load()
        await self._join(homes)
        await self._feed(homes)
        for repair_id, change in self._changes.items():
            await self._tell(self._repairs[repair_id], change)
        points = {point for change in self._changes.values() for point in change.points}
        return points & self._begun.keys()

    async def _load(self) -> list[Home]:
        return await load_homes(self._session, cause=self._cause, begun=self._begun)

    async def _lock_open(self) -> None:
        found = await self._session.scalars(
            select(Repair)
            .where(Repair.cause == self._cause, Repair.state.not_in(ENDED))
            .order_by(Repair.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        self._repairs = {repair.id: repair for repair in found}

    async def _find_groups(self, homes: list[Home]) -> list[Group]:
        if len(homes) < HOMES_MIN:
            return []
        supplied = await count_supplied(
            self._session,
            area_ids={area_id for home in homes for area_id in home.path},
            service=SERVICE_OF[next(key[0] for key in CAUSE_OF if CAUSE_OF[key] is self._cause)],
            enough=count_enough(len(homes)),
        )
        abnormal = [Abnormal(home.point, home.path, home.began_at) for home in homes]
        return find_groups(abnormal, supplied=supplied)

    async def _form(self, group: Group, homes: list[Home]) -> None:
        """Make the repairs and alarms of a group one incident, unless they are that already."""
        members = [home for home in homes if home.point in group.points]
        path = members[0].path[: members[0].path.index(group.area_id) + 1]
        begins = _find_begins(homes)
        absorbed = {
            home.repair_id: self._repairs[home.repair_id]
            for home in members
            if home.repair_id
            and (home.area_id is None or not (home.is_fixed or home.area_id in path))
            and begins[home.repair_id] >= group.since
        }
        joining = [home for home in members if not home.repair_id]
        master = self._find_holder(path)
        is_denied = master is not None and master.state is State.FIXED
        if not (absorbed or is_denied or (joining and master is None)):
            return  # it is known; new alarms join it
        if master is None:
            master = await self._choose_master(group, list(absorbed.values()), joining)
        elif is_denied:
            self._reopen(master)
        moving = [home for home in homes if home.repair_id in absorbed]
        await self._follow(master, [*moving, *joining])
        change = self._changes.setdefault(master.id, _Change())
        change.points |= {home.point for home in (*moving, *joining)}
        for loser in absorbed.values():
            if loser is not master:
                await self._merge(loser, master)
                change.merged.append(loser.number)

    def _find_holder(self, path: tuple[int, ...]) -> Repair | None:
        """Return the incident whose area is the nearest around a place."""
        around = {
            repair.area_id: repair
            for repair in self._repairs.values()
            if repair.area_id in path and repair.state not in ENDED
        }
        return next((around[area_id] for area_id in reversed(path) if area_id in around), None)

    def _reopen(self, repair: Repair) -> None:
        """Take back that it is fixed: many homes have become abnormal since."""
        self._changes[repair.id] = _Change("reopened", former_id=repair.technician_id)
        reopen(repair, now=self._now)

    async def _choose_master(
        self, group: Group, absorbed: list[Repair], joining: list[Home]
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

    async def _follow(self, master: Repair, homes: Iterable[Home]) -> None:
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

    async def _join(self, homes: list[Home]) -> None:
        """Let a home with a new alarm follow the open incident of its area, the nearest one."""
        begins = _find_begins(homes)
        for home in homes:
            holder = None if home.repair_id else self._find_holder(home.path)
            if (
                holder is not None
                and holder.state is not State.FIXED  # what comes after is not its fault
                and home.began_at >= begins[holder.id] - WINDOW
            ):
                await self._follow(holder, [home])
                self._changes.setdefault(holder.id, _Change()).points.add(home.point)

    async def _feed(self, homes: list[Home]) -> None:
        """Note new alarms of homes that follow an incident already."""
        for home in homes:
            if home.area_id is not None and home.point in self._begun:
                await self._session.execute(
                    update(Follower)
                    .where(
                        Follower.repair_id == home.repair_id,
                        Follower.service_point_id == home.point,
                    )
                    .values(alarm_id=self._begun[home.point].id, answered_at=None)
                )
                self._changes.setdefault(home.repair_id, _Change()).points.add(home.point)

    async def _tell(self, repair: Repair, change: _Change) -> None:
        back, homes, last = await count_back(self._session, repair_id=repair.id)
        repair.normal_at = last if back == homes else None
        measured = await find_measured(self._session, repair=repair, now=self._now)
        assert measured is not None  # noqa: S101 (an incident has followers)
        assert repair.area_id is not None  # noqa: S101 (the same)
        area = await areas.get_area(self._session, area_id=repair.area_id)
        contradicts = repair.state is State.FIXED
        spreads = change.kind == "spread"
        await record_event(
            self._session,
            repair=repair,
            kind="contradicted" if contradicts else change.kind,
            actor_id=None,
            now=self._now,
            state=repair.state if change.kind in {"filed", "reopened"} else None,
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
                "previous": await find_previous(self._session, repair=repair)
                if change.kind == "filed"
                else None,
            },
            news=[News.CONTRADICTED] if contradicts else NEWS_OF_CHANGE.get(change.kind, ()),
            former_id=change.former_id,
            is_offer=repair.state in UNCLAIMED,
            customers_at=change.points if spreads else None,
        )


def _find_begins(homes: Iterable[Home]) -> dict[int, datetime]:
    """Return when the first home of each repair became abnormal."""
    begins: dict[int, datetime] = {}
    for home in homes:
        begins[home.repair_id] = min(begins.get(home.repair_id, home.began_at), home.began_at)
    return begins
