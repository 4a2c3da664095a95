"""What gateways' messages measured, stored: the same for MQTT and for the clouds' pushes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import psycopg
import structlog
from sqlalchemy import exc, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.clock import Clock
from bot.gateway.decode import Measured, Refusal, decode
from bot.gateway.profile import Profile
from bot.gateway.units import SERVICE_OF, UNITS, What
from core.accounts.models import Service, ServicePoint, Supply
from core.db import Database
from core.monitoring.feeds import take_feed
from core.monitoring.ingest import (
    NewReading,
    NewSample,
    Reason,
    Receipt,
    Rejected,
    printed,
    store_batch,
)
from core.monitoring.models import Meter, Quantity
from core.monitoring.rows import is_among
from core.supply.reports import Report, report_states

log = structlog.get_logger()

AfterAlarms = Callable[[AsyncSession, list[int]], Awaitable[None]]

BATCH_MAX: Final = 500
QUANTITIES: Final = {What.VOLTAGE: Quantity.VOLTAGE, What.PRESSURE: Quantity.PRESSURE}
# An open valve lets water through, an open relay lets nothing through.
STATES: Final = {
    (What.RELAY, "closed"): Supply.CONNECTED,
    (What.RELAY, "open"): Supply.CUT,
    (What.VALVE, "open"): Supply.CONNECTED,
    (What.VALVE, "closed"): Supply.CUT,
}
NO_DATABASE: Final = (
    OSError,
    exc.OperationalError,
    exc.InterfaceError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)


class Message(NamedTuple):
    """What came, and when; `topic` is empty over HTTP."""

    topic: str
    payload: bytes
    received_at: datetime


class Batch(NamedTuple):
    """Messages of one gateway."""

    gateway_id: int
    profile: Profile
    messages: list[Message]


class _Addressed(NamedTuple):
    serial: str
    service: Service
    switchable: bool


async def store_messages(
    database: Database,
    batches: Sequence[Batch],
    *,
    now: datetime,
    after_alarms: AfterAlarms,
    also: Callable[[AsyncSession], Awaitable[None]] | None = None,
) -> list[Receipt]:
    """
    Store batches in one transaction and return their receipts; then all of it is committed.

    What is to be done `also` is committed with them. If something among them cannot be stored at
    all, they are stored one by one, and what fails is quarantined. Only when the database cannot
    be reached this fails.
    """
    try:
        async with database.transaction() as session:
            if also is not None:
                await also(session)
            for gateway_id in sorted({batch.gateway_id for batch in batches}):
                await take_feed(session, gateway_id=gateway_id)  # before any switch is reported
            return [
                await take_messages(session, batch, now=now, after_alarms=after_alarms)
                for batch in batches
            ]
    except NO_DATABASE:
        raise
    except Exception:
        log.exception("gateway.batch_failed")
    alone = [batch._replace(messages=[each]) for batch in batches for each in batch.messages]
    receipts = [await _store_alone(database, batch, now=now, then=after_alarms) for batch in alone]
    if also is not None:
        async with database.transaction() as session:
            await also(session)
    return receipts


async def _store_alone(
    database: Database, batch: Batch, *, now: datetime, then: AfterAlarms
) -> Receipt:
    try:
        async with database.transaction() as session:
            await take_feed(session, gateway_id=batch.gateway_id)
            return await take_messages(session, batch, now=now, after_alarms=then)
    except NO_DATABASE:
        raise
    except Exception:
        log.exception("gateway.message_failed", topic=batch.messages[0].topic)
    async with database.transaction() as session:
        return await store_batch(
            session,
            gateway_id=batch.gateway_id,
            readings=(),
            samples=(),
            unreadable=(_rejected(0, Reason.NOT_STORABLE, batch.messages[0]),),
            now=now,
        )


class Gatherer:
    """
    Stores single messages together with all that came meanwhile, each waiting for the commit.

    One by one they would wait for each other, as those of one gateway must; a cloud that pushes
    thousands of meters in a minute gives up on whom it has to wait for.
    """

    def __init__(self, database: Database, clock: Clock, *, after_alarms: AfterAlarms) -> None:
        self._database = database
        self._clock = clock
        self._after_alarms = after_alarms
        self._waiting: list[tuple[int, Profile, Message, asyncio.Future[None]]] = []
        self._storing: asyncio.Task[None] | None = None

    async def store(self, *, gateway_id: int, profile: Profile, payload: bytes) -> None:
        """Return when the message is committed."""
        stored = asyncio.get_running_loop().create_future()
        message = Message("", payload, self._clock.now())
        self._waiting.append((gateway_id, profile, message, stored))
        if self._storing is None:
            self._storing = asyncio.create_task(self._store_all())
        await stored

    async def _store_all(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            batches: dict[tuple[int, str], Batch] = {}
            for gateway_id, profile, message, _ in some:
                key = (gateway_id, profile.name)
                batches.setdefault(key, Batch(gateway_id, profile, [])).messages.append(message)
            failure = None
            try:
                now, then = self._clock.now(), self._after_alarms
                await store_messages(
                    self._database, list(batches.values()), now=now, after_alarms=then
                )
            except Exception as problem:  # noqa: BLE001 (it is raised again, where it is awaited)
                failure = problem
            for *_, stored in some:
                if stored.done():
                    continue  # who pushed it did not wait
                if failure is None:
                    stored.set_result(None)
                else:
                    stored.set_exception(failure)
        self._storing = None


async def take_messages(
    session: AsyncSession, batch: Batch, *, now: datetime, after_alarms: AfterAlarms
) -> Receipt:
    """Store what the messages of a gateway measured; the receipt counts values and refusals."""
    refused: list[Rejected] = []
    measured: list[tuple[int, Measured]] = []
    for position, message in enumerate(batch.messages):
        answer = decode(
            batch.profile, message.topic, message.payload, received_at=message.received_at
        )
        if isinstance(answer, Refusal):
            refused.append(_rejected(position, answer.code, message))
        else:
            worst = worst_phases(answer, batch.profile)
            measured += [(position, each) for each in worst]
    meters = await _find_meters(
        session, gateway_id=batch.gateway_id, addresses={each.address for _, each in measured}
    )
    readings: list[NewReading] = []
    samples: list[NewSample] = []
    for position, each in measured:
        meter = meters.get(each.address)
        if each.what not in UNITS or isinstance(each.value, str):
            continue
        if meter is not None and meter.service is not SERVICE_OF[each.what]:
            refused.append(Rejected("messages", position, Reason.WRONG_SERVICE, printed(each)))
            continue
        serial = meter.serial if meter else each.address
        if each.what in QUANTITIES:
            quantity = QUANTITIES[each.what]
            samples.append(NewSample(position, serial, quantity, each.taken_at, each.value))
        else:
            readings.append(NewReading(position, serial, each.register, each.taken_at, each.value))
    # First the switches: a voltage of nothing behind an open relay is no under-voltage.
    reports = newest_states((each for _, each in measured), meters)
    if reports:
        await report_states(session, gateway_id=batch.gateway_id, reports=reports, now=now)
    receipt = await store_batch(
        session,
        gateway_id=batch.gateway_id,
        readings=readings,
        samples=samples,
        unreadable=refused,
        now=now,
    )
    if receipt.alarm_ids:
        await after_alarms(session, list(receipt.alarm_ids))
    return receipt


def worst_phases(measured: Sequence[Measured], profile: Profile) -> list[Measured]:
    """Return one voltage for each meter and moment: the phase furthest from the nominal one."""
    kept: dict[object, Measured] = {}
    for number, each in enumerate(measured):
        if each.what is not What.VOLTAGE or isinstance(each.value, str):
            kept[number] = each
            continue
        key = (each.address, each.taken_at)
        known = kept.get(key)
        nominal = profile.nominal_voltage
        if known is None or abs(each.value - nominal) > abs(known.value - nominal):  # type: ignore[operator]  # a number, as `each`
            kept[key] = each
    return list(kept.values())


def newest_states(measured: Iterable[Measured], meters: dict[str, _Addressed]) -> list[Report]:
    """Return the newest state of each switch that belongs to the service of its meter."""
    newest: dict[str, Report] = {}
    for each in measured:
        meter = meters.get(each.address)
        state = STATES.get((each.what, str(each.value)))
        if meter is None or state is None or not meter.switchable:
            continue
        report = Report(meter.serial, state, each.taken_at)
        known = newest.get(meter.serial)
        is_newer = known is None or known.taken_at <= report.taken_at
        if meter.service is SERVICE_OF[each.what] and is_newer:
            newest[meter.serial] = report
    return list(newest.values())


async def _find_meters(
    session: AsyncSession, *, gateway_id: int, addresses: set[str]
) -> dict[str, _Addressed]:
    """Return a gateway's working meters by what it calls them."""
    rows = await session.execute(
        select(Meter.device, Meter.serial, ServicePoint.service, Meter.switchable)
        .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
        .where(
            Meter.gateway_id == gateway_id,
            Meter.removed_at.is_(None),
            or_(is_among(Meter.device, addresses), is_among(Meter.serial, addresses)),
        )
    )
    return {
        device or serial: _Addressed(serial, service, switchable)
        for device, serial, service, switchable in rows
    }


def _rejected(position: int, reason: Reason, message: Message) -> Rejected:
    return Rejected("messages", position, reason, printed((message.topic, message.payload)))
