"""A gateway's batch: every item in one of four counts, whatever comes, in whatever order."""

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, text, update

from core.accounts.models import ApiKey, Service, ServicePoint, Supply
from core.monitoring.gateway_models import Quarantined
from core.monitoring.ingest import NewReading, NewSample, Reason, Receipt, store_batch
from core.monitoring.models import (
    Alarm,
    Limit,
    Meter,
    Quantity,
    Reading,
    ReadingStatus,
    Sample,
    Side,
    Watch,
)
from core.monitoring.partitions import ensure_months
from tests.world import NOON

WATER, POWER = "W-10001", "E-10001"


def minutes(count: int) -> datetime:
    return NOON + timedelta(minutes=count)


LATER = minutes(600)


def reading(value, *, at=NOON, serial=WATER, register="total", position=0) -> NewReading:
    return NewReading(position, serial, register, at, Decimal(str(value)))


def sample(value, *, at=NOON, serial=POWER, quantity=Quantity.VOLTAGE, position=0) -> NewSample:
    return NewSample(position, serial, quantity, at, Decimal(str(value)))


def voltages(*values, start=0, serial=POWER) -> list[NewSample]:
    return [
        sample(value, at=minutes(start + 10 * i), serial=serial) for i, value in enumerate(values)
    ]


@dataclass
class Gateways:
    first: int
    second: int


@pytest.fixture
async def gateways(database, world) -> Gateways:
    """Two gateways: the first has the home's meters, the second the neighbour's."""
    async with database.transaction() as session:
        keys = [
            ApiKey(name=name, token_hash=name, scope="gateway", created_at=NOON)
            for name in ("cellar", "attic")
        ]
        session.add_all(keys)
        await session.flush()
        for key, home in zip(keys, (world.home, world.neighbour), strict=True):
            await session.execute(
                update(Meter).where(Meter.id.in_(home.meters.values())).values(gateway_id=key.id)
            )
        return Gateways(*(key.id for key in keys))


@pytest.fixture
def store(database, gateways):
    async def store(*items, gateway=None, now=LATER) -> Receipt:
        async with database.transaction() as session:
            return await store_batch(
                session,
                gateway_id=gateway or gateways.first,
                readings=[item for item in items if isinstance(item, NewReading)],
                samples=[item for item in items if isinstance(item, NewSample)],
                now=now,
            )

    return store


@pytest.fixture
def rows(database):
    async def rows(model, *order):
        async with database.transaction() as session:
            return list(await session.scalars(select(model).order_by(*order)))

    return rows


def counts(receipt: Receipt) -> tuple[int, int, int, int]:
    return receipt.accepted, receipt.duplicate, receipt.held, len(receipt.rejected)


class TestABatch:
    async def test_is_stored(self, store, rows):
        receipt = await store(reading("12.345"), *voltages(220, 221))
        assert counts(receipt) == (3, 0, 0, 0)
        (stored,) = await rows(Reading)
        assert (stored.value, stored.source, stored.status) == (
            Decimal("12.345"),
            "gateway",
            "accepted",
        )
        assert [row.value for row in await rows(Sample, Sample.taken_at)] == [220, 221]

    async def test_changes_nothing_when_it_comes_again(self, store, rows):
        batch = [reading(1), reading(2, at=minutes(60)), *voltages(190, 190, 190, 220, 220, 220)]
        first = await store(*batch)
        before = [(alarm.id, alarm.ended_at) for alarm in await rows(Alarm)]
        again = await store(*batch)
        assert counts(again) == (0, 8, 0, 0)
        assert (len(first.alarm_ids), again.alarm_ids) == (1, ())
        assert [(alarm.id, alarm.ended_at) for alarm in await rows(Alarm)] == before

    async def test_of_nothing_is_fine(self, store):
        assert counts(await store()) == (0, 0, 0, 0)

    async def test_can_be_large_and_overlap_what_is_known(self, store, rows):
        batch = [reading(i, at=NOON - timedelta(minutes=i), position=i) for i in range(2000)]
        batch = [item._replace(value=Decimal(2000 - item.position)) for item in batch]
        assert counts(await store(*batch[:1500])) == (1500, 0, 0, 0)
        assert counts(await store(*batch[500:])) == (500, 1000, 0, 0)
        assert len(await rows(Reading)) == 2000

    async def test_goes_into_months_that_are_made_when_needed(self, store, database):
        long_ago = datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
        receipt = await store(
            reading(5, at=datetime(2027, 1, 31, tzinfo=UTC)),
            reading(6, at=datetime(2027, 2, 1, tzinfo=UTC)),
            reading(1, at=long_ago),
            now=datetime(2027, 2, 1, 1, tzinfo=UTC),
        )
        assert counts(receipt) == (3, 0, 0, 0)
        async with database.transaction() as session:
            names = await session.execute(
                text("SELECT tableoid::regclass::text FROM shuidian.readings ORDER BY taken_at")
            )
            assert [name for (name,) in names] == [
                "shuidian.readings_2026_01",
                "shuidian.readings_2027_01",
                "shuidian.readings_2027_02",
            ]

    async def test_makes_a_new_month_once_when_two_need_it(self, database):
        async def make():
            async with database.transaction() as session:
                await ensure_months(session, [date(2030, 5, 17), date(2030, 6, 1)])
                await asyncio.sleep(0.05)

        await asyncio.gather(*(make() for _ in range(4)))
        async with database.transaction() as session:
            assert (
                await session.scalar(
                    text("SELECT count(*) FROM pg_tables WHERE tablename ~ '_2030_'")
                )
                == 4
            )


class TestAnItemIsRejected:
    @pytest.mark.parametrize(
        ("item", "reason"),
        [
            (reading(1, serial="W-99999"), Reason.UNKNOWN_METER),
            (reading(1, serial="W-1\0\ud800"), Reason.UNKNOWN_METER),
            (reading(1, serial="W-10002"), Reason.NOT_YOUR_METER),
            (reading(1, at=minutes(606)), Reason.IN_THE_FUTURE),
            (reading(1, at=NOON - timedelta(days=1200)), Reason.TOO_OLD),
            (reading(1, at=datetime(1, 1, 1, tzinfo=UTC)), Reason.TOO_OLD),
            (reading(1, at=datetime(2025, 12, 31, tzinfo=UTC)), Reason.NOT_INSTALLED),
            (reading("-0.001"), Reason.NEGATIVE),
            (reading(100000), Reason.TOO_MANY_DIGITS),
            (reading("1E+400"), Reason.TOO_MANY_DIGITS),
            (reading("0.0000001"), Reason.TOO_MANY_DIGITS),
            (sample(1000000), Reason.TOO_MANY_DIGITS),
            (sample(-1), Reason.NEGATIVE),
            (sample(220, serial=WATER), Reason.WRONG_SERVICE),
            (sample(1, serial=POWER, quantity=Quantity.PRESSURE), Reason.WRONG_SERVICE),
        ],
    )
    async def test_with_its_place_and_reason(self, store, rows, item, reason):
        receipt = await store(reading(7), item._replace(position=3))
        assert counts(receipt) == (1, 0, 0, 1)
        (rejected,) = receipt.rejected
        assert (rejected.position, rejected.reason) == (3, reason)
        (kept,) = await rows(Quarantined)
        assert kept.reason == reason
        assert len(str(kept.payload)) < 700
        assert len(await rows(Reading)) + len(await rows(Sample)) == 1

    async def test_after_the_meter_was_removed(self, store, database, world):
        async with database.transaction() as session:
            meter = await session.get_one(Meter, world.home.meters[Service.WATER])
            meter.removed_at = minutes(5)
        receipt = await store(reading(1, at=minutes(5)), reading(1, at=minutes(6), position=1))
        assert [(item.position, item.reason) for item in receipt.rejected] == [(1, Reason.REMOVED)]

    async def test_when_it_contradicts_what_is_known(self, store, rows):
        await store(reading(5), sample(220))
        receipt = await store(reading(6), sample("220.0"), sample(221, position=1))
        assert counts(receipt) == (0, 1, 0, 2)
        assert {item.reason for item in receipt.rejected} == {Reason.CONFLICT}
        assert [row.value for row in await rows(Reading)] == [5]

    async def test_when_it_contradicts_its_own_batch(self, store, rows):
        receipt = await store(reading(5), reading("5.0", position=1), reading(6, position=2))
        assert counts(receipt) == (0, 1, 1, 1)
        assert [row.value for row in await rows(Reading)] == [5]


class TestARegister:
    async def test_that_goes_back_is_held(self, store, rows):
        await store(reading(100))
        receipt = await store(reading(99, at=minutes(1)), reading(101, at=minutes(2)))
        assert counts(receipt) == (1, 0, 1, 0)
        assert [row.status for row in await rows(Reading, Reading.taken_at)] == [
            ReadingStatus.ACCEPTED,
            ReadingStatus.HELD,
            ReadingStatus.ACCEPTED,
        ]

    async def test_that_ran_over_goes_on(self, store):
        await store(reading("99995"))
        assert counts(await store(reading("3", at=minutes(1)))) == (1, 0, 0, 0)

    async def test_that_jumps_is_held_until_the_next_ones_confirm_or_not(self, store, rows):
        log = ["0.186", "0.186", "31216.752", "0.19"]
        await store(*(reading(value, at=minutes(i)) for i, value in enumerate(log)))
        assert [row.status for row in await rows(Reading, Reading.taken_at)] == [
            ReadingStatus.ACCEPTED,
            ReadingStatus.ACCEPTED,
            ReadingStatus.HELD,
            ReadingStatus.ACCEPTED,
        ]

    async def test_may_go_far_in_a_long_time(self, store):
        await store(reading(0))
        assert counts(await store(reading("10.1", at=minutes(60)))) == (0, 0, 1, 0)
        assert counts(await store(reading("20", at=minutes(120)))) == (1, 0, 0, 0)

    async def test_has_its_own_ceiling(self, store, database):
        async with database.transaction() as session:
            await session.execute(update(Meter).values(ceiling=Decimal("0.5"), multiplier=10))
        await store(reading(0))
        assert counts(await store(reading("0.05", at=minutes(1)))) == (1, 0, 0, 0)
        assert counts(await store(reading("0.11", at=minutes(2)))) == (0, 0, 1, 0)

    async def test_of_which_two_values_were_sent_counts_for_nothing(self, store, rows):
        await store(reading(5), reading(9, at=minutes(1)), reading(7, at=minutes(2)))
        await store(reading(6, at=minutes(1)))
        assert [row.status for row in await rows(Reading, Reading.taken_at)] == [
            ReadingStatus.ACCEPTED,
            ReadingStatus.DISPUTED,
            ReadingStatus.ACCEPTED,
        ]
        await store(reading(8, at=minutes(3)))
        assert [row.status for row in await rows(Reading, Reading.taken_at)][1] == "disputed"

    async def test_that_shows_an_old_value_again_is_held(self, store):
        await store(reading(80000))
        assert counts(await store(reading(11, at=minutes(1)))) == (0, 0, 1, 0)

    async def test_is_held_when_a_higher_one_from_before_comes_late(self, store, rows):
        await store(reading(10, at=minutes(60)))
        assert counts(await store(reading(13))) == (1, 0, 0, 0)
        assert [row.status for row in await rows(Reading, Reading.taken_at)] == ["accepted", "held"]

    async def test_is_compared_only_with_itself(self, store):
        receipt = await store(
            reading(100, register="peak"),
            reading(50, at=minutes(1), register="valley"),
            reading(20, at=minutes(2), serial=POWER),
        )
        assert counts(receipt) == (3, 0, 0, 0)

    async def test_goes_on_after_held_values(self, store):
        await store(reading(100), reading(5, at=minutes(1)))
        assert counts(await store(reading(100, at=minutes(2)))) == (1, 0, 0, 0)

    async def test_may_be_below_an_estimate(self, store, database, world):
        async with database.transaction() as session:
            session.add(
                Reading(
                    meter_id=world.home.meters[Service.WATER],
                    register="total",
                    taken_at=NOON,
                    value=Decimal(500),
                    source="estimate",
                    status="accepted",
                    received_at=NOON,
                )
            )
        assert counts(await store(reading(480, at=minutes(1)))) == (1, 0, 0, 0)

    @pytest.mark.parametrize("seed", range(6))
    async def test_is_the_same_in_any_order_and_with_duplicates(self, store, rows, database, seed):
        async with database.transaction() as session:
            await session.execute(update(Meter).values(ceiling=Decimal(100_000)))
        values = [10, 20, 15, 30, 5, 31, 99999, 2, 3, 95000, 95001, 12]
        items = [reading(value, at=minutes(i)) for i, value in enumerate(values)]
        shuffled = items + items[::3]
        random.Random(seed).shuffle(shuffled)  # noqa: S311 (no secret)
        while shuffled:
            size = seed % 4 + 1
            await store(*shuffled[:size])
            shuffled = shuffled[size:]
        accepted = [
            row.value
            for row in await rows(Reading, Reading.taken_at)
            if row.status is ReadingStatus.ACCEPTED
        ]
        assert accepted == [10, 20, 30, 31, 99999, 2, 3, 95000, 95001, 12]


class TestSamples:
    async def test_that_are_normal_leave_no_trace(self, store, rows):
        receipt = await store(*voltages(220, 221, 198, "235.4"))
        assert receipt.alarm_ids == ()
        assert await rows(Watch) == []

    async def test_outside_for_long_raise_one_alarm(self, store, rows):
        receipt = await store(*voltages(220, 190, 185, 188))
        (alarm,) = await rows(Alarm)
        assert receipt.alarm_ids == (alarm.id,)
        assert (alarm.side, alarm.limit, alarm.worst) == (Side.LOW, Decimal("198.0"), 185)
        assert (alarm.began_at, alarm.raised_at, alarm.ended_at) == (minutes(10), minutes(30), None)

    async def test_are_judged_the_same_in_one_batch_or_many(self, store, rows):
        series = voltages(190, 190, 190, 180, 220, 220, 190, 220, 220, 220, 250, 251, 252, 220)
        for item in series:
            await store(item)
        one_by_one = [
            (alarm.side, alarm.worst, alarm.began_at, alarm.raised_at, alarm.ended_at)
            for alarm in await rows(Alarm, Alarm.id)
        ]
        await store(
            *(item._replace(serial="E-10002") for item in series), gateway=store_second(store)
        )
        together = [
            (alarm.side, alarm.worst, alarm.began_at, alarm.raised_at, alarm.ended_at)
            for alarm in await rows(Alarm, Alarm.id)
        ][len(one_by_one) :]
        assert together == one_by_one
        assert [row[0] for row in one_by_one] == [Side.LOW, Side.HIGH]

    async def test_back_inside_end_the_alarm_and_forget_the_watch(self, store, rows):
        (raised,) = (await store(*voltages(190, 190, 190))).alarm_ids
        ended = await store(*voltages(220, 220, 221, start=30))
        (alarm,) = await rows(Alarm)
        assert ended.alarm_ids == (raised,)
        assert (alarm.ended_at, alarm.end_value) == (minutes(50), 221)
        assert await rows(Watch) == []

    async def test_that_only_make_it_worse_are_no_news(self, store, rows):
        await store(*voltages(190, 190, 190))
        receipt = await store(*voltages(150, start=30))
        assert receipt.alarm_ids == ()
        assert [alarm.worst for alarm in await rows(Alarm)] == [150]

    async def test_that_come_late_are_stored_and_not_judged(self, store, rows):
        await store(*voltages(220, start=600))
        receipt = await store(*voltages(190, 190, 190, 190))
        assert (counts(receipt), receipt.alarm_ids) == ((4, 0, 0, 0), ())
        assert await rows(Watch) == []

    async def test_behind_an_open_relay_accuse_nobody(self, store, rows, database, world):
        async with database.transaction() as session:
            point = await session.get_one(ServicePoint, world.home.points[Service.ELECTRICITY])
            point.supply = Supply.CUT
        assert (await store(*voltages(0, 0, 0, 0))).alarm_ids == ()
        assert await rows(Watch) == []

    @pytest.mark.parametrize("service", list(Service))
    async def test_taken_behind_a_cut_that_is_over_accuse_nobody(
        self, store, rows, database, world, service
    ):
        async with database.transaction() as session:
            point = await session.get_one(ServicePoint, world.home.points[service])
            point.supply_since = minutes(35)
        quantity = Quantity.PRESSURE if service is Service.WATER else Quantity.VOLTAGE
        serial = WATER if service is Service.WATER else POWER
        samples = [NewSample(i, serial, quantity, minutes(10 * i), Decimal(0)) for i in range(4)]
        assert (await store(*samples)).alarm_ids == ()
        assert await rows(Watch) == []

    async def test_of_many_meters_are_judged_each_by_itself(self, store):
        receipt = await store(
            *voltages(190, 190, 190),
            *(
                NewSample(i, WATER, Quantity.PRESSURE, minutes(10 * i), Decimal(50))
                for i in range(3)
            ),
        )
        assert len(receipt.alarm_ids) == 2


def store_second(store) -> int:
    """Return the second gateway, which the fixture of the first keeps."""
    gateways = next(
        cell.cell_contents for cell in store.__closure__ if isinstance(cell.cell_contents, Gateways)
    )
    return gateways.second


LOWS = ("all", "class", "street", "building", "feeder", "meter", "shop")


@pytest.fixture
def set_limits(database, world):
    """Replace the limits of voltage by one for each of these scopes, ever higher."""
    places = {
        "all": {},
        "class": {"customer_class": "home"},
        "street": {"area_id": world.street},
        "building": {"area_id": world.building},
        "feeder": {"area_id": world.feeder},
        "meter": {"meter_id": world.home.meters[Service.ELECTRICITY]},
        "shop": {"customer_class": "shop"},
    }

    async def set_limits(scopes):
        async with database.transaction() as session:
            await session.execute(delete(Limit).where(Limit.quantity == Quantity.VOLTAGE))
            for scope in scopes:
                session.add(
                    Limit(
                        quantity=Quantity.VOLTAGE,
                        low=LOWS.index(scope) + 1,
                        deadband=Decimal(0),
                        hold_seconds=0,
                        **places[scope],
                    )
                )

    return set_limits


class TestTheLimitThatCounts:
    @pytest.mark.parametrize(
        ("scopes", "expected"),
        [
            ([], None),
            (["all"], "all"),
            (["all", "class"], "class"),
            (["class", "street"], "street"),
            (["street", "building", "class"], "building"),
            (["building", "feeder"], "feeder"),
            (["feeder", "meter"], "meter"),
        ],
    )
    async def test_is_the_most_specific_one(self, store, rows, set_limits, scopes, expected):
        await set_limits([*scopes, "shop"])
        await store(sample("0"))
        assert [alarm.limit for alarm in await rows(Alarm)] == (
            [LOWS.index(expected) + 1] if expected else []
        )


class TestAtTheSameTime:
    async def test_two_batches_of_one_meter_raise_one_alarm(self, store, rows):
        pieces = [voltages(190, 190, 190, 190, start=10 * i) for i in range(6)]
        receipts = await asyncio.gather(*(store(*piece) for piece in pieces + pieces))
        (alarm,) = await rows(Alarm)
        assert [list(r.alarm_ids) for r in receipts if r.alarm_ids] == [[alarm.id]]
        assert sum(r.accepted for r in receipts) == len(await rows(Sample)) == 9

    async def test_the_same_batch_is_accepted_once(self, store):
        batch = [reading(i, at=minutes(i)) for i in range(300)]
        receipts = await asyncio.gather(*(store(*batch) for _ in range(5)))
        assert sorted(r.accepted for r in receipts) == [0, 0, 0, 0, 300]
        assert all(r.received == 300 for r in receipts)

    async def test_two_gateways_do_not_wait_for_each_other(self, database, gateways):
        async with database.transaction() as first:
            await store_batch(
                first, gateway_id=gateways.first, readings=[reading(1)], samples=[], now=NOON
            )
            async with asyncio.timeout(5), database.transaction() as second:
                receipt = await store_batch(
                    second,
                    gateway_id=gateways.second,
                    readings=[reading(1, serial="W-10002")],
                    samples=[],
                    now=NOON,
                )
        assert receipt.accepted == 1


moments = st.sampled_from(
    [*(minutes(i) for i in range(6)), minutes(700), datetime(2020, 1, 1, tzinfo=UTC)]
)
values = st.sampled_from(
    [
        "0",
        "0E-999999",
        "0E+999999",
        "1",
        "1.0",
        "5",
        "-1",
        "190",
        "220",
        "99999",
        "100000",
        "1E+400",
    ]
)
serials = st.sampled_from([WATER, POWER, "W-10002", "none"])
readings = st.builds(
    lambda serial, register, at, value: reading(value, at=at, serial=serial, register=register),
    serials,
    st.sampled_from(["total", "peak"]),
    moments,
    values,
)
measured = st.builds(
    lambda serial, quantity, at, value: sample(value, at=at, serial=serial, quantity=quantity),
    serials,
    st.sampled_from(Quantity),
    moments,
    values,
)


class TestTheCounts:
    @settings(
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(st.lists(readings | measured, max_size=12), max_size=4))
    def test_always_add_up(self, runner, batches):
        runner(batches)

    @pytest.fixture
    def runner(self, store, rows, database):
        loop = asyncio.get_event_loop_policy().get_event_loop()

        async def run(batches):
            async with database.transaction() as session:
                for table in ("watches", "alarms", "readings", "samples", "quarantine"):
                    await session.execute(text(f"DELETE FROM shuidian.{table}"))  # noqa: S608
            received = accepted = held = rejected = 0
            for batch in batches:
                receipt = await store(*batch)
                assert receipt.received == len(batch)
                received += receipt.received
                accepted += receipt.accepted
                held += receipt.held
                rejected += len(receipt.rejected)
            assert len(await rows(Quarantined)) == rejected
            assert len(await rows(Reading)) + len(await rows(Sample)) == accepted + held
            async with database.transaction() as session:
                open_alarms = await session.scalar(
                    select(func.count()).where(Alarm.ended_at.is_(None))
                )
                assert open_alarms == await session.scalar(
                    select(func.count()).where(Watch.alarm_id.is_not(None))
                )

        return lambda batches: loop.run_until_complete(run(batches))
