"""The homes that the open repairs of one cause and new alarms are about, and how many there are."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import String, case, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core.accounts.models import Area, Service, ServicePoint
from core.monitoring.models import Alarm, Meter
from core.monitoring.ranges import SWITCHED_OFF
from core.repairs.models import Cause, Follower, Repair
from core.repairs.workflow import ENDED, State


class Home(NamedTuple):
    """A home with an open repair (of an incident's area) or, without one, a new alarm."""

    point: int
    path: tuple[int, ...]
    began_at: datetime
    alarm_id: int
    repair_id: int = 0
    area_id: int | None = None
    is_fixed: bool = False


async def load_homes(
    session: AsyncSession, *, cause: Cause, begun: Mapping[int, Alarm]
) -> list[Home]:
    """
    Return the homes of the open repairs of a cause, and of new alarms by service point.

    Of a repair that is said to be fixed only those homes count that became abnormal since.
    """
    point = func.coalesce(Follower.service_point_id, Repair.service_point_id)
    is_fixed = Repair.state == State.FIXED
    first = func.coalesce(Follower.began_at, Alarm.began_at)
    rows = await session.execute(
        select(
            point,
            Area.path,
            case((is_fixed, Alarm.began_at), else_=first),
            Alarm.id,
            Repair.id,
            Repair.area_id,
            is_fixed,
        )
        .outerjoin(Follower, Follower.repair_id == Repair.id)
        .join(Alarm, Alarm.id == func.coalesce(Follower.alarm_id, Repair.alarm_id))
        .join(ServicePoint, ServicePoint.id == point)
        .join(Area, Area.id == ServicePoint.area_id)
        .where(
            Repair.cause == cause,
            Repair.state.not_in(ENDED),
            or_(~is_fixed, Alarm.began_at > Repair.fixed_at, point.in_(list(begun))),
        )
        .order_by(point)
    )
    homes = [Home(row[0], _read_path(row[1]), *row[2:]) for row in rows]
    for place, home in enumerate(homes):
        alarm = begun.get(home.point)
        if alarm is not None and (home.area_id is None or home.is_fixed):
            homes[place] = home._replace(began_at=alarm.began_at, alarm_id=alarm.id)
    fresh = await session.execute(
        select(ServicePoint.id, Area.path)
        .join(Area, Area.id == ServicePoint.area_id)
        .where(ServicePoint.id.in_(begun.keys() - {home.point for home in homes}))
        .order_by(ServicePoint.id)
    )
    homes += [
        Home(each, _read_path(path), begun[each].began_at, begun[each].id) for each, path in fresh
    ]
    return homes


def _read_path(path: str) -> tuple[int, ...]:
    return tuple(int(part) for part in path.strip("/").split("/"))


async def count_supplied(
    session: AsyncSession, *, area_ids: set[int], service: Service, enough: int
) -> dict[int, int]:
    """Count the metered homes of areas, of each at most `enough`."""
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
        .limit(enough)
        .lateral()
    )
    rows = await session.execute(
        select(Area.id, func.count(inside.c.id))
        .outerjoin(inside, true())
        .where(Area.id.in_(area_ids))
        .group_by(Area.id)
    )
    return {row[0]: row[1] for row in rows}
