"""What the simulated meters measure: properties over many hours, and each event's effect."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.demo.homes import HIGH_ZONE_LIFT, Home, homes
from bot.demo.playing import Played, play
from bot.demo.signals import (
    DAY,
    HOUR,
    SLOT,
    Event,
    EventKind,
    Traits,
    sample,
    traits_from,
    use_in_day,
    use_in_hour,
)
from core.accounts.models import Service

SEED = 7
START = datetime(2026, 11, 21, 16, tzinfo=UTC)  # midnight in the district
HOMES = list(homes())
WATER = Traits(serial="W-1", service=Service.WATER, people=3, floor=2)
POWER = Traits(serial="E-1", service=Service.ELECTRICITY, people=3)


def traits_of(home: Home, service: Service) -> Traits:
    return traits_from(f"{service[0].upper()}-{home.number}", service, home.traits(service))


def course(traits: Traits, *, days: int, events: Sequence[Event] = ()) -> list[Decimal]:
    moments = (START + SLOT * step for step in range(144 * days))
    return [sample(SEED, traits, at, events=events) for at in moments]


class TestUse:
    @given(hours=st.integers(0, 20_000), seed=st.integers(0, 99))
    @pytest.mark.parametrize("traits", [WATER, POWER], ids=["water", "power"])
    def test_is_never_negative_and_always_the_same(
        self, traits: Traits, hours: int, seed: int
    ) -> None:
        at = START + HOUR * hours

        assert use_in_hour(seed, traits, at) >= 0
        assert use_in_hour(seed, traits, at) == use_in_hour(seed, traits, at)

    @pytest.mark.parametrize("recorded", [None, "water_family", "water_leaky"])
    def test_of_a_day_is_the_sum_of_its_hours(self, recorded: str | None) -> None:
        traits = Traits(serial="W-2", service=Service.WATER, recorded=recorded)
        leak = Event(kind=EventKind.LEAK, began_at=START + 7 * HOUR, ended_at=START + 11 * HOUR)
        hours = [use_in_hour(SEED, traits, START + HOUR * h, events=[leak]) for h in range(24)]

        assert use_in_day(SEED, traits, START, events=[leak]) == sum(hours)

    def test_differs_between_meters(self) -> None:
        other = Traits(serial="W-9", service=Service.WATER, people=3, floor=2)

        assert use_in_day(SEED, WATER, START) != use_in_day(SEED, other, START)

    def test_is_that_of_a_home(self) -> None:
        for home in HOMES:
            water = use_in_day(SEED, traits_of(home, Service.WATER), START)
            power = use_in_day(SEED, traits_of(home, Service.ELECTRICITY), START)
            assert Decimal("0.05") < water < Decimal(3), home
            assert Decimal(2) < power < Decimal(80), home

    def test_never_stops_while_something_leaks(self) -> None:
        leak = Event(kind=EventKind.LEAK, began_at=START)
        day = [use_in_hour(SEED, WATER, START + HOUR * h, events=[leak]) for h in range(24)]

        assert min(day) >= Decimal("0.09")
        assert use_in_hour(SEED, POWER, START, events=[leak]) == use_in_hour(SEED, POWER, START)


class TestQuality:
    def test_is_normal_at_every_home_for_a_week(self) -> None:
        for home in HOMES:
            water = traits_of(home, Service.WATER)
            low = 80 if water.lift == HIGH_ZONE_LIFT else 140
            pressure = course(water, days=7)
            voltage = course(traits_of(home, Service.ELECTRICITY), days=7)
            assert low <= min(pressure) <= max(pressure) <= 600, home
            assert Decimal(198) <= min(voltage) <= max(voltage) <= Decimal("235.4"), home

    def test_is_low_on_the_hill_by_nature(self) -> None:
        hill = [home for home in HOMES if home.traits(Service.WATER)["lift"]]

        assert len(hill) == 15
        assert min(min(course(traits_of(home, Service.WATER), days=1)) for home in hill) < 140

    def test_falls_below_every_limit_in_a_burst_and_comes_back(self) -> None:
        burst = Event(
            kind=EventKind.PRESSURE_DROP, began_at=START + HOUR, ended_at=START + 5 * HOUR
        )
        values = course(WATER, days=1, events=[burst])

        assert max(values[6:30]) < 80
        assert min(values[:6] + values[30:]) >= 140

    def test_sags_to_185_volts(self) -> None:
        sag = Event(kind=EventKind.VOLTAGE_SAG, began_at=START)

        assert all(
            Decimal(183) < value < Decimal(187) for value in course(POWER, days=1, events=[sag])
        )
        assert course(WATER, days=1, events=[sag]) == course(WATER, days=1)


class TestPlay:
    def meters(self, **more: object) -> list[Played]:
        fields = {"register": Decimal(100), "is_open": True, "moved_at": None, **more}
        return [Played(id=n, traits=traits, **fields) for n, traits in ((1, WATER), (2, POWER))]

    def test_sends_registers_every_hour_and_quality_every_ten_minutes(self) -> None:
        (batch,) = play(self.meters(), seed=SEED, played_until=START, until=START + 2 * HOUR)

        assert len(batch.readings) == 2 * 2
        assert len(batch.samples) == 2 * 12
        assert batch.until == START + 2 * HOUR

    def test_sends_the_same_in_parts_and_at_once(self) -> None:
        whole = list(play(self.meters(), seed=SEED, played_until=START, until=START + DAY))
        meters, at, parts = self.meters(), START, []
        while at < START + DAY:
            until = at + timedelta(minutes=50)
            parts += play(meters, seed=SEED, played_until=at, until=min(until, START + DAY))
            at = parts[-1].until

        assert [r for b in whole for r in b.readings] == [r for b in parts for r in b.readings]
        assert [s for b in whole for s in b.samples] == [s for b in parts for s in b.samples]

    def test_never_exceeds_a_batch_and_registers_never_fall(self) -> None:
        meters = [
            Played(
                id=home.number,
                traits=traits_of(home, service),
                register=Decimal(5),
                is_open=True,
                moved_at=None,
            )
            for home in HOMES
            for service in Service
        ]
        shown: dict[str, Decimal] = {}
        for batch in play(meters, seed=SEED, played_until=START, until=START + DAY):
            assert batch.size <= 2000
            for reading in batch.readings:
                assert Decimal(reading["value"]) >= shown.get(reading["meter"], Decimal(0))
                shown[reading["meter"]] = Decimal(reading["value"])
        assert len(shown) == 120

    def test_tells_a_long_gap_by_days_and_its_last_day_in_full(self) -> None:
        until = START + 10 * DAY + 5 * HOUR
        batches = list(play(self.meters(), seed=SEED, played_until=START, until=until))
        (dense,) = play(self.meters(), seed=SEED, played_until=START, until=START + DAY + 5 * HOUR)
        readings = [r for batch in batches for r in batch.readings]
        total = sum((use_in_day(SEED, WATER, START + DAY * d) for d in range(10)), Decimal(100))

        assert len(readings) == 9 * 2 + len(dense.readings)
        assert sum(len(batch.samples) for batch in batches) == len(dense.samples)
        midnight = (START + 10 * DAY).isoformat()
        assert {r["value"] for r in readings if r["taken_at"] == midnight} >= {str(total)}

    def test_uses_nothing_behind_a_closed_switch(self) -> None:
        meters = self.meters(is_open=False, moved_at=START)
        (batch,) = play(meters, seed=SEED, played_until=START, until=START + 3 * HOUR)

        assert [meter.register for meter in meters] == [Decimal(100), Decimal(100)]
        assert {s["quantity"] for s in batch.samples} == {"pressure"}

    def test_sends_nothing_from_a_silent_meter_which_counts_on(self) -> None:
        silence = Event(kind=EventKind.SILENT_METER, began_at=START)
        meters = self.meters(events=[silence])
        (batch,) = play(meters, seed=SEED, played_until=START, until=START + 3 * HOUR)

        assert batch.size == 0
        assert meters[0].register > 100
