"""People's words against the meter's: what is ended while it is abnormal comes back."""

import pytest
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from core.monitoring.models import Alarm, Quantity, Side, Watch
from core.repairs import deadlines
from core.repairs.workflow import Act, State
from tests.core.test_incidents import burst, followers, open_repairs, points_of
from tests.core.test_repairs import (
    HOUR,
    MINUTE,
    act,
    end_alarm,
    kinds,
    messages,
    news,
    raise_alarm,
    repair_rows,
    take_up,
    to_managers,
    view,
)
from tests.street import build_street
from tests.world import NOON


@pytest.fixture
async def street(database, world):
    return await build_street(database, world)


async def keep_abnormal(database, alarms, *, at, side=Side.LOW):
    """Let the meters of alarms have gone on to show the same, up to a moment."""
    async with database.transaction() as session:
        for alarm_id in alarms:
            alarm = await session.get_one(Alarm, alarm_id)
            values = {"side": side, "since": alarm.began_at, "last_at": at, "alarm_id": alarm_id}
            await session.execute(
                insert(Watch)
                .values(meter_id=alarm.meter_id, quantity=Quantity.PRESSURE, **values)
                .on_conflict_do_update(index_elements=["meter_id", "quantity"], set_=values)
            )


async def doubt(database, *, at):
    async with database.transaction() as session:
        count = await deadlines.doubt_words(session, now=at)
    await take_up(database, now=at)
    return count


async def begin(database, world):
    alarm_id = await raise_alarm(database, world)
    await take_up(database)
    return alarm_id


class TestDoubtWords:
    async def test_opens_a_closed_repair_again_under_its_number(self, database, world):
        alarm_id = await begin(database, world)
        await act(database, Act.CLAIM, world.technician, "R1001")
        await act(database, Act.FIXED, world.technician, "R1001", despite_meter=True)
        await act(database, Act.CONFIRM, world.home.holder, "R1001", now=NOON + MINUTE)
        _, latest = await messages(database)
        at = NOON + HOUR
        await keep_abnormal(database, [alarm_id], at=at)
        assert await doubt(database, at=at) == 0
        at += MINUTE
        assert await doubt(database, at=at) == 1
        assert await doubt(database, at=at) == 0

        (repair,) = await repair_rows(database)
        assert (repair.state, repair.technician_id, repair.closed_at) == (
            State.REOPENED,
            None,
            None,
        )
        assert (await kinds(database, repair.id))[-1] == "recurred"
        told = await news(database, after=latest)
        assert told == {
            ("recurred", world.home.holder): 1,
            **to_managers(world, "recurred"),
            ("offered", world.technician): 1,
        }
        shown = await view(database, world.home.holder, "R1001", now=at)
        assert shown.reopened_count == 1

    async def test_contradicts_a_false_fixed_once(self, database, world):
        alarm_id = await begin(database, world)
        await act(database, Act.CLAIM, world.technician, "R1001")
        await act(database, Act.FIXED, world.technician, "R1001", despite_meter=True)
        _, latest = await messages(database)
        at = NOON + HOUR
        await keep_abnormal(database, [alarm_id], at=at)
        assert await doubt(database, at=at) == 1
        await keep_abnormal(database, [alarm_id], at=at + HOUR)
        assert await doubt(database, at=at + HOUR) == 0

        assert (await kinds(database, 1))[-1] == "contradicted"
        assert await news(database, after=latest) == to_managers(world, "contradicted")

    async def test_leaves_a_managers_no_for_a_day_and_then_names_it(self, database, world):
        alarm_id = await begin(database, world)
        await act(database, Act.CANCEL, world.manager, "R1001")
        for hours, count in ((23, 0), (24, 1)):
            at = NOON + hours * HOUR
            await keep_abnormal(database, [alarm_id], at=at)
            assert await doubt(database, at=at) == count

        shown = await view(database, world.home.holder, "R1002", now=at)
        assert shown.history[0].details["previous"] == "R1001"

    @pytest.mark.parametrize("why", ["silent", "back", "returning", "open"])
    async def test_doubts_nobody_where_the_meter_does_not(self, database, world, why):
        alarm_id = await begin(database, world)
        if why != "open":
            await act(database, Act.CANCEL, world.manager, "R1001")
        at = NOON + 30 * HOUR
        seen_at = at - 3 * HOUR if why == "silent" else at
        side = None if why == "returning" else Side.LOW
        await keep_abnormal(database, [alarm_id], at=seen_at, side=side)
        if why == "back":
            await end_alarm(database, alarm_id, at=at)

        assert await doubt(database, at=at) == 0
        assert len(await repair_rows(database)) == 1

    async def test_doubts_for_a_silent_meter_too(self, database, world):
        await begin(database, world)
        async with database.transaction() as session:
            await session.execute(update(Alarm).values(quantity=Quantity.SILENCE, side=Side.HIGH))
        await act(database, Act.CANCEL, world.manager, "R1001")
        assert await doubt(database, at=NOON + 24 * HOUR) == 1
        assert [row.cause for row in await open_repairs(database)] == ["silent_meter"]

    async def test_opens_an_incident_again_while_its_homes_are_abnormal(
        self, database, world, street
    ):
        repair = await burst(database, street.homes)
        await act(database, Act.CLAIM, world.technician, repair.number)
        await act(database, Act.FIXED, world.technician, repair.number, despite_meter=True)
        at = NOON + HOUR
        async with database.transaction() as session:
            alarms = list(await session.scalars(select(Alarm.id)))
        await keep_abnormal(database, alarms, at=at)
        assert await doubt(database, at=at) == 12

        (again,) = await open_repairs(database)
        assert (again.number, again.state) == (repair.number, State.REOPENED)
        assert await followers(database, again.id) == points_of(street.homes)


class TestChattering:
    async def test_is_one_repair_with_a_count_and_one_question(self, database, world):
        _, latest = await messages(database)
        for hour in range(6):
            at = NOON + hour * HOUR
            alarm_id = await raise_alarm(database, world, at=at)
            await take_up(database, now=at)
            await end_alarm(database, alarm_id, at=at + 10 * MINUTE)
            await take_up(database, now=at + 10 * MINUTE)
            if hour == 3:
                await act(database, Act.CONFIRM, world.home.holder, "R1001", now=at + 20 * MINUTE)

        (repair,) = await repair_rows(database)
        assert repair.state is State.REOPENED
        found = await kinds(database, repair.id)
        begun = [kind for kind in found if kind in {"filed", "alarm", "recurred"}]
        assert begun == ["filed", "alarm", "alarm", "alarm", "recurred", "alarm"]
        told = await news(database, after=latest)
        assert told["normal", world.home.holder] == 1
        assert told["recurred", world.home.holder] == 1

    async def test_is_over_after_eight_hours(self, database, world):
        alarm_id = await begin(database, world)
        await act(database, Act.CANCEL, world.manager, "R1001")
        await end_alarm(database, alarm_id, at=NOON)
        await raise_alarm(database, world, at=NOON + 8 * HOUR)
        await take_up(database, now=NOON + 8 * HOUR)

        assert [row.number for row in await repair_rows(database)] == ["R1001", "R1002"]
