"""The demo's meters as a gateway: what they measure goes out over HTTP, orders come back."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp
import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot.clock import Clock
from bot.demo.calls import call
from bot.demo.models import DemoEvent, DemoMeter
from bot.demo.playing import Batch, Played, next_slot, play
from bot.demo.signals import Event, traits_from
from core.accounts.models import Area, Service, ServicePoint, Supply
from core.db import Database
from core.monitoring.ingest import Reason
from core.monitoring.models import Meter, Reading

log = structlog.get_logger()

TICK_SECONDS = 0.5
REPORTED_AFTER = 60  # failures in a row: the service takes a while to start
PATIENCE_SECONDS = 30
STANDING = {"accepted", "confirmed"}
# How long a device takes: a relay on the mains, a valve that wakes up now and then.
OBEYS_AFTER = {Service.ELECTRICITY: timedelta(seconds=20), Service.WATER: timedelta(minutes=3)}


@dataclass(slots=True, kw_only=True)
class Move:
    """A switch that is about to move, or has moved and not been reported."""

    wanted: Supply
    due_at: datetime


class Simulator:
    """Plays all meters of the demo, and follows its clock."""

    def __init__(
        self, database: Database, clock: Clock, *, seed: int, address: str, token: str
    ) -> None:
        self._database = database
        self._clock = clock
        self._seed = seed
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}"}
        self._moves: dict[str, Move] = {}
        self.played_until: datetime | None = None

    async def run(self) -> None:
        """Play until cancelled; what the service does not take now is sent again."""
        failures = 0
        async with aiohttp.ClientSession(self._address, headers=self._headers) as http:
            while True:
                try:
                    await self.play_on(http)
                    await self.obey(http)
                    failures = 0
                except (aiohttp.ClientError, TimeoutError) as trouble:
                    failures += 1
                    if failures == REPORTED_AFTER:
                        log.warning("simulator.waiting", trouble=str(trouble))
                await asyncio.sleep(TICK_SECONDS)

    async def catch_up(self, until: datetime) -> bool:
        """Wait until everything up to a moment was sent, but not for ever; tell whether it was."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self.played_until is None or self.played_until < until:  # noqa: ASYNC110 (no event: a moment is passed)
                    await asyncio.sleep(TICK_SECONDS / 5)
        return self.played_until is not None and self.played_until >= until

    async def play_on(self, http: aiohttp.ClientSession) -> None:
        """Send everything up to now."""
        now = self._clock.now()
        if self.played_until is not None and next_slot(self.played_until) > now:
            return
        meters, self.played_until = await self._load()
        for batch in play(meters, seed=self._seed, played_until=self.played_until, until=now):
            await self._send(http, batch)
            await self._save(batch)
            self.played_until = batch.until

    async def _load(self) -> tuple[list[Played], datetime]:
        """Return the meters as they stand, with what goes wrong at each, and since when."""
        async with self._database.transaction() as session:
            await _follow_replaced(session)
            rows = await session.execute(
                select(DemoMeter, Meter.serial, ServicePoint.service, Area.path)
                .join(Meter, Meter.id == DemoMeter.meter_id)
                .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
                .join(Area, Area.id == ServicePoint.area_id)
                .order_by(DemoMeter.meter_id)
            )
            found = rows.all()
            played_until = min(row.DemoMeter.played_until for row in found)
            is_late = or_(DemoEvent.ended_at.is_(None), DemoEvent.ended_at > played_until)
            events = list(await session.scalars(select(DemoEvent).where(is_late)))
        meters = [
            Played(
                id=kept.meter_id,
                traits=traits_from(serial, service, kept.traits),
                register=kept.register,
                is_open=kept.is_open,
                moved_at=kept.moved_at,
                events=[_event(event) for event in events if _meets(event, kept.meter_id, path)],
            )
            for kept, serial, service, path in found
        ]
        return meters, played_until

    async def _send(self, http: aiohttp.ClientSession, batch: Batch) -> None:
        body = {"readings": batch.readings, "samples": batch.samples}
        receipt = await call(http, "POST", "/api/v1/readings", body=body)
        if any(item["reason"] == Reason.IN_THE_FUTURE for item in receipt["rejected_items"]):
            raise TimeoutError("the service has not seen yet that the clock was moved")
        if receipt["rejected"]:
            log.warning("simulator.rejected", items=receipt["rejected_items"][:3])

    async def _save(self, batch: Batch) -> None:
        async with self._database.transaction() as session:
            await session.execute(
                update(DemoMeter),
                [
                    {"meter_id": meter_id, "register": register, "played_until": batch.until}
                    for meter_id, register in batch.registers.items()
                ],
            )

    async def obey(self, http: aiohttp.ClientSession) -> None:
        """Take up commands, move what is due, and report how it stands then."""
        now = self._clock.now()
        for command in await call(http, "GET", "/api/v1/commands"):
            if command["meter"] not in self._moves:
                await self._accept(http, command, now=now)
        due = {serial: move for serial, move in self._moves.items() if move.due_at <= now}
        if not due:
            return
        await self._move(due, now=now)
        states = [
            {"meter": serial, "state": move.wanted.value, "taken_at": now.isoformat()}
            for serial, move in due.items()
        ]
        await call(http, "POST", "/api/v1/device-states", body={"states": states})
        for serial in due:
            del self._moves[serial]

    async def _accept(
        self, http: aiohttp.ClientSession, command: dict[str, str], *, now: datetime
    ) -> None:
        """Pass a command on to its device, unless its order is over by now."""
        answer = await call(http, "POST", f"/api/v1/commands/{command['nonce']}/accepted")
        if answer["state"] in STANDING:
            patience = OBEYS_AFTER[Service(command["service"])]
            self._moves[command["meter"]] = Move(
                wanted=Supply(command["wanted"]), due_at=now + patience
            )

    async def _move(self, due: dict[str, Move], *, now: datetime) -> None:
        async with self._database.transaction() as session:
            for serial, move in due.items():
                meter = select(Meter.id).where(Meter.serial == serial).scalar_subquery()
                is_open = move.wanted is not Supply.CUT
                await session.execute(
                    update(DemoMeter)
                    .where(DemoMeter.meter_id == meter, DemoMeter.is_open != is_open)
                    .values(is_open=is_open, moved_at=now)
                )


async def _follow_replaced(session: AsyncSession) -> None:
    """Play the new meter where somebody replaced one, from the value at which it began."""
    old, new = aliased(Meter), aliased(Meter)
    replaced = await session.execute(
        select(old.id, new.id, Reading.value)
        .join(DemoMeter, DemoMeter.meter_id == old.id)
        .join(new, (new.service_point_id == old.service_point_id) & new.removed_at.is_(None))
        .join(Reading, (Reading.meter_id == new.id) & (Reading.taken_at == new.installed_at))
        .where(old.removed_at.is_not(None))
    )
    for was, meter_id, register in replaced.all():
        moved = {"meter_id": meter_id, "register": register}
        await session.execute(update(DemoMeter).where(DemoMeter.meter_id == was).values(**moved))
        await session.execute(
            update(DemoEvent).where(DemoEvent.meter_id == was).values(meter_id=meter_id)
        )


def _event(row: DemoEvent) -> Event:
    return Event(kind=row.kind, began_at=row.began_at, ended_at=row.ended_at)


def _meets(event: DemoEvent, meter_id: int, path: str) -> bool:
    is_everywhere = event.meter_id is None and event.area_id is None
    return is_everywhere or event.meter_id == meter_id or f"/{event.area_id}/" in path
