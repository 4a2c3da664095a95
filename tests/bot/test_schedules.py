"""Scheduled pushes keep their local hour and their day of the month, and go out once."""

import calendar
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import select

from core.db import Database
from core.notices import schedules
from core.notices.models import Delivery, Repeat
from core.notices.schedules import ScheduleView, following
from tests.world import NOON, World

ZONES = ["Europe/Helsinki", "America/St_Johns", "Asia/Shanghai", "Australia/Lord_Howe"]
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
REPEATS = st.sampled_from([Repeat.DAILY, Repeat.WEEKLY, Repeat.MONTHLY])

# 03:30 in Helsinki, which has no such time on the 29th.
GAP = datetime(2026, 3, 22, 1, 30, tzinfo=UTC)


def exists(local: datetime) -> bool:
    """Tell whether the clocks show this time of day on this day."""
    back = local.astimezone(UTC).astimezone(local.tzinfo)
    return back.replace(tzinfo=None) == local.replace(tzinfo=None)


class TestFollowing:
    @given(MOMENTS, REPEATS, st.sampled_from(ZONES))
    @example(GAP, Repeat.DAILY, "Europe/Helsinki")
    @example(GAP, Repeat.WEEKLY, "Europe/Helsinki")
    def test_keeps_the_local_hour_whatever_the_clocks_do(
        self, first_at: datetime, repeat: Repeat, name: str
    ) -> None:
        zone = ZoneInfo(name)
        first = first_at.astimezone(zone)
        moments = [first_at]
        for _ in range(60):
            # As kept in the database: a moment, without its zone.
            moment = following(moments[-1], repeat=repeat, first_at=first_at, zone=zone)
            moments.append(moment.astimezone(UTC))

        for before, after in pairwise(moments):
            assert before < after
        for moment in moments[1:]:
            local = moment.astimezone(zone)
            meant = datetime.combine(local.date(), first.time(), tzinfo=zone)
            assert (local.time() == first.time()) or not exists(meant)

    @given(MOMENTS, st.sampled_from(ZONES))
    def test_goes_out_on_every_day_once(self, first_at: datetime, name: str) -> None:
        zone, moment = ZoneInfo(name), first_at
        day = first_at.astimezone(zone).date()
        for _ in range(400):
            moment = following(
                moment, repeat=Repeat.DAILY, first_at=first_at, zone=zone
            ).astimezone(UTC)
            day += timedelta(days=1)
            assert moment.astimezone(zone).date() == day

    @given(MOMENTS, st.sampled_from(ZONES))
    def test_takes_the_last_day_of_a_month_that_is_too_short(
        self, first_at: datetime, name: str
    ) -> None:
        zone, moment = ZoneInfo(name), first_at
        first = first_at.astimezone(zone)
        for month in range(first.month, first.month + 30):
            moment = following(
                moment, repeat=Repeat.MONTHLY, first_at=first_at, zone=zone
            ).astimezone(UTC)
            local = moment.astimezone(zone)
            assert (local.year * 12 + local.month) == first.year * 12 + month + 1
            last = calendar.monthrange(local.year, local.month)[1]
            assert local.day == min(first.day, last)


async def make(database: Database, world: World, **fields: object) -> ScheduleView:
    wanted = {
        "name": "Test",
        "texts": {"en": "Hello"},
        "area_id": world.street,
        "service": None,
        "at": NOON + timedelta(hours=1),
        "repeat": Repeat.ONCE,
        "now": NOON,
    }
    async with database.transaction() as session:
        return await schedules.create(session, **{**wanted, **fields})  # type: ignore[arg-type]


async def take_up(database: Database, now: datetime) -> int:
    async with database.transaction() as session:
        return await schedules.take_up_due(session, now=now)


async def sent_to(database: Database) -> list[tuple[str, int]]:
    async with database.transaction() as session:
        rows = await session.execute(
            select(Delivery.dedupe_key, Delivery.contact_id).order_by(Delivery.id)
        )
        return [(key, contact) for key, contact in rows]


class TestTakeUpDue:
    async def test_goes_out_once_to_exactly_its_people(
        self, database: Database, world: World
    ) -> None:
        await make(database, world)
        assert await take_up(database, NOON) == 0
        for _ in range(3):
            await take_up(database, NOON + timedelta(hours=1))

        contacts = {contact for _, contact in await sent_to(database)}
        assert contacts == {world.home.holder_contact, world.neighbour.holder_contact}
        assert len(await sent_to(database)) == 2

    async def test_goes_out_once_however_late_it_is(self, database: Database, world: World) -> None:
        await make(database, world, repeat=Repeat.DAILY)
        await take_up(database, NOON + timedelta(days=9, hours=2))
        await take_up(database, NOON + timedelta(days=9, hours=3))
        assert len(await sent_to(database)) == 2
        await take_up(database, NOON + timedelta(days=10, hours=1))

        assert len(await sent_to(database)) == 4

    async def test_skips_what_came_due_while_it_was_paused(
        self, database: Database, world: World
    ) -> None:
        made = await make(database, world, repeat=Repeat.DAILY)
        later = NOON + timedelta(days=3)
        async with database.transaction() as session:
            await schedules.set_paused(session, schedule_id=made.id, paused=True, now=NOON)
        await take_up(database, later)
        async with database.transaction() as session:
            view = await schedules.set_paused(session, schedule_id=made.id, paused=False, now=later)
        await take_up(database, later)

        assert await sent_to(database) == []
        assert view.next_at == NOON + timedelta(days=3, hours=1)

    async def test_sends_nothing_of_a_deleted_one(self, database: Database, world: World) -> None:
        made = await make(database, world)
        async with database.transaction() as session:
            await schedules.delete(session, schedule_id=made.id, now=NOON)
        await take_up(database, NOON + timedelta(days=1))

        assert await sent_to(database) == []
        with pytest.raises(schedules.ScheduleNotFound):
            async with database.transaction() as session:
                await schedules.delete(session, schedule_id=made.id, now=NOON)

    async def test_begun_in_the_past_goes_on_from_now(
        self, database: Database, world: World
    ) -> None:
        made = await make(
            database, world, at=NOON - timedelta(days=400, hours=-1), repeat=Repeat.DAILY
        )

        assert made.next_at == NOON + timedelta(hours=1)
