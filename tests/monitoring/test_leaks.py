"""Leaks: a real year accuses nobody, added flows are found in time, and people have their say."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bot.demo.recorded import recordings
from core.accounts.models import Service
from core.db import Database
from core.monitoring.leak_rules import HOUR, Finding, LeakKind, Span, find_leak, is_over
from core.monitoring.leaks import CHUNK, LeakNotFound, look_for_leaks
from core.monitoring.models import Leak, LeakAnswer, Source
from core.monitoring.rows import Key, add_readings
from core.repairs.leaks import answer_leak
from core.repairs.models import Cause, Repair
from core.repairs.severity import Severity
from core.repairs.workflow import Act, State
from tests.billing.books import ask
from tests.core.test_repairs import act, messages, news, to_managers, view
from tests.world import NOON, World

ZONE = ZoneInfo("America/Vancouver")
BEGIN = datetime(2012, 4, 1, 7, tzinfo=UTC)
LITRES = Decimal("0.001")


def hourly(
    uses: Sequence[Decimal], *, begin: datetime = BEGIN, step: timedelta = HOUR
) -> list[Span]:
    return [
        Span(starts=begin + n * step, ends=begin + (n + 1) * step, used=used)
        for n, used in enumerate(uses)
    ]


def look(spans: Sequence[Span], at: int) -> Finding | None:
    """Look at the end of a span, as the service does: at the last three days."""
    return find_leak(spans[max(0, at - 80) : at + 1], now=spans[at].ends, zone=ZONE)


YEAR = hourly(recordings().water_family)


class TestFindLeak:
    def test_accuses_nobody_in_a_real_year_of_a_sound_home(self) -> None:
        assert [YEAR[at].ends for at in range(80, len(YEAR), 3) if look(YEAR, at)] == []

    @pytest.mark.parametrize("litres", [10, 40])
    def test_finds_a_flow_that_joins_a_real_home_within_a_day(self, litres: int) -> None:
        begin, end = 2000, 2100
        spans = [
            Span(starts=s.starts, ends=s.ends, used=s.used + litres * LITRES)
            if begin <= n < end
            else s
            for n, s in enumerate(YEAR)
        ]

        first = next(at for at in range(begin - 50, end) if look(spans, at))
        found = look(spans, first)
        over = next(
            at
            for at in range(first, end + 50)
            if is_over(LeakKind.NEVER_ZERO, spans[: at + 1], since=spans[first].ends, zone=ZONE)
        )

        assert begin <= first <= begin + 24
        assert found is not None
        assert found.kind is LeakKind.NEVER_ZERO
        assert found.rate <= litres * LITRES
        assert end <= over <= end + 24

    @settings(deadline=None)
    @given(
        litres=st.lists(st.integers(0, 300), min_size=70, max_size=80),
        dry=st.integers(0, 23),
    )
    def test_never_accuses_of_running_without_a_pause_where_each_day_has_one(
        self, litres: list[int], dry: int
    ) -> None:
        uses = [LITRES * (0 if n % 24 == dry else used) for n, used in enumerate(litres)]
        found = [look(hourly(uses), at) for at in range(30, len(uses))]

        assert LeakKind.NEVER_ZERO not in {each.kind for each in found if each}

    @settings(deadline=None)
    @given(gaps=st.sets(st.integers(0, 79), min_size=4), every=st.integers(5, 20))
    def test_takes_what_was_not_measured_for_no_evidence(self, gaps: set[int], every: int) -> None:
        holes = gaps | set(range(0, 80, every))
        spans = [s for n, s in enumerate(hourly([40 * LITRES] * 80)) if n not in holes]

        found = find_leak(spans, now=BEGIN + 80 * HOUR, zone=ZONE)
        assert found is None or found.kind is LeakKind.NIGHT_FLOW  # whole nights were measured

    def test_finds_a_burst_in_two_hours_and_asks_of_it_first(self) -> None:
        spans = hourly([Decimal(0)] * 75 + [700 * LITRES] * 2)

        assert look(spans, 75) is None
        found = look(spans, 76)
        assert found is not None
        assert (found.kind, found.began_at) == (LeakKind.BURST, spans[75].starts)

    def test_finds_a_flow_of_three_nights(self) -> None:
        wet, dry = [20 * LITRES] * 5, [Decimal(0)] * 19
        spans = hourly((wet + dry) * 4, begin=datetime(2012, 6, 1, 1, tzinfo=ZONE).astimezone(UTC))

        found = look(spans, 24 * 3 - 1)
        assert found is not None
        assert (found.kind, found.rate) == (LeakKind.NIGHT_FLOW, 20 * LITRES)
        assert look(spans[:48], 47) is None

    def test_finds_a_cistern_that_fills_up_all_night(self) -> None:
        ten = timedelta(minutes=10)
        begin = datetime(2012, 6, 1, 0, tzinfo=ZONE).astimezone(UTC)
        leaking = hourly([3 * LITRES * (n % 3 == 1) for n in range(30)], begin=begin, step=ten)
        living = hourly([(n * 7 % 5) * LITRES for n in range(30)], begin=begin, step=ten)

        found = find_leak(leaking, now=leaking[-1].ends, zone=ZONE)
        assert found is not None
        assert found.kind is LeakKind.REFILLS
        assert find_leak(living, now=living[-1].ends, zone=ZONE) is None

    def test_leaves_out_what_people_declared_to_be_theirs(self) -> None:
        spans = hourly([50 * LITRES] * 30)
        now = spans[-1].ends

        assert find_leak(spans, now=now, zone=ZONE, learnt=45 * LITRES) is None
        assert find_leak(spans, now=now, zone=ZONE, learnt=40 * LITRES) is not None


async def run_water(
    database: Database, world: World, litres: Sequence[int], *, source: Source = Source.GATEWAY
) -> None:
    """Store an hourly register of the first home up to noon."""
    meter, value, rows = world.home.meters[Service.WATER], Decimal(100), {}
    for n, used in enumerate([0, *litres]):
        value += used * LITRES
        rows[Key(meter, "total", NOON - (len(litres) - n) * HOUR)] = value
    async with database.transaction() as session:
        await add_readings(session, rows, source=source, received_at=NOON)


async def look_at(database: Database, now: datetime) -> list[tuple[object, ...]]:
    async with database.transaction() as session:
        assert await look_for_leaks(session, now=now) <= CHUNK
    return await ask(
        database, "SELECT kind, rate, ended_at IS NULL FROM shuidian.leaks ORDER BY id"
    )


class TestLookForLeaks:
    async def test_tells_the_people_at_home_once(self, database: Database, world: World) -> None:
        await run_water(database, world, [30] * 30)

        assert await look_at(database, NOON) == [("never_zero", Decimal("0.0300"), True)]
        assert len(await look_at(database, NOON + HOUR)) == 1
        told = await ask(
            database,
            "SELECT contact_id FROM shuidian.deliveries WHERE kind = 'leak.found'",
        )
        assert told == [(world.home.holder_contact,)]

    async def test_accuses_nobody_by_estimates(self, database: Database, world: World) -> None:
        await run_water(database, world, [30] * 30, source=Source.ESTIMATE)

        assert await look_at(database, NOON) == []

    async def test_ends_it_when_the_meter_says_so(self, database: Database, world: World) -> None:
        await run_water(database, world, [30] * 30)
        await look_at(database, NOON)
        meter = world.home.meters[Service.WATER]
        async with database.transaction() as session:
            still = {Key(meter, "total", NOON + HOUR): Decimal(100) + 900 * LITRES}
            await add_readings(session, still, source=Source.GATEWAY, received_at=NOON)

        assert [row[2] for row in await look_at(database, NOON + HOUR)] == [False]
        told = "SELECT kind FROM shuidian.deliveries WHERE kind LIKE 'leak.%' ORDER BY id"
        assert await ask(database, told) == [("leak.found",), ("leak.over",)]

    async def test_accuses_nobody_again_by_the_nights_before_it_stopped(
        self, database: Database, world: World
    ) -> None:
        await run_water(database, world, [30] * 96)
        meter, value = world.home.meters[Service.WATER], Decimal(100) + 96 * 30 * LITRES
        kinds = []
        for hour in range(5):
            now = NOON + hour * HOUR
            async with database.transaction() as session:
                still = {Key(meter, "total", now): value} if hour else {}
                await add_readings(session, still, source=Source.GATEWAY, received_at=now)
            kinds = [row[0] for row in await look_at(database, now)]

        assert kinds == ["never_zero"]


class TestAnswerLeak:
    async def leak(self, database: Database, world: World) -> int:
        await run_water(database, world, [30] * 30)
        await look_at(database, NOON)
        async with database.transaction() as session:
            return (await session.scalars(select(Leak.id))).one()

    async def test_learns_what_is_usual(self, database: Database, world: World) -> None:
        leak_id = await self.leak(database, world)
        async with database.transaction() as session:
            repair = await answer_leak(
                session,
                leak_id=leak_id,
                person_id=world.home.holder,
                answer=LeakAnswer.MINE,
                now=NOON,
            )

        assert repair is None
        assert [row[2] for row in await look_at(database, NOON + HOUR)] == [False]

    @pytest.mark.parametrize("answer", [LeakAnswer.AWAY, LeakAnswer.HELP])
    async def test_files_one_repair(
        self, database: Database, world: World, answer: LeakAnswer
    ) -> None:
        leak_id = await self.leak(database, world)
        for _ in range(2):
            async with database.transaction() as session:
                await answer_leak(
                    session, leak_id=leak_id, person_id=world.home.holder, answer=answer, now=NOON
                )

        async with database.transaction() as session:
            (repair,) = await session.scalars(select(Repair))
        assert (repair.cause, repair.reporter_id) == (Cause.LEAK, world.home.holder)

    async def test_is_not_for_others_to_give(self, database: Database, world: World) -> None:
        leak_id = await self.leak(database, world)
        async with database.transaction() as session:
            with pytest.raises(LeakNotFound):
                await answer_leak(
                    session,
                    leak_id=leak_id,
                    person_id=world.neighbour.holder,
                    answer=LeakAnswer.MINE,
                    now=NOON,
                )

    async def say(
        self, database: Database, world: World, leak_id: int, answer: LeakAnswer, at: datetime
    ) -> Repair | None:
        async with database.transaction() as session:
            return await answer_leak(
                session, leak_id=leak_id, person_id=world.home.holder, answer=answer, now=at
            )

    async def test_closes_what_was_filed_for_a_flow_that_was_theirs(
        self, database: Database, world: World
    ) -> None:
        leak_id = await self.leak(database, world)
        await self.say(database, world, leak_id, LeakAnswer.AWAY, NOON)
        assert (await view(database, world.home.holder, "R1001")).open_leak_id == leak_id

        await self.say(database, world, leak_id, LeakAnswer.MINE, NOON + HOUR)

        shown = await view(database, world.home.holder, "R1001")
        assert (shown.state, shown.open_leak_id) == (State.CLOSED, None)

    async def test_tells_the_technician_who_is_there_that_it_was_theirs(
        self, database: Database, world: World
    ) -> None:
        leak_id = await self.leak(database, world)
        await self.say(database, world, leak_id, LeakAnswer.HELP, NOON)
        await act(database, Act.CLAIM, world.technician, "R1001")
        await act(database, Act.ARRIVED, world.technician, "R1001")
        _, before = await messages(database)

        await self.say(database, world, leak_id, LeakAnswer.MINE, NOON + HOUR)

        assert (await view(database, world.home.holder, "R1001")).state is State.ARRIVED
        told = await news(database, after=before)
        assert told == {("mine", world.technician): 1, **to_managers(world, "mine")}

    async def burst(self, database: Database, world: World) -> int:
        await run_water(database, world, [900] * 30)
        await look_at(database, NOON)
        async with database.transaction() as session:
            return (await session.scalars(select(Leak.id).where(Leak.ended_at.is_(None)))).one()

    async def test_hears_no_more_of_the_flow_that_was_theirs_in_any_pattern(
        self, database: Database, world: World
    ) -> None:
        leak_id = await self.burst(database, world)
        await self.say(database, world, leak_id, LeakAnswer.MINE, NOON)

        found = await look_at(database, NOON + HOUR)

        assert [row[0] for row in found] == ["burst"]

    async def test_makes_a_burst_critical_and_promises_it_in_half_the_time(
        self, database: Database, world: World
    ) -> None:
        leak_id = await self.burst(database, world)
        await self.say(database, world, leak_id, LeakAnswer.HELP, NOON)
        await act(database, Act.CLAIM, world.technician, "R1001")

        shown = await view(database, world.home.holder, "R1001")
        assert (shown.severity, shown.promised_at) == (Severity.CRITICAL, NOON + 12 * HOUR)
        filed = shown.history[0].details
        assert (filed["pattern"], Decimal(filed["rate"])) == ("burst", Decimal("0.9"))

    async def test_makes_the_repair_that_is_open_for_a_small_leak_urgent(
        self, database: Database, world: World
    ) -> None:
        leak_id = await self.leak(database, world)
        await self.say(database, world, leak_id, LeakAnswer.HELP, NOON)
        await act(database, Act.CLAIM, world.technician, "R1001")
        shown = await view(database, world.home.holder, "R1001")
        assert (shown.severity, shown.promised_at) == (Severity.ORDINARY, NOON + 24 * HOUR)
        async with database.transaction() as session:
            leak = await session.get_one(Leak, leak_id)
            leak.ended_at = NOON
            values = {"rate": Decimal("0.9"), "began_at": NOON, "found_at": NOON}
            burst = Leak(meter_id=leak.meter_id, kind=LeakKind.BURST, **values)
            session.add(burst)
            await session.flush()
        _, before = await messages(database)

        await self.say(database, world, burst.id, LeakAnswer.HELP, NOON + HOUR)

        shown = await view(database, world.home.holder, "R1001")
        assert (shown.severity, shown.promised_at) == (Severity.CRITICAL, NOON + 13 * HOUR)
        told = await news(database, after=before)
        assert {("worse", world.technician), ("promise", world.home.holder)} <= set(told)
        await self.say(database, world, burst.id, LeakAnswer.MINE, NOON + HOUR)
        assert (await view(database, world.home.holder, "R1001")).state is State.ACCEPTED
