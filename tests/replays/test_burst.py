"""A main bursts in a simulated network: one incident, the right followers, in time, and its end."""

import random
from datetime import timedelta

import pytest
from sqlalchemy import select

from core.monitoring.ingest import NewSample, store_batch
from core.monitoring.models import Alarm, Quantity
from core.monitoring.ranges import USUAL
from core.repairs.intake import take_up_alarms
from core.repairs.models import Follower, Repair
from core.repairs.service import MeterStillAbnormal, take_step
from core.repairs.workflow import Act, State
from tests.replays.network import (
    BEGAN,
    BURST_FROM,
    BURST_TO,
    STEP,
    build_network,
    node_pressures,
)

pytestmark = pytest.mark.long

PRESSURES = node_pressures()
LOW = USUAL[Quantity.PRESSURE]["low"]
HOLD = timedelta(seconds=USUAL[Quantity.PRESSURE]["hold_seconds"])
SPELL = HOLD // STEP + 1
PITS = {"floors": False, "has_valley": False}
FLOORS = {"floors": True, "has_valley": False}
VALLEY = {"floors": True, "has_valley": True}


class Replay:
    """Sends what the meters measure, gateway by gateway, and takes alarms up at every arrival."""

    def __init__(self, database, world, network) -> None:
        self._database = database
        self._world = world
        self.network = network

    def arrivals(self, since, until, *, late_max):
        """What each gateway sends at each step, in the order in which it arrives."""
        chance = random.Random(int(late_max.total_seconds()))  # noqa: S311 (no secret)
        steps = range(since // STEP, until // STEP)
        found = []
        for gateway in sorted({home.gateway for home in self.network.homes}):
            late = late_max * chance.random()
            homes = [home for home in self.network.homes if home.gateway == gateway]
            for step in steps:
                at = BEGAN + step * STEP
                batch = [
                    NewSample(
                        i,
                        home.serial,
                        Quantity.PRESSURE,
                        at,
                        home.pressure(PRESSURES[home.node][step][1]),
                    )
                    for i, home in enumerate(homes)
                ]
                found.append((at + late, gateway, batch))
        return sorted(found, key=lambda each: each[:2])

    async def run(self, since, until, *, late_max=timedelta(0)) -> None:
        for now, gateway, samples in self.arrivals(since, until, late_max=late_max):
            async with self._database.transaction() as session:
                await store_batch(
                    session, gateway_id=gateway, readings=[], samples=samples, now=now
                )
            async with self._database.transaction() as session:
                await take_up_alarms(session, now=now)

    async def rows(self, query):
        async with self._database.transaction() as session:
            return list(await session.scalars(query))

    async def incidents(self):
        """The open repairs, each with the homes that follow it."""
        found = []
        for repair in await self.rows(select(Repair).where(Repair.closed_at.is_(None))):
            points = select(Follower.service_point_id).where(Follower.repair_id == repair.id)
            found.append((repair, set(await self.rows(points))))
        return found

    async def act(self, what, person, repair, *, at, **more) -> None:
        async with self._database.transaction() as session:
            await take_step(
                session, act=what, person_id=person, repair=repair.id, now=BEGAN + at, **more
            )

    async def work_and_answer(self, repair) -> State:
        """Have a technician say fixed after the return, and every home say yes."""
        technician = self._world.technician
        await self.act(Act.FIXED, technician, repair, at=BURST_TO + 4 * STEP)
        for home in self.network.homes:
            if home.point in (await self.followers(repair)):
                await self.act(Act.CONFIRM, home.holder, repair, at=BURST_TO + 5 * STEP)
        (state,) = await self.rows(select(Repair.state).where(Repair.id == repair.id))
        return state

    async def followers(self, repair):
        points = select(Follower.service_point_id).where(Follower.repair_id == repair.id)
        return set(await self.rows(points))


def who_is_hit(network):
    """The homes that the series themselves say are low for the hold, street by street."""
    hit = {}
    for home in network.homes:
        low = [home.pressure(value) < LOW for _, value in PRESSURES[home.node]]
        if any(all(low[i : i + SPELL]) for i in range(len(low) - SPELL + 1)):
            hit.setdefault(home.node, set()).add(home.point)
    return hit


@pytest.fixture
def replay(database, world):
    async def make(**shape) -> Replay:
        return Replay(database, world, await build_network(database, **shape))

    return make


class TestABurst:
    async def test_is_one_incident_with_the_right_followers_raised_and_ended_in_time(
        self, replay, world
    ):
        run = await replay(**PITS)
        hit = who_is_hit(run.network)
        assert {node: len(homes) for node, homes in hit.items()} == {"W-n3-113": 12}

        await run.run(BURST_FROM - 6 * STEP, BURST_FROM + HOLD)
        assert await run.rows(select(Alarm)) == []
        await run.run(BURST_FROM + HOLD, BURST_FROM + HOLD + STEP)
        ((incident, followers),) = await run.incidents()
        assert followers == hit["W-n3-113"]
        assert incident.area_id == run.network.streets["W-n3-113"]
        assert incident.filed_at == BEGAN + BURST_FROM + HOLD

        await run.act(Act.CLAIM, world.technician, incident, at=BURST_FROM + 4 * STEP)
        await run.run(BURST_FROM + HOLD + STEP, BURST_TO + HOLD)
        with pytest.raises(MeterStillAbnormal):
            await run.act(Act.FIXED, world.technician, incident, at=BURST_TO + HOLD)
        await run.run(BURST_TO + HOLD, BURST_TO + 6 * STEP)
        ((incident, followers),) = await run.incidents()
        assert (incident.normal_at, followers) == (BEGAN + BURST_TO + HOLD, hit["W-n3-113"])
        assert await run.work_and_answer(incident) is State.CLOSED
        assert await run.incidents() == []

    @pytest.mark.parametrize("late", [timedelta(0), timedelta(minutes=45)], ids=["now", "late"])
    async def test_on_floors_is_one_incident_of_the_zone_that_has_both_streets(self, replay, late):
        run = await replay(**VALLEY)
        hit = who_is_hit(run.network)
        assert {node: len(homes) for node, homes in hit.items()} == {"W-n3-113": 12, "W-n3-193": 4}

        await run.run(BURST_FROM - 2 * STEP, BURST_FROM + 6 * STEP, late_max=late)

        ((incident, followers),) = await run.incidents()
        assert followers == set().union(*hit.values())
        assert incident.area_id == run.network.valley
        assert BEGAN + BURST_FROM + HOLD <= incident.filed_at <= BEGAN + BURST_FROM + HOLD + late

    async def test_on_floors_without_a_zone_leaves_few_homes_far_off_their_own_repairs(
        self, replay
    ):
        run = await replay(**FLOORS)
        hit = who_is_hit(run.network)

        await run.run(BURST_FROM - 2 * STEP, BURST_FROM + 6 * STEP)

        found = await run.incidents()
        street = run.network.streets["W-n3-113"]
        assert [homes for each, homes in found if each.area_id == street] == [hit["W-n3-113"]]
        # Two homes in each of two buildings: not enough of either for an incident.
        alone = [each.service_point_id for each, _ in found if each.area_id is None]
        assert sorted(alone) == sorted(hit["W-n3-193"])
        assert len(found) == 1 + len(alone)

    @pytest.mark.timeout(900)
    @pytest.mark.parametrize("late", [0, 9, 45])
    @pytest.mark.parametrize("shape", [PITS, VALLEY], ids=["pits", "valley"])
    async def test_in_three_whole_days_is_the_only_incident(self, replay, shape, late):
        run = await replay(**shape)
        hit = set().union(*who_is_hit(run.network).values())
        steps = len(PRESSURES["W-n3-113"])

        await run.run(timedelta(0), steps * STEP, late_max=timedelta(minutes=late))

        ((incident, followers),) = await run.incidents()
        assert followers == hit
        assert incident.normal_at == BEGAN + BURST_TO + HOLD
        assert len(await run.rows(select(Alarm))) == len(hit)
