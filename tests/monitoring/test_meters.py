"""Typed readings, and what is known of a meter: registers, use, pressure and voltage."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from core.accounts.models import Service
from core.audit import AuditEntry
from core.monitoring import quality, service, usage
from core.monitoring.models import Meter, Quantity, Reading, Sample, Source
from core.monitoring.partitions import ensure_months, months_of
from core.monitoring.quality import Standing
from core.monitoring.registers import Shown, advance, follow
from tests.world import NOON

ZONE = ZoneInfo("Asia/Shanghai")


def days(count: float) -> datetime:
    return NOON + timedelta(days=count)


@pytest.fixture
def put(database):
    """Store readings and samples of a meter as if a gateway had sent them."""

    async def put(meter_id, *series, register="total", status="accepted", source="gateway"):
        async with database.transaction() as session:
            await ensure_months(session, months_of(at for at, _ in series))
            session.add_all(
                Reading(
                    meter_id=meter_id,
                    register=register,
                    taken_at=at,
                    value=Decimal(str(value)),
                    source=source,
                    status=status,
                    received_at=at,
                )
                for at, value in series
            )

    return put


@pytest.fixture
def water(world) -> int:
    return world.home.meters[Service.WATER]


@pytest.fixture
def record(database, world, water):
    async def record(value, *, taken_at=NOON, now=None, person_id=None, **changes):
        async with database.transaction() as session:
            return await service.record_reading(
                session,
                **{
                    "person_id": person_id or world.home.holder,
                    "meter_id": water,
                    "value": Decimal(str(value)),
                    "taken_at": taken_at,
                    "source": Source.CUSTOMER,
                    "now": now or taken_at,
                    **changes,
                },
            )

    return record


async def meter_of(session, meter_id):
    return await service.find_meter(session, meter_id=meter_id)


class TestATypedReading:
    @pytest.fixture
    async def full(self, put, water) -> int:
        """A meter with one reading."""
        await put(water, (days(-3), 100))
        return water

    async def test_is_recorded_with_the_use_since_the_last(self, record, put, water, database):
        await put(water, (days(-3), 100))
        recorded = await record("101.5")
        assert recorded.use == Decimal("1.5")
        assert recorded.previous.value == 100
        async with database.transaction() as session:
            entry = await session.scalar(select(AuditEntry))
            assert (entry.subject, entry.details["value"]) == ("meter:W-10001", "101.5")

    async def test_can_be_the_first(self, record):
        recorded = await record(4711)
        assert (recorded.use, recorded.previous) == (None, None)

    async def test_again_at_the_same_moment_changes_nothing(self, record, database):
        await record(5)
        await record(5)
        async with database.transaction() as session:
            assert len(list(await session.scalars(select(Reading)))) == 1

    @pytest.mark.parametrize(
        ("value", "refusal"),
        [
            ("99.9", service.ReadingGoesBackwards),
            ("100000", service.TooManyDigits),
            ("-1", service.TooManyDigits),
            ("140", service.ReadingUnusual),
        ],
    )
    @pytest.mark.usefixtures("full")
    async def test_is_refused(self, record, database, value, refusal):
        with pytest.raises(refusal):
            await record(value)
        async with database.transaction() as session:
            assert len(list(await session.scalars(select(Reading)))) == 1

    async def test_below_the_last_one_names_it(self, record, put, water):
        await put(water, (days(-3), 100))
        with pytest.raises(service.ReadingGoesBackwards) as refused:
            await record(99)
        assert refused.value.params == {"latest": 100, "taken_at": days(-3)}

    async def test_that_is_unusual_is_recorded_when_confirmed(self, record, put, water):
        await put(water, *((days(-60 + i), 100 + i) for i in range(60)))
        with pytest.raises(service.ReadingUnusual) as refused:
            await record(199)
        assert refused.value.params == {"factor": 40, "use": 40}
        assert (await record(199, confirmed=True)).use == 40

    @pytest.mark.parametrize(("use", "is_unusual"), [("2.5", False), ("2.6", True)])
    async def test_is_unusual_above_five_times_the_floor(self, record, put, water, use, is_unusual):
        await put(water, (days(-1), 100))
        try:
            await record(Decimal(100) + Decimal(use))
            assert not is_unusual
        except service.ReadingUnusual:
            assert is_unusual

    async def test_after_a_rollover_goes_on(self, record, put, water):
        await put(water, (days(-3), 99999))
        assert (await record("0.5")).use == Decimal("1.5")

    async def test_in_between_must_fit_what_came_after(self, record, put, water):
        await put(water, (days(-3), 100), (days(-1), 101))
        with pytest.raises(service.ReadingGoesBackwards):
            await record(102, taken_at=days(-2), now=NOON)

    async def test_of_somebody_elses_meter_is_not_found(self, record, world):
        with pytest.raises(service.MeterNotFound):
            await record(5, person_id=world.neighbour.holder)
        with pytest.raises(service.MeterNotFound):
            await record(5, meter_id=999_999)

    @pytest.mark.parametrize(
        "taken_at", [days(1), datetime(2025, 12, 31, tzinfo=UTC)], ids=["future", "not installed"]
    )
    async def test_needs_a_working_meter(self, record, taken_at):
        with pytest.raises(service.MeterNotWorking):
            await record(5, taken_at=taken_at, now=NOON)

    async def test_is_compared_with_accepted_readings_only(self, record, put, water):
        await put(water, (days(-3), 500), status="held")
        assert (await record(5)).previous is None


class TestRegisters:
    async def test_are_the_latest_at_a_moment_each(self, put, water, world, database):
        power = world.home.meters[Service.ELECTRICITY]
        await put(water, (days(-40), 1), (days(-2), 5), (days(0), 6), (days(1), 7))
        await put(power, (days(-5), 10), register="peak")
        await put(power, (days(-9), 20), (days(3), 21), register="valley")
        await put(water, (days(-1), 99), status="held")
        async with database.transaction() as session:
            found = await usage.list_registers(session, meter_ids=[water, power], at=NOON)
        assert [(v.meter_id, v.register, v.value) for v in found] == [
            (water, "total", 6),
            (power, "peak", 10),
            (power, "valley", 20),
        ]

    @given(
        st.integers(0, 99999),
        st.lists(st.integers(0, 99999), max_size=20),
    )
    def test_never_go_back_except_over_their_end(self, first, values):
        taken = [
            value
            for value, possible in zip(
                values,
                follow(
                    Shown(NOON, Decimal(first)),
                    (Shown(NOON, Decimal(value)) for value in values),
                    digits=5,
                    ceiling=Decimal(100_000),
                ),
                strict=True,
            )
            if possible
        ]
        steps = [
            advance(Decimal(a), Decimal(b), digits=5)
            for a, b in zip([first, *taken], taken, strict=False)
        ]
        assert all(step is not None and 0 <= step < 100_000 for step in steps)


class TestUse:
    async def test_by_day_is_between_the_last_readings_of_the_days(self, put, water, database):
        midnight = datetime(2026, 11, 2, 16, tzinfo=UTC)  # the night to 3 November
        await put(
            water,
            (midnight - timedelta(days=2, hours=1), 100),
            (midnight - timedelta(days=1), "101.5"),
            (midnight - timedelta(hours=3), 103),
            (midnight, 104),
            (midnight + timedelta(days=1, hours=5), 110),
        )
        async with database.transaction() as session:
            meter = await meter_of(session, water)
            found = await usage.usage_by_day(
                session, meter=meter, last_day=date(2026, 11, 4), days=5, zone=ZONE
            )
        assert [(use.starts_date.day, use.value) for use in found] == [
            (31, None),
            (1, Decimal("1.5")),
            (2, Decimal("2.5")),
            (3, None),
            (4, 6),
        ]

    async def test_by_month_adds_up_and_counts_the_multiplier(self, put, water, database):
        async with database.transaction() as session:
            (await session.get_one(Meter, water)).multiplier = Decimal(40)
        await put(water, *((days(-90 + i), i) for i in range(0, 91, 3)))
        async with database.transaction() as session:
            meter = await meter_of(session, water)
            found = await usage.usage_by_month(
                session, meter=meter, last_day=date(2026, 11, 2), months=4, zone=ZONE
            )
        assert [use.starts_date for use in found] == [date(2026, m, 1) for m in (8, 9, 10, 11)]
        assert [use.value for use in found] == [None, 30 * 40, 30 * 40, 3 * 40]

    async def test_of_two_registers_is_their_sum_unless_there_is_a_total(
        self, put, world, database
    ):
        power = world.home.meters[Service.ELECTRICITY]
        await put(power, (days(-1), 10), (days(0), 13), register="peak")
        await put(power, (days(-1), 20), (days(0), 24), register="valley")

        async def today():
            async with database.transaction() as session:
                meter = await meter_of(session, power)
                (found,) = await usage.usage_by_day(
                    session, meter=meter, last_day=date(2026, 11, 2), days=1, zone=ZONE
                )
            return found.value

        assert await today() == 7
        await put(power, (days(-1), 30), (days(0), 38), register="total")
        assert await today() == 8

    @pytest.mark.parametrize(("hours_late", "expected"), [(23, Decimal(6)), (25, None)])
    async def test_between_two_moments_is_known_if_it_was_read_near_them(
        self, put, water, database, hours_late, expected
    ):
        late = timedelta(hours=hours_late)
        await put(water, (days(-10) - late, 100), (days(-4), 103), (days(0) - late, 106))
        async with database.transaction() as session:
            meter = await meter_of(session, water)
            found = await usage.used_between(
                session, meter=meter, starts_at=days(-10), ends_at=days(0)
            )
        assert found == expected

    async def test_across_a_rollover_is_what_went_through(self, put, water, database):
        await put(water, (days(-1), 99990), (days(0), 5))
        async with database.transaction() as session:
            meter = await meter_of(session, water)
            (found,) = await usage.usage_by_day(
                session, meter=meter, last_day=date(2026, 11, 2), days=1, zone=ZONE
            )
        assert found.value == 15


class TestQuality:
    @pytest.fixture
    def sampled(self, database, world):
        async def sampled(*series):
            async with database.transaction() as session:
                session.add_all(
                    Sample(
                        meter_id=world.home.meters[Service.ELECTRICITY],
                        quantity=Quantity.VOLTAGE,
                        taken_at=at,
                        value=Decimal(str(value)),
                    )
                    for at, value in series
                )
            async with database.transaction() as session:
                meter = await meter_of(session, world.home.meters[Service.ELECTRICITY])
                now = await quality.current_quality(session, meter=meter, now=NOON)
                steps = await quality.list_samples(
                    session,
                    meter=meter,
                    quantity=Quantity.VOLTAGE,
                    since=NOON - timedelta(hours=1),
                    step=timedelta(minutes=15),
                    steps=4,
                )
                return now, steps

        return sampled

    @pytest.mark.parametrize(
        ("value", "standing"),
        [("198", "normal"), ("197.9", "low"), ("235.5", "high"), ("235.4", "normal")],
    )
    async def test_is_the_latest_value_against_the_range(self, sampled, value, standing):
        now, _ = await sampled((NOON - timedelta(hours=2), value))
        assert (now.standing, now.value) == (standing, Decimal(value))
        assert (now.range.low, now.range.high) == (198, Decimal("235.4"))

    async def test_is_unknown_after_a_silence(self, sampled):
        now, _ = await sampled((NOON - timedelta(hours=2, seconds=1), 220))
        assert (now.standing, now.value) == (Standing.UNKNOWN, 220)

    async def test_is_unknown_when_nothing_ever_came(self, sampled):
        now, steps = await sampled()
        assert (now.standing, now.value) == (Standing.UNKNOWN, None)
        assert {step.mean for step in steps} == {None}

    async def test_of_the_past_comes_in_equal_steps(self, sampled):
        _, steps = await sampled(
            (NOON - timedelta(minutes=61), 1),
            (NOON - timedelta(minutes=60), 220),
            (NOON - timedelta(minutes=50), 223),
            (NOON - timedelta(minutes=1), 230),
            (NOON, 1),
        )
        assert [(step.lowest, step.mean, step.highest) for step in steps] == [
            (220, Decimal("221.5"), 223),
            (None, None, None),
            (None, None, None),
            (230, 230, 230),
        ]
