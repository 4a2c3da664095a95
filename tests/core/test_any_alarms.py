"""Laws of alarms and repairs, whatever happens in whatever order, with workers that are killed."""

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from core.errors import DomainError
from core.monitoring.models import Alarm
from core.repairs import intake
from core.repairs.models import Cause, Repair, RepairEvent
from core.repairs.service import take_step
from core.repairs.workflow import Act, State
from tests.core.test_incidents import CLEARED, end_alarms
from tests.core.test_repairs import repair_rows, take_up
from tests.street import build_street, raise_alarms
from tests.world import NOON

HOMES = 4  # three of one riser, which can be an incident, and one of another
BEGUN = ("filed", "recurred", "alarm", "contradicted", "grew", "spread", "reopened")


class Killed(Exception):
    """Stands for the end of a worker before its commit."""


@pytest.fixture
async def street(database, world):
    return await build_street(database, world)


class Course:
    """Runs the steps of an example, several workers at a time, and then looks at everything."""

    def __init__(self, database, world, street) -> None:
        self._database = database
        self._world = world
        self._homes = [*street.homes[:3], street.homes[4]]
        self._now = NOON
        self._open: set[int] = set()

    async def run(self, steps) -> None:
        await self._clear()
        for what, place in steps:
            self._now += timedelta(minutes=3)
            await getattr(self, what)(place)
        while await take_up(self._database, now=self._now):
            pass
        await self._check()

    async def _clear(self) -> None:
        async with self._database.transaction() as session:
            await session.execute(text("SET LOCAL session_replication_role = replica"))
            for table in CLEARED:
                await session.execute(text(f"DELETE FROM shuidian.{table}"))  # noqa: S608 (ours)

    async def begin(self, place) -> None:
        """An alarm begins, and workers look at it while another one is killed."""
        if place not in self._open:
            self._open.add(place)
            await raise_alarms(self._database, [self._homes[place]], at=self._now)

    async def end(self, place) -> None:
        if place in self._open:
            self._open.remove(place)
            await end_alarms(self._database, [self._homes[place]], at=self._now)

    async def look(self, workers) -> None:
        await asyncio.gather(
            self._kill(), *(take_up(self._database, now=self._now) for _ in range(workers))
        )

    async def _kill(self) -> None:
        with contextlib.suppress(Killed):
            async with self._database.transaction() as session:
                await intake.take_up_alarms(session, now=self._now)
                raise Killed

    async def close(self, place) -> None:
        """The customer says that all is well, at the moment at which a new alarm is looked at."""
        await asyncio.gather(self._say_yes(place), take_up(self._database, now=self._now))

    async def pass_by(self, place) -> None:
        """All of it: an alarm, its repair, the return to normal, and the customer's yes."""
        await self.begin(place)
        await self.look(1)
        await self.end(place)
        await self.close(place)

    async def _say_yes(self, place) -> None:
        home = self._homes[place]
        for repair in await repair_rows(self._database):
            try:
                async with self._database.transaction() as session:
                    await take_step(
                        session,
                        act=Act.CONFIRM,
                        person_id=home.holder,
                        repair=repair.id,
                        now=self._now,
                    )
            except DomainError:
                continue

    async def _check(self) -> None:
        rows = await repair_rows(self._database)
        alarms, events = await self._load()
        open_ones = Counter(
            (row.service_point_id, row.area_id) for row in rows if row.closed_at is None
        )
        assert set(open_ones.values()) <= {1}
        assert all(alarm.taken_up_at for alarm in alarms)
        assert all(alarm.end_taken_up_at for alarm in alarms if alarm.ended_at)
        named = Counter()
        for event in events:
            if event.kind in BEGUN:
                named.update(name_alarms(event))
        assert named == Counter(alarm.id for alarm in alarms)
        self._check_previous(rows, events)
        await self._check_alive(rows, alarms, events)

    def _check_previous(self, rows: list[Repair], events: list[RepairEvent]) -> None:
        filed = {event.repair_id: event for event in events if event.kind == "filed"}
        for row in rows:
            assert row.cause is Cause.LOW_PRESSURE
            before = [
                other.number
                for other in rows
                if other.id < row.id
                and other.area_id is None
                and row.area_id is None
                and other.service_point_id == row.service_point_id
                and other.state is State.CLOSED
            ]
            if before and row.id in filed:
                assert filed[row.id].details["previous"] in {other.number for other in rows}

    async def _check_alive(self, rows, alarms, events) -> None:
        """Whatever is abnormal still has an open repair."""
        by_id = {row.id: row for row in rows}
        goes_on = {alarm.id for alarm in alarms if alarm.ended_at is None}
        for event in events:
            if event.kind in BEGUN and goes_on & set(name_alarms(event)):
                repair = by_id[event.repair_id]
                while repair.merged_into_id is not None:
                    repair = by_id[repair.merged_into_id]
                assert repair.closed_at is None

    async def _load(self) -> tuple[list[Alarm], list[RepairEvent]]:
        async with self._database.transaction() as session:
            alarms = await session.scalars(select(Alarm).order_by(Alarm.id))
            events = await session.scalars(select(RepairEvent).order_by(RepairEvent.id))
            return list(alarms), list(events)


def name_alarms(event: RepairEvent) -> list[int]:
    """The alarms that an event links to its repair."""
    if "alarms" in event.details:
        return [int(number) for number in event.details["alarms"].split()]
    return [int(event.details["alarm_id"])] if event.details.get("alarm_id") else []


places = st.integers(0, HOMES - 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), places),
        st.tuples(st.just("begin"), places),
        st.tuples(st.just("end"), places),
        st.tuples(st.just("pass_by"), places),
        st.tuples(st.just("look"), st.integers(1, 3)),
        st.tuples(st.just("close"), places),
    ),
    min_size=3,
    max_size=14,
)


class TestAnyCourse:
    @settings(
        max_examples=12,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(steps=steps)
    def test_links_every_alarm_once_and_keeps_one_open_repair_of_a_cause(self, runner, steps):
        runner(steps)

    @pytest.fixture
    def runner(self, database, world, street):
        loop = asyncio.get_event_loop_policy().get_event_loop()
        return lambda steps: loop.run_until_complete(Course(database, world, street).run(steps))
