"""What is remembered of a gateway changes how fast a batch is stored, and nothing else."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text, update

from core.accounts.models import Service, ServicePoint, Supply
from core.monitoring import feeds
from core.monitoring.feeds import hold_all_meters, hold_meter
from core.monitoring.gateway_models import FeedVersion
from core.monitoring.ingest import store_batch
from core.monitoring.models import Alarm, Limit, Meter, Quantity, Reading, Sample, Source
from core.monitoring.ranges import find_meters
from core.monitoring.service import record_reading
from tests.monitoring.test_ingest import (
    LATER,
    POWER,
    WATER,
    counts,
    gateways,
    minutes,
    reading,
    rows,
    sample,
    store,
    voltages,
)
from tests.world import NOON

__all__ = ["gateways", "rows", "store"]

TABLES = ("watches", "alarms", "readings", "samples", "quarantine")


@pytest.fixture
def statements(database):
    """The statements that went to the database, the newest last."""
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_rest):
        seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    return seen


def is_plain(statements) -> bool:
    """Tell whether the last batches were stored without a look at any table of values."""
    return not any("unnest" in each or "FROM shuidian.limits" in each for each in statements)


class TestAPlainValue:
    async def test_needs_no_look_at_the_tables(self, store, rows, statements):
        await store(reading(1), *voltages(220))
        statements.clear()
        batch = [reading(2, at=minutes(60)), *voltages(221, 222, start=60)]
        assert counts(await store(*batch)) == (3, 0, 0, 0)
        assert is_plain(statements)
        assert [row.value for row in await rows(Sample, Sample.taken_at)] == [220, 221, 222]
        stored = (await rows(Reading, Reading.taken_at))[-1]
        assert (stored.value, stored.source, stored.status, stored.received_at) == (
            2,
            "gateway",
            "accepted",
            LATER,
        )

    @pytest.mark.parametrize(
        "item",
        [
            reading(99, at=minutes(5)),
            reading(1, at=minutes(5)),
            reading("2.0000001", at=minutes(60)),
            reading(2, at=minutes(700)),
            reading(2),
            reading(2, at=minutes(-5)),
            *voltages(190, start=60),
            *voltages(220, start=0),
            *voltages(999_999, start=60),
            reading(2, register="a\tb\\", at=minutes(60)),
        ],
    )
    async def test_is_no_other(self, store, statements, item):
        await store(reading(2), *voltages(220))
        statements.clear()
        await store(item)
        assert not is_plain(statements)

    async def test_may_have_a_register_of_any_name(self, store, rows):
        name = "a\tb\\n\r\n'\"{},NULL"
        for number in range(3):
            at = minutes(number)
            assert counts(await store(reading(number, register=name, at=at))) == (1, 0, 0, 0)
        assert [(r.register, r.value) for r in await rows(Reading, Reading.taken_at)] == [
            (name, number) for number in range(3)
        ]


class TestWhatIsRemembered:
    async def test_is_forgotten_when_a_limit_changes(self, store, rows, database):
        await store(*voltages(220))
        async with database.transaction() as session:
            await session.execute(update(Limit).values(low=Decimal(230), hold_seconds=0))
        await store(*voltages(220, start=60))
        assert len(await rows(Alarm)) == 1

    @pytest.mark.parametrize("change", ["removed", "moved", "cut"])
    async def test_is_forgotten_when_the_meter_changes(self, store, rows, database, world, change):
        await store(*voltages(220))
        async with database.transaction() as session:
            if change == "cut":
                home = ServicePoint.id == world.home.points[Service.ELECTRICITY]
                await session.execute(update(ServicePoint).where(home).values(supply=Supply.CUT))
            else:
                new = {
                    "removed": {"removed_at": minutes(30)},
                    "moved": {"gateway_id": None},
                }[change]
                await session.execute(update(Meter).where(Meter.serial == POWER).values(**new))
        receipt = await store(*voltages(220, 100, 100, 100, 100, start=60))
        assert len(receipt.rejected) == (0 if change == "cut" else 5)
        assert await rows(Alarm) == []

    async def test_is_forgotten_when_a_person_reads_the_meter(self, store, database, world):
        await store(reading(1))
        async with database.transaction() as session:
            await record_reading(
                session,
                person_id=world.manager,
                meter_id=world.home.meters[Service.WATER],
                value=Decimal(7),
                taken_at=minutes(60),
                source=Source.STAFF,
                now=LATER,
                confirmed=True,
            )
        assert counts(await store(reading(2, at=minutes(120)))) == (0, 0, 1, 0)

    async def test_is_forgotten_when_its_batch_was_rolled_back(self, store, rows, database):
        await store(reading(1))
        gateway = (await rows(Meter, Meter.id))[0].gateway_id

        async def fail(session):
            more = [reading(9, at=minutes(60))]
            await store_batch(session, gateway_id=gateway, readings=more, samples=[], now=LATER)
            raise LookupError

        with pytest.raises(LookupError):
            async with database.transaction() as session:
                await fail(session)
        assert counts(await store(reading(2, at=minutes(60)))) == (1, 0, 0, 0)
        async with database.transaction() as session:
            await store_batch(session, gateway_id=gateway, readings=[], samples=[], now=LATER)
            with pytest.raises(LookupError):
                async with session.begin_nested():
                    await fail(session)
            kept = await store_batch(
                session,
                gateway_id=gateway,
                readings=[reading(3, at=minutes(60)), reading(3, at=minutes(90))],
                samples=[],
                now=LATER,
            )
        assert counts(kept) == (1, 0, 0, 1)

    async def test_is_bounded(self, store, rows, monkeypatch, database):
        monkeypatch.setattr(feeds, "REMEMBERED_MAX", 1)
        for number in range(4):
            at = minutes(number * 60)
            await store(
                *(reading(number, at=at, register=str(register)) for register in range(5)),
                *voltages(220, start=number * 60),
            )
        assert len(await rows(Reading)) == 20
        async with database.transaction() as session:
            remembered = session.info["feeds"].values()
        assert all(len(feed.readings) <= 5 for feed in remembered)

    async def test_is_forgotten_when_the_meter_was_moved_while_a_person_waited(
        self, store, database, gateways, world
    ):
        await store(reading(1))
        meter_id = world.home.meters[Service.WATER]

        async def type_it():
            async with database.transaction() as session:
                await record_reading(
                    session,
                    person_id=world.manager,
                    meter_id=meter_id,
                    value=Decimal(7),
                    taken_at=minutes(60),
                    source=Source.STAFF,
                    now=LATER,
                    confirmed=True,
                )

        async with database.transaction() as mover:
            await hold_all_meters(mover)
            await mover.execute(
                update(Meter).where(Meter.id == meter_id).values(gateway_id=gateways.second)
            )
            waiting = asyncio.create_task(type_it())
            await asyncio.sleep(0.3)
        async with database.transaction() as session:
            before = await session.get(FeedVersion, gateways.second)
        await waiting
        async with database.transaction() as session:
            after = await session.get(FeedVersion, gateways.second)
        assert after is not None
        assert before is None or before.version != after.version

    async def test_lets_a_person_wait_for_a_batch(self, store, database, gateways):
        await store(reading(1))
        order = []

        async def hold(session):
            (meter,) = await find_meters(session, Meter.serial == WATER)
            await hold_meter(session, meter)
            order.append("person")

        async with database.transaction() as first:
            await store_batch(
                first,
                gateway_id=gateways.first,
                readings=[reading(2, at=minutes(60))],
                samples=[],
                now=LATER,
            )
            async with database.transaction() as second:
                waiting = asyncio.create_task(hold(second))
                await asyncio.sleep(0.3)
                order.append("batch")
                await first.commit()
                await waiting
        assert order == ["batch", "person"]


items = st.tuples(
    st.sampled_from(["total", "voltage", "pressure"]),
    st.sampled_from([WATER, POWER]),
    st.integers(0, 30),
    st.sampled_from(
        ["1", "2", "3", "3.5", "4", "9", "30", "0.5", "220", "221", "150", "190", "1000"]
    ),
)


def built(item):
    name, serial, step, value = item
    at = NOON + timedelta(minutes=10 * step)
    if name == "total":
        return reading(value, at=at, serial=serial)
    return sample(value, at=at, serial=serial, quantity=Quantity(name))


class TestWithAndWithoutMemory:
    @settings(
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(st.lists(items, max_size=8), min_size=2, max_size=6), st.booleans())
    def test_the_same_is_stored(self, runner, batches, is_in_order):
        if is_in_order:  # as gateways send, so that much of it is plain
            flat = sorted((item for batch in batches for item in batch), key=lambda item: item[2])
            pieces = iter(flat)
            batches = [[next(pieces) for _ in batch] for batch in batches]
        runner([[built(item) for item in batch] for batch in batches])

    @pytest.fixture
    def runner(self, store, database):
        loop = asyncio.get_event_loop_policy().get_event_loop()

        async def play(batches, *, forget):
            async with database.transaction() as session:
                for table in TABLES:
                    await session.execute(text(f"DELETE FROM shuidian.{table}"))  # noqa: S608
                session.info["feeds"].clear()
            receipts = []
            for batch in batches:
                if forget:
                    async with database.transaction() as session:
                        session.info["feeds"].clear()
                receipt = await store(*batch)
                refused = [(each.position, each.reason) for each in receipt.rejected]
                receipts.append((*counts(receipt), sorted(refused), len(receipt.alarm_ids)))
            query = "SELECT to_jsonb(t) - 'id' - 'alarm_id' FROM shuidian.{} t ORDER BY 1"
            async with database.transaction() as session:
                kept = [
                    list(await session.scalars(text(query.format(table)))) for table in TABLES[:4]
                ]
            return receipts, kept

        async def run(batches):
            assert await play(batches, forget=False) == await play(batches, forget=True)

        return lambda batches: loop.run_until_complete(run(batches))
