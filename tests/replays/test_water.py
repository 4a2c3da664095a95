"""Real water: a sound home's year, a home of five days, and a building that hardly ever rests."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from bot.demo.recorded import DATA, LITRES_PER_PULSE, recordings
from core.accounts.models import ApiKey, Operator, Service
from core.monitoring.ingest import NewReading, store_batch
from core.monitoring.leak_rules import GALLON, HOUR, LOOK_BACK, Finding, LeakKind, Span, find_leak
from core.monitoring.leaks import look_for_leaks
from core.monitoring.models import Leak, Meter, Reading, ReadingStatus
from core.notices.models import Delivery

pytestmark = pytest.mark.long

ZONE = ZoneInfo("America/Denver")
LITRE = Decimal("0.001")
TEN = timedelta(minutes=10)
HOME = DATA / "ciws-water/residential_019_1min.csv"
BUILDING = Path(__file__).parents[1] / "data/ciws-water/building_blue_square_b_10min.csv"


def spans_of(register: Sequence[tuple[datetime, Decimal]]) -> list[Span]:
    """What went through between the values of a register. Units: m³."""
    return [
        Span(starts=starts, ends=ends, used=after - before)
        for (starts, before), (ends, after) in pairwise(register)
    ]


def home_by(step: timedelta) -> list[Span]:
    """The home's register at equal steps."""
    with HOME.open(encoding="utf-8", newline="") as file:
        rows = [
            (
                datetime.fromisoformat(row["time_local"]).replace(tzinfo=ZONE).astimezone(UTC),
                int(row["pulses_total"]) * LITRES_PER_PULSE * LITRE,
            )
            for row in csv.DictReader(file)
        ]
    return spans_of(rows[:: int(step.total_seconds() // 60)])


def building_by(step: timedelta) -> list[Span]:
    """The building's register at equal steps."""
    with BUILDING.open(encoding="utf-8", newline="") as file:
        rows = [
            (
                datetime.fromisoformat(row["time_local"]).replace(tzinfo=ZONE).astimezone(UTC),
                Decimal(row["register_l"]) * LITRE,
            )
            for row in csv.DictReader(file)
        ]
    return spans_of(rows[:: int(step / TEN)])


def findings(spans: Sequence[Span]) -> list[tuple[datetime, Finding]]:
    """What is found by looking at the end of every span at what was measured before."""
    found = []
    for i, span in enumerate(spans):
        known = [each for each in spans[: i + 1] if each.starts > span.ends - LOOK_BACK - 2 * HOUR]
        finding = find_leak(known, now=span.ends, zone=ZONE)
        if finding is not None:
            found.append((span.ends, finding))
    return found


class TestAHomeOfFiveDays:
    @pytest.mark.parametrize("step", [HOUR, TEN])
    def test_is_accused_of_nothing(self, step):
        spans = home_by(step)
        dry = [span for span in spans if not span.used]
        assert len(dry) > len(spans) / 4
        assert findings(spans) == []

    @pytest.mark.parametrize("step", [HOUR, TEN])
    @pytest.mark.parametrize("litres", [5, 30])
    def test_with_a_flow_that_never_stops_is_accused_within_a_day(self, step, litres):
        sound = home_by(step)
        begins = sound[0].starts + 30 * HOUR
        leak = litres * LITRE * int(step.total_seconds()) / 3600
        leaking = [
            Span(starts=s.starts, ends=s.ends, used=s.used + leak) if s.starts >= begins else s
            for s in sound
        ]

        at, finding = findings(leaking)[0]

        assert finding.kind is LeakKind.NEVER_ZERO
        # The whole hours with a gallon before it began count as well.
        assert begins + 20 * HOUR <= at <= begins + 24 * HOUR
        assert GALLON <= finding.rate <= litres * LITRE


class TestABuildingThatHardlyRests:
    """Each of its fifteen recorded hours has a gallon and more, as with a leak; no day does."""

    def test_never_rests_by_the_hour_but_does_within_the_hours(self):
        assert min(span.rate for span in building_by(HOUR)) > 4 * GALLON
        assert len([span for span in building_by(TEN) if not span.used]) >= 5

    def test_is_not_accused_by_less_than_a_day(self):
        assert len(building_by(HOUR)) == 15
        assert findings(building_by(HOUR)) == []
        assert findings(building_by(TEN)) == []

    def test_would_be_accused_by_the_hour_if_it_went_on_so_for_a_day(self):
        night = building_by(HOUR)
        shift = night[-1].ends - night[0].starts
        again = [Span(starts=s.starts + shift, ends=s.ends + shift, used=s.used) for s in night]

        at, finding = findings(night + again)[0]

        assert at - night[0].starts == 24 * HOUR
        assert (finding.kind, finding.rate) == (
            LeakKind.NEVER_ZERO,
            min(span.rate for span in night),
        )

    def test_would_not_be_accused_by_ten_minutes_if_it_went_on_so_for_a_day(self):
        night = building_by(TEN)
        shift = night[-1].ends - night[0].starts
        again = [Span(starts=s.starts + shift, ends=s.ends + shift, used=s.used) for s in night]

        assert findings(night + again) == []


class TestAYearThroughTheService:
    """Every hour of a sound home is stored and looked at, as the running service does."""

    @pytest.mark.timeout(1800)
    @pytest.mark.parametrize(("litres", "leaks"), [(0, 0), (10, 1)])
    async def test_accuses_of_what_was_added_and_of_nothing_else(
        self, database, world, litres, leaks
    ):
        begin = datetime(2026, 4, 1, 7, tzinfo=UTC)  # midnight there, as when it was recorded
        added_from, added_to = begin + 2000 * HOUR, begin + 2100 * HOUR
        async with database.transaction() as session:
            key = ApiKey(name="g", token_hash="g", scope="gateway", created_at=begin)  # noqa: S106 (no secret)
            session.add(key)
            await session.flush()
            gateway = key.id
            await session.execute(update(Meter).values(gateway_id=gateway))
            await session.execute(update(Operator).values(timezone="America/Vancouver"))
        value = Decimal(100)
        for hour, used in enumerate([Decimal(0), *recordings().water_family]):
            now = begin + hour * HOUR
            value += used + (litres * LITRE if added_from < now <= added_to else 0)
            async with database.transaction() as session:
                item = NewReading(0, "W-10001", "total", now, value)
                await store_batch(session, gateway_id=gateway, readings=[item], samples=[], now=now)
            async with database.transaction() as session:
                await look_for_leaks(session, now=now)

        async with database.transaction() as session:
            found = list(await session.scalars(select(Leak)))
            told = list(await session.scalars(select(Delivery.kind).order_by(Delivery.id)))
            stored = list(await session.scalars(select(Reading.status)))
        assert set(stored) == {ReadingStatus.ACCEPTED}
        assert len(stored) == len(recordings().water_family) + 1
        assert [leak.meter_id for leak in found] == [world.home.meters[Service.WATER]] * leaks
        assert told == ["leak.found", "leak.over"] * leaks
        for leak in found:
            assert leak.kind is LeakKind.NEVER_ZERO
            assert added_from < leak.found_at <= added_from + 24 * HOUR
            assert added_to < leak.ended_at <= added_to + 24 * HOUR
