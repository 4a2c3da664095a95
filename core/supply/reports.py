"""What devices say about their own switch: the only thing that confirms an order."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import ServicePoint, Supply
from core.db import SCHEMA
from core.monitoring.models import Meter
from core.monitoring.ranges import SWITCHED_OFF
from core.monitoring.watching import forget_watches
from core.repairs.intake import ask_again, file_repair, note_answering
from core.repairs.models import Cause
from core.supply.commands import undo_late
from core.supply.models import OrderState, SupplyOrder, SwitchReport
from core.supply.orders import (
    UNDERWAY,
    Alert,
    News,
    alert_managers,
    lock_orders,
    move,
    note_audit,
    tell_people,
)
from core.supply.restoring import find_standing_cut

AHEAD_MAX: Final = timedelta(minutes=5)
# A register may move on by a last tick, and a little later than the switch.
FLOW_AFTER: Final = timedelta(minutes=15)
FLOW_MIN: Final = Decimal("0.02")
WATCHED: Final = timedelta(days=7)
# A cut that ended so must not happen any more; if it does, it came late.
_UNDONE: Final = (OrderState.CANCELLED, OrderState.FAILED, OrderState.EXPIRED)
_CONFIRMING: Final = {
    Supply.CUT: frozenset({Supply.CUT}),
    Supply.CONNECTED: frozenset({Supply.CONNECTED, Supply.READY}),
}


class Fate(StrEnum):
    """What became of a report; one that is not newer than the last says nothing new."""

    TAKEN = "taken"
    NOT_NEWER = "not_newer"
    UNKNOWN_METER = "unknown_meter"
    IN_THE_FUTURE = "in_the_future"


class Report(NamedTuple):
    """What a device says, by its own clock."""

    serial: str
    state: Supply
    taken_at: datetime


async def report_states(
    session: AsyncSession, *, gateway_id: int, reports: Sequence[Report], now: datetime
) -> list[Fate]:
    """
    Take a gateway's reports, oldest first, and draw the consequences; return each one's fate.

    An order is confirmed only by a report that its device made after the order was sent.
    """
    meters = {
        meter.serial: meter
        for meter in await session.scalars(
            select(Meter).where(
                Meter.serial.in_({report.serial for report in reports}),
                Meter.gateway_id == gateway_id,
                Meter.removed_at.is_(None),
            )
        )
    }
    fates: dict[int, Fate] = {}
    for index, report in sorted(enumerate(reports), key=lambda item: (item[1].taken_at, item[0])):
        meter = meters.get(report.serial)
        if meter is None:
            fates[index] = Fate.UNKNOWN_METER
        elif report.taken_at > now + AHEAD_MAX:
            fates[index] = Fate.IN_THE_FUTURE
        else:
            fates[index] = await _take(session, meter, report, now=now)
    return [fates[index] for index in range(len(reports))]


async def _take(session: AsyncSession, meter: Meter, report: Report, *, now: datetime) -> Fate:
    values = {"state": report.state, "taken_at": report.taken_at, "received_at": now}
    pending = await lock_orders(
        session, SupplyOrder.meter_id == meter.id, SupplyOrder.state.in_(UNDERWAY)
    )
    newest = await session.scalar(
        insert(SwitchReport)
        .values(meter_id=meter.id, **values)
        .on_conflict_do_update(
            index_elements=["meter_id"],
            set_=values,
            where=SwitchReport.taken_at < report.taken_at,
        )
        .returning(SwitchReport.meter_id)
    )
    if newest is None:
        return Fate.NOT_NEWER
    point = await session.get_one(ServicePoint, meter.service_point_id, populate_existing=True)
    was = point.supply
    if was is not report.state:
        point.supply = report.state
        point.supply_since = report.taken_at
        if report.state in SWITCHED_OFF:
            await forget_watches(session, meter_id=meter.id)
        await session.flush()
        if report.state is Supply.CONNECTED:
            await ask_again(session, service_point_id=point.id, now=now)
    confirmed = [order for order in pending if _confirms(report, order)]
    for order in confirmed:
        await _confirm(session, order, report, now=now)
    if not pending and was is not report.state:
        await _explain(session, point.id, was=was, report=report, now=now)
    return Fate.TAKEN


def _confirms(report: Report, order: SupplyOrder) -> bool:
    is_newer = order.sent_at is not None and report.taken_at > order.sent_at
    return is_newer and report.state in _CONFIRMING[order.wanted]


async def _confirm(
    session: AsyncSession, order: SupplyOrder, report: Report, *, now: datetime
) -> None:
    order.report = {"state": report.state.value, "taken_at": report.taken_at.isoformat()}
    await move(session, order, OrderState.CONFIRMED, now=now)
    await note_answering(
        session, service_point_id=order.service_point_id, taken_at=report.taken_at, now=now
    )
    is_cut = order.wanted is Supply.CUT
    await tell_people(session, order, News.CUT if is_cut else News.RESTORED, now=now)


async def _explain(
    session: AsyncSession, service_point_id: int, *, was: Supply, report: Report, now: datetime
) -> None:
    """Look for the cause of a switch that no order wanted at this moment."""
    standing = await find_standing_cut(session, service_point_id=service_point_id)
    if report.state is Supply.CONNECTED and was is Supply.CUT and standing is not None:
        await _contradict(session, standing, Alert.ON_BY_ITSELF, now=now)
    if report.state is not Supply.CUT or standing is not None:
        return
    ended = await lock_orders(
        session,
        SupplyOrder.service_point_id == service_point_id,
        SupplyOrder.wanted == Supply.CUT,
        SupplyOrder.state.in_(_UNDONE),
        SupplyOrder.sent_at < report.taken_at,
        SupplyOrder.finished_at > now - WATCHED,
    )
    if ended:
        await undo_late(session, ended[-1], now=now)
    else:
        await file_repair(
            session, service_point_id=service_point_id, cause=Cause.SWITCHED_OFF, now=now
        )


async def _contradict(
    session: AsyncSession, order: SupplyOrder, alert: Alert, *, now: datetime
) -> None:
    order.alerted_at = now
    note_audit(session, order, "contradicted", now=now, note=alert.value)
    await alert_managers(session, order, alert, now=now)


async def watch_cuts(session: AsyncSession, *, now: datetime) -> int:
    """Find cut places whose registers go on counting; return how many are new."""
    found = await session.execute(
        text(
            f"""
            SELECT o.id FROM {SCHEMA}.supply_orders o
              JOIN {SCHEMA}.service_points p ON p.id = o.service_point_id AND p.supply = 'cut'
             WHERE o.wanted = 'cut' AND o.state = 'confirmed' AND o.alerted_at IS NULL
               AND o.finished_at > :since AND EXISTS (
                   SELECT FROM {SCHEMA}.readings r
                    WHERE r.meter_id = o.meter_id AND r.taken_at > o.finished_at + :after
                      AND r.taken_at <= :now
                    GROUP BY r.register HAVING max(r.value) - min(r.value) > :flow)
            """  # noqa: S608 (a constant)
        ),
        {"since": now - WATCHED, "after": FLOW_AFTER, "now": now, "flow": FLOW_MIN},
    )
    orders = await lock_orders(session, SupplyOrder.id.in_([row.id for row in found]))
    for order in orders:
        await _contradict(session, order, Alert.STILL_FLOWS, now=now)
    return len(orders)
