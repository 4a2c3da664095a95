"""Eight days of a real home's mains: as many alarms as the limits say, however they are sent."""

import csv
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import delete, select

from bot.demo.recorded import DATA
from core.accounts.models import ApiKey, Service
from core.monitoring.ingest import NewSample, store_batch
from core.monitoring.models import Alarm, Limit, Meter, Quantity
from core.monitoring.ranges import USUAL, set_limit
from core.monitoring.thresholds import SILENCE_MAX, Range
from tests.replays.slow_alarms import SlowAlarm, find_alarms
from tests.world import NOON

pytestmark = pytest.mark.long

FILE = DATA / "uci-household-power/household_1min_2006-12-16_24.csv"
BEGAN = datetime(2006, 12, 16, 17, 24, tzinfo=UTC)  # its own local time, without a zone
CHINESE = USUAL[Quantity.VOLTAGE]  # 220 V + 7 % - 10 %
EUROPEAN = {  # EN 50160: 230 V +- 10 %, the rest as the house has it
    **CHINESE,
    "low": Decimal(207),
    "high": Decimal(253),
    "deadband": Decimal("4.1"),
}
# So that both sides of a range are met: what this home itself lies between half of the time.
NARROW = {**CHINESE, "low": Decimal(239), "high": Decimal(243), "deadband": Decimal(1)}


def recorded() -> list[tuple[datetime, Decimal]]:
    """The minutes that were measured, moved to the days of the tests."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter=";") if row["Voltage"] != "?"]
    moments = [
        datetime.strptime(f"{row['Date']} {row['Time']}", "%d/%m/%Y %H:%M:%S").replace(tzinfo=UTC)
        for row in rows
    ]
    return [
        (NOON + (at - BEGAN), Decimal(row["Voltage"]))
        for at, row in zip(moments, rows, strict=True)
    ]


MINUTES = recorded()


def means_of_ten() -> list[tuple[datetime, Decimal]]:
    """The means of ten minutes each, as most meters tell them."""
    tens = [MINUTES[i : i + 10] for i in range(0, len(MINUTES) - 9, 10)]
    return [
        (ten[-1][0], (sum((value for _, value in ten), Decimal(0)) / 10).quantize(Decimal("0.001")))
        for ten in tens
    ]


@pytest.fixture
async def replay(database, world):
    async with database.transaction() as session:
        key = ApiKey(name="cellar", token_hash="cellar", scope="gateway", created_at=NOON)  # noqa: S106 (no secret)
        session.add(key)
        await session.flush()
        meter = await session.get_one(Meter, world.home.meters[Service.ELECTRICITY])
        meter.gateway_id = gateway = key.id

    async def replay(limits, batches) -> list[SlowAlarm]:
        async with database.transaction() as session:
            await session.execute(delete(Limit).where(Limit.quantity == Quantity.VOLTAGE))
            limit = Limit(quantity=Quantity.VOLTAGE, **limits)
            await set_limit(session, limit, now=NOON)
        for batch in batches:
            async with database.transaction() as session:
                await store_batch(
                    session,
                    gateway_id=gateway,
                    readings=[],
                    samples=[
                        NewSample(i, "E-10001", Quantity.VOLTAGE, at, value)
                        for i, (at, value) in enumerate(batch)
                    ],
                    now=MINUTES[-1][0],
                )
        async with database.transaction() as session:
            alarms = await session.scalars(select(Alarm).order_by(Alarm.raised_at))
            return [
                SlowAlarm(a.side, a.began_at, a.raised_at, a.worst, a.ended_at, a.end_value)
                for a in alarms
            ]

    return replay


def in_batches(series, size):
    return [series[start : start + size] for start in range(0, len(series), size)]


def disturbed(series, *, seed):
    """Batches of any size, each in any order, with some twice and old ones among the new."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    batches = []
    start = 0
    while start < len(series):
        size = chance.randint(1, 400)
        piece = series[start : start + size]
        batch = piece + chance.sample(piece, len(piece) // 3)
        chance.shuffle(batch)
        batches += [batch, *chance.sample(batches, min(len(batches), chance.randint(0, 1)))]
        start += size
    return batches


def slowly(limits, series):
    kept = Range(
        low=limits["low"],
        high=limits["high"],
        deadband=limits["deadband"],
        hold=timedelta(seconds=limits["hold_seconds"]),
    )
    return find_alarms(kept, series, silence_max=SILENCE_MAX)


class TestAHomesMains:
    @pytest.mark.parametrize(
        ("limits", "make", "count"),
        [
            (EUROPEAN, lambda: MINUTES, 0),
            (CHINESE, lambda: MINUTES, 1),
            (CHINESE, means_of_ten, 1),
            (NARROW, lambda: MINUTES, 30),
        ],
        ids=["european", "chinese", "chinese-of-means", "narrow"],
    )
    async def test_raise_the_alarms_that_a_slow_model_finds(self, replay, limits, make, count):
        series = make()
        expected = slowly(limits, series)

        found = await replay(limits, in_batches(series, 360))

        assert found == expected
        assert len(found) == count

    @pytest.mark.parametrize("seed", range(2))
    async def test_raise_the_same_alarms_out_of_order_and_twice(self, replay, seed):
        found = await replay(NARROW, disturbed(MINUTES, seed=seed))

        assert found == slowly(NARROW, MINUTES)
