"""Every bridge asked in its own time: what its meters show, and the commands that wait for them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from bot.clock import Clock
from bot.gateway.wire.bridges import AnyBridge, Cjt188Bridge, Dlt645Bridge, Meter
from bot.gateway.wire.frames import SILENCE, NotYet, Refused
from bot.gateway.wire.meters import Driver, Seen
from bot.gateway.wire.modbus import ModbusDriver
from bot.gateway.wire.serial import Cjt188Driver, Dlt645Driver
from core.accounts.models import ApiKey, Supply
from core.db import Database
from core.monitoring.ingest import NewReading, NewSample, Reason, Rejected, store_batch
from core.supply.commands import Command, accept_command, dispatch
from core.supply.models import OrderState
from core.supply.reports import Report, report_states

log = structlog.get_logger()

AfterAlarms = Callable[[AsyncSession], Awaitable[None]]

LOOK_SECONDS: Final = 2.0
HOLD_SECONDS: Final = 5
RETRY_SECONDS: Final = 5.0
RETRY_SECONDS_MAX: Final = 600.0
DOUBLINGS_MAX: Final = 10
# A relay moves in a second, a valve in half a minute; later the next poll shows it.
WATCHED_SECONDS: Final = 120.0
# Nothing that lies in a bridge for longer may still move anything.
VALID_FOR: Final = timedelta(minutes=10)
USE_NOTED_EVERY: Final = timedelta(hours=1)
# Off and waiting for the button on the meter is all that can be done from here.
FULFILLED: Final = {
    Supply.CUT: frozenset({Supply.CUT}),
    Supply.CONNECTED: frozenset({Supply.CONNECTED, Supply.READY}),
}


class NoCredential(LookupError):
    """No gateway's credential has the name of this bridge, or it was revoked."""


def open_driver(bridge: AnyBridge, zone: ZoneInfo) -> Driver:
    """Return what speaks to a bridge; it connects when it is asked something."""
    match bridge:
        case Dlt645Bridge():
            return Dlt645Driver(bridge, zone)
        case Cjt188Bridge():
            return Cjt188Driver(bridge)
        case _:
            return ModbusDriver(bridge)


class Poller:
    """All bridges of a file, each in a task of its own, in one process of all."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        bridges: Sequence[AnyBridge],
        zone: ZoneInfo,
        after_alarms: AfterAlarms,
    ) -> None:
        self._database = database
        self._posts = [
            Post(database, clock, bridge, open_driver(bridge, zone), after_alarms=after_alarms)
            for bridge in bridges
        ]

    async def run(self) -> None:
        """Ask until cancelled, as soon as no other process does; most bridges bear only one."""
        try:
            async with (
                self._database.sole("shuidian.bridges") as hold,
                asyncio.TaskGroup() as group,
            ):
                group.create_task(self._keep(hold))
                for post in self._posts:
                    group.create_task(post.run())
        except Exception as trouble:
            _end_if_cancelled(trouble)
            raise

    async def _keep(self, hold: AsyncConnection) -> None:
        """End everything when the hold is lost, for then another process begins."""
        while True:
            await hold.execute(text("SELECT 1"))
            await asyncio.sleep(HOLD_SECONDS)


class Post:
    """One bridge: a round through its meters once a period, commands in between."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        bridge: AnyBridge,
        driver: Driver,
        *,
        after_alarms: AfterAlarms,
    ) -> None:
        self._database = database
        self._clock = clock
        self._bridge = bridge
        self._driver = driver
        self._after_alarms = after_alarms
        self._meters: dict[str, Meter] = {meter.serial: meter for meter in bridge.meters}
        self._watched: dict[str, tuple[Supply, float]] = {}
        self._failures = 0
        self._looked_at = -LOOK_SECONDS

    async def run(self) -> None:
        """Go round until cancelled; whatever goes wrong here is no other bridge's matter."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                began = loop.time()
                try:
                    is_answered = await self._go_round()
                    if is_answered:
                        self._failures = 0
                        await self._serve_until(began + self._bridge.period_seconds)
                        continue
                    log.warning("bridge.silent", bridge=self._bridge.name)
                except (OSError, NoCredential) as trouble:
                    log.warning("bridge.lost", bridge=self._bridge.name, trouble=str(trouble))
                except Exception as trouble:
                    _end_if_cancelled(trouble)
                    log.exception("bridge.failed", bridge=self._bridge.name)
                self._driver.close()
                self._failures += 1
                await asyncio.sleep(find_pause(self._failures))
        finally:
            self._driver.close()

    async def _go_round(self) -> bool:
        """Ask every meter, store what was read, and tell whether any of them answered."""
        seen: list[tuple[Meter, datetime, Seen]] = []
        lost: OSError | None = None
        try:
            for meter in self._bridge.meters:
                moment = self._clock.now()
                seen.append((meter, moment, await self._driver.read(meter)))
                if seen[-1][2].is_heard:
                    await self._look_for_commands()
        except OSError as trouble:
            lost = trouble
        is_answered = any(each.is_heard for *_, each in seen)
        if is_answered:
            await self._store(seen)
        if lost is not None:
            raise lost
        return is_answered

    async def _serve_until(self, moment: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < moment:
            await self._look_for_commands()
            await asyncio.sleep(max(0, min(LOOK_SECONDS, moment - loop.time())))

    async def _store(self, seen: Sequence[tuple[Meter, datetime, Seen]]) -> None:
        readings: list[NewReading] = []
        samples: list[NewSample] = []
        refused: list[Rejected] = []
        reports: list[Report] = []
        for meter, at, shown in seen:
            serial = meter.serial
            for register, value in shown.registers.items():
                readings.append(NewReading(len(readings), serial, register, at, value))
            for quantity, value in shown.samples.items():
                samples.append(NewSample(len(samples), serial, quantity, at, value))
            for refusal in shown.refusals:
                log.warning("bridge.no_value", meter=serial, reason=refusal.reason)
                if refusal.reason != SILENCE:
                    said = f"{serial}: {refusal.reason}"
                    refused.append(Rejected("readings", len(refused), Reason.NOT_A_NUMBER, said))
            if shown.state is not None:
                reports.append(Report(serial, shown.state, at))
        now = self._clock.now()
        async with self._database.transaction() as session:
            gateway_id = await self._find_gateway(session, now=now)
            receipt = await store_batch(
                session,
                gateway_id=gateway_id,
                readings=readings,
                samples=samples,
                unreadable=refused,
                now=now,
            )
            if receipt.alarm_ids:
                await self._after_alarms(session)
        await self._report(reports)

    async def _report(self, reports: Sequence[Report]) -> None:
        if reports:
            now = self._clock.now()
            async with self._database.transaction() as session:
                gateway_id = await self._find_gateway(session, now=now)
                await report_states(session, gateway_id=gateway_id, reports=reports, now=now)

    async def _find_gateway(self, session: AsyncSession, *, now: datetime) -> int:
        key = await session.scalar(
            select(ApiKey).where(
                ApiKey.name == self._bridge.name,
                ApiKey.scope == "gateway",
                ApiKey.revoked_at.is_(None),
            )
        )
        if key is None:
            raise NoCredential(f"no credential is named {self._bridge.name}")
        if key.last_used_at is None or key.last_used_at < now - USE_NOTED_EVERY:
            key.last_used_at = now
        return key.id

    async def _look_for_commands(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._looked_at + LOOK_SECONDS:
            return
        self._looked_at = loop.time()
        now = self._clock.now()
        async with self._database.transaction() as session:
            gateway_id = await self._find_gateway(session, now=now)
            commands = await dispatch(session, gateway_id=gateway_id, now=now)
        for command in commands:
            await self._carry_out(command, gateway_id=gateway_id)
        for serial, (wanted, until) in list(self._watched.items()):
            state = await self._report_state(self._meters[serial])
            if state in FULFILLED[wanted] or loop.time() > until:
                del self._watched[serial]

    async def _carry_out(self, command: Command, *, gateway_id: int) -> None:
        """
        Pass a command on, once, to a meter that has just answered and is not yet as wanted.

        Trying again is for the core to decide. Whatever the meter says to it confirms nothing.
        """
        meter = self._meters.get(command.meter)
        if meter is None or not meter.switch:
            log.error("bridge.may_not_switch", meter=command.meter, order=command.number)
            return
        state = await self._report_state(meter)
        now = self._clock.now()
        until = min(command.valid_until or now + VALID_FOR, now + VALID_FOR)
        if state is None or state in FULFILLED[command.wanted] or until <= now:
            return
        self._watched.pop(meter.serial, None)
        try:
            await self._driver.switch(meter, command.wanted, until=until)
        except Refused as refusal:
            log.warning("bridge.refused", order=command.number, reason=refusal.reason)
            if not isinstance(refusal, NotYet):
                return
        else:
            async with self._database.transaction() as session:
                order = await accept_command(
                    session, gateway_id=gateway_id, nonce=command.nonce, now=self._clock.now()
                )
            if order not in {OrderState.ACCEPTED, OrderState.CONFIRMED}:
                log.warning("bridge.too_late", order=command.number, state=order.value)
        patience = asyncio.get_running_loop().time() + WATCHED_SECONDS
        self._watched[meter.serial] = (command.wanted, patience)

    async def _report_state(self, meter: Meter) -> Supply | None:
        """Ask how a switch stands and report it as of before the question; none: no answer."""
        moment = self._clock.now()
        try:
            state = await self._driver.read_state(meter)
        except Refused as refusal:
            log.warning("bridge.no_state", meter=meter.serial, reason=refusal.reason)
            return None
        await self._report([Report(meter.serial, state, moment)])
        return state


def _end_if_cancelled(trouble: Exception) -> None:
    """End a task whose end was asked for, though a database interrupted by it says otherwise."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from trouble


def find_pause(failures: int) -> float:
    """Return the seconds to wait after so many failures: twice as long each time, never in step."""
    longest = min(RETRY_SECONDS_MAX, RETRY_SECONDS * 2 ** min(failures - 1, DOUBLINGS_MAX))
    return random.uniform(longest / 2, longest)  # noqa: S311 (nothing secret about it)
