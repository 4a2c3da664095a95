"""The simulated meters against the real service, on a socket."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select, text, update

from bot.app import Service
from bot.clock import ScaledClock, SystemClock
from bot.demo import troubles
from bot.demo.clock import WoundClock
from bot.demo.district import build_district
from bot.demo.leaps import leap
from bot.demo.models import DemoAccess, DemoMeter
from bot.demo.signals import EventKind
from bot.demo.simulator import Simulator
from bot.settings import Settings
from core.accounts.models import Agreement, Area, AreaKind, ServicePoint, Supply
from core.db import Database
from core.monitoring.exchange import Exchange, exchange_meter
from core.monitoring.models import Meter, Reading, Source
from core.monitoring.silence import look_for_silence
from core.repairs.intake import take_up_alarms
from core.supply.models import OrderState, Reason, SupplyOrder

START = datetime(2026, 11, 22, 4, tzinfo=UTC)  # noon in the district
SEED = 3


@dataclass
class Bench:
    """A district, the service that serves it, and its meters."""

    database: Database
    clock: WoundClock
    simulator: Simulator
    http: aiohttp.ClientSession

    async def pass_time(self, **span: float) -> None:
        """Let time pass, have the meters say what they measured, and alarms taken up."""
        self.clock.shown_at += timedelta(**span)
        await self.simulator.play_on(self.http)
        async with self.database.transaction() as session:
            await take_up_alarms(session, now=self.clock.now())

    async def trouble(self, kind: EventKind, target: int) -> None:
        async with self.database.transaction() as session:
            await troubles.begin_trouble(session, kind=kind, target_id=target, now=self.clock.now())

    async def ask(self, query: str) -> list[tuple[Any, ...]]:
        async with self.database.transaction() as session:
            return [tuple(row) for row in await session.execute(text(query))]

    async def alarmed(self) -> set[str]:
        """Return the serials of the meters with an open repair."""
        rows = await self.ask(
            "SELECT m.serial FROM shuidian.repairs r"
            " LEFT JOIN shuidian.repair_followers f ON f.repair_id = r.id"
            " JOIN shuidian.meters m"
            " ON m.service_point_id = coalesce(f.service_point_id, r.service_point_id)"
        )
        return {serial for (serial,) in rows}

    async def meter(self, serial: str) -> int:
        async with self.database.transaction() as session:
            found = await session.scalar(select(Meter.id).where(Meter.serial == serial))
            assert found is not None
            return found


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    async with database.transaction() as session:
        await build_district(session, seed=SEED, now=START)
        await session.execute(update(DemoMeter).values(played_until=START))
        token = await session.scalar(select(DemoAccess.token).where(DemoAccess.name == "gateway"))
    assert token is not None
    clock = WoundClock(set_at=SystemClock().now(), shown_at=START, rate=0)
    settings = Settings(_env_file=None, database_url=database.url, port=0, roles="web")
    service = Service(settings, clock)
    async with service.running():
        address = f"http://127.0.0.1:{service.port}"
        simulator = Simulator(database, clock, seed=SEED, address=address, token=token)
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(address, headers=headers) as http:
            yield Bench(database, clock, simulator, http)


class TestSimulator:
    async def test_files_nothing_while_all_is_well(self, bench: Bench) -> None:
        await bench.pass_time(hours=5)

        assert await bench.alarmed() == set()
        assert await bench.ask("SELECT count(*) FROM shuidian.quarantine") == [(0,)]
        assert await bench.ask("SELECT count(*) FROM shuidian.readings") == [(120 * 5,)]
        assert await bench.ask("SELECT count(*) FROM shuidian.samples") == [(120 * 30,)]

    @pytest.mark.parametrize(
        ("kind", "homes"), [(AreaKind.STREET, 30), (AreaKind.BUILDING, 15)], ids=str
    )
    async def test_files_one_repair_where_many_homes_are_without_pressure(
        self, bench: Bench, kind: AreaKind, homes: int
    ) -> None:
        async with bench.database.transaction() as session:
            area = await session.scalar(select(Area.id).where(Area.kind == kind).order_by(Area.id))
        assert area is not None
        await bench.trouble(EventKind.PRESSURE_DROP, area)
        for _ in range(5):
            await bench.pass_time(minutes=10)

        assert await bench.alarmed() == {f"W-{10_001 + number}" for number in range(homes)}
        repairs = "SELECT number, area_id FROM shuidian.repairs"
        assert await bench.ask(repairs) == [("R1001", area)]

        async with bench.database.transaction() as session:
            await troubles.end_troubles(session, now=bench.clock.now())
        await bench.pass_time(minutes=50)
        open_alarms = "SELECT count(*) FROM shuidian.alarms WHERE ended_at IS NULL"
        assert await bench.ask(open_alarms) == [(0,)]

    async def test_files_a_repair_where_the_voltage_sags(self, bench: Bench) -> None:
        await bench.trouble(EventKind.VOLTAGE_SAG, await bench.meter("E-10040"))
        await bench.pass_time(minutes=50)

        assert await bench.alarmed() == {"E-10040"}

    async def test_sends_nothing_from_a_silent_meter(self, bench: Bench) -> None:
        silent = await bench.meter("W-10003")
        await bench.trouble(EventKind.SILENT_METER, silent)
        await bench.pass_time(hours=3)

        rows = await bench.ask("SELECT DISTINCT meter_id FROM shuidian.readings")
        assert len(rows) == 119
        assert (silent,) not in rows

    async def test_sends_again_what_lies_ahead_of_the_services_clock(self, bench: Bench) -> None:
        ahead = ScaledClock(set_at=START, shown_at=START + timedelta(hours=2), rate=0)
        bench.simulator._clock = ahead
        with pytest.raises(TimeoutError):
            await bench.simulator.play_on(bench.http)
        bench.simulator._clock = bench.clock
        await bench.pass_time(hours=2)

        assert await bench.ask("SELECT count(*) FROM shuidian.readings") == [(120 * 2,)]

    async def test_sends_again_what_was_not_noted_as_sent(self, bench: Bench) -> None:
        async with bench.database.transaction() as session:
            before = {
                row.meter_id: (row.register, row.played_until)
                for row in await session.scalars(select(DemoMeter))
            }
        await bench.pass_time(hours=2)
        sent = await bench.ask("SELECT * FROM shuidian.readings ORDER BY 1, 2, 3")
        async with bench.database.transaction() as session:
            for row in await session.scalars(select(DemoMeter)):
                row.register, row.played_until = before[row.meter_id]
        bench.simulator.played_until = None
        await bench.pass_time(minutes=0)

        assert await bench.ask("SELECT * FROM shuidian.readings ORDER BY 1, 2, 3") == sent
        assert await bench.ask("SELECT count(*) FROM shuidian.quarantine") == [(0,)]

    async def test_catches_up_a_month_by_daily_registers(self, bench: Bench) -> None:
        await bench.pass_time(days=30)

        (readings,) = (await bench.ask("SELECT count(*) FROM shuidian.readings"))[0]
        assert 120 * (29 + 24) <= readings <= 120 * (30 + 48)
        assert await bench.alarmed() == set()

    async def test_goes_on_with_the_new_meter_where_one_was_replaced(self, bench: Bench) -> None:
        await bench.pass_time(hours=1)
        meter_id = await bench.meter("W-10012")
        bench.clock.shown_at += timedelta(minutes=1)
        async with bench.database.transaction() as session:
            last = await session.scalar(select(Reading.value).where(Reading.meter_id == meter_id))
            await exchange_meter(
                session,
                wanted=Exchange(
                    meter_id=meter_id,
                    finals={"total": last},
                    serial="NEW-1",
                    digits=5,
                    initials={"total": Decimal(7)},
                ),
                at=bench.clock.now(),
                person_id=None,
                source=Source.TECHNICIAN,
                now=bench.clock.now(),
            )
        await bench.pass_time(hours=3)

        shown = (
            "SELECT count(*), min(value) FROM shuidian.readings r JOIN shuidian.meters m"
            " ON m.id = r.meter_id WHERE m.serial = "
        )
        assert await bench.ask(f"{shown}'NEW-1'") == [(4, 7)]
        assert await bench.ask(f"{shown}'W-10012'") == [(2, last)]  # with the final one
        assert await bench.ask("SELECT count(*) FROM shuidian.quarantine") == [(0,)]

    async def test_opens_a_relay_again_when_ordered_and_says_so(self, bench: Bench) -> None:
        meter_id = await bench.meter("E-10012")
        async with bench.database.transaction() as session:
            await session.execute(
                update(DemoMeter)
                .where(DemoMeter.meter_id == meter_id)
                .values(is_open=False, moved_at=START - timedelta(days=1))
            )
            meter = await session.get_one(Meter, meter_id)
            point = await session.get_one(ServicePoint, meter.service_point_id)
            point.supply = Supply.CUT
            agreement_id = await session.scalar(
                select(Agreement.id).where(Agreement.service_point_id == point.id)
            )
            session.add(
                SupplyOrder(
                    number="S1001",
                    service_point_id=point.id,
                    agreement_id=agreement_id,
                    meter_id=meter_id,
                    wanted=Supply.CONNECTED,
                    reason=Reason.PAID,
                    state=OrderState.APPROVED,
                    inputs={"cut": "S1000"},
                    nonce="restore-1",
                    proposed_at=START,
                    approved_at=START,
                )
            )
        state = "SELECT state FROM shuidian.supply_orders"
        supply = f"SELECT supply FROM shuidian.service_points WHERE id = {point.id}"  # noqa: S608 (ours)
        use = f"SELECT register FROM shuidian.demo_meters WHERE meter_id = {meter_id}"  # noqa: S608 (ours)
        shown = await bench.ask(use)
        await bench.pass_time(hours=1)
        assert await bench.ask(use) == shown

        await bench.simulator.obey(bench.http)
        assert await bench.ask(state) == [("accepted",)]
        assert await bench.ask(supply) == [("cut",)]

        bench.clock.shown_at += timedelta(seconds=30)
        await bench.simulator.obey(bench.http)
        assert await bench.ask(state) == [("confirmed",)]
        assert await bench.ask(supply) == [("connected",)]
        await bench.pass_time(hours=2)
        assert await bench.ask(use) > shown


class TestLeap:
    async def listen(self, bench: Bench) -> list[tuple[Any, ...]]:
        """Look for silence; return the meters that are silent, and how many gateways."""
        async with bench.database.transaction() as session:
            await look_for_silence(session, now=bench.clock.now())
        return await bench.ask(
            "SELECT m.serial FROM shuidian.alarms a JOIN shuidian.meters m ON m.id = a.meter_id"
            " WHERE a.quantity = 'silence'"
            " UNION ALL SELECT 'gateway' FROM shuidian.gateway_silences"
        )

    @pytest.mark.parametrize(
        ("kind", "silent"),
        [(EventKind.SILENT_METER, "W-10003"), (EventKind.SILENT_GATEWAY, "gateway")],
    )
    async def test_is_no_break_of_ours_and_accuses_nobody_who_spoke(
        self, bench: Bench, kind: EventKind, silent: str
    ) -> None:
        await bench.pass_time(hours=50)
        assert await self.listen(bench) == []
        await bench.pass_time(minutes=20)
        if kind is EventKind.SILENT_METER:
            await bench.trouble(kind, await bench.meter(silent))
        else:
            async with bench.database.transaction() as session:
                await troubles.begin_trouble(
                    session, kind=kind, target_id=None, now=bench.clock.now()
                )
        playing = asyncio.create_task(bench.simulator.run())
        try:
            for _ in range(2):
                until = bench.clock.now() + timedelta(hours=10)
                await leap(bench.database, bench.clock, bench.simulator, until=until)
                assert await self.listen(bench) == [(silent,)]
        finally:
            playing.cancel()

        usual = "SELECT max(usual_seconds) FROM shuidian.hearings"
        assert await bench.ask(usual) == [(1200,)]
