"""Watches while nobody is at home: told once a spell, never by estimates, by nobody else's wish."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete

from core.accounts.models import AccountRight, Service
from core.monitoring.leak_rules import HOUR, Span, find_spells
from core.monitoring.models import Source
from core.monitoring.rows import Key, add_readings
from core.monitoring.service import MeterNotFound
from core.monitoring.vacations import (
    DayNotPossible,
    VacationNotFound,
    begin_vacation,
    end_vacation,
    watch_vacations,
)
from tests.billing.books import ask
from tests.world import NOON

SUNDAY = date(2026, 11, 8)
TOLD = "SELECT kind, params ->> 'used' FROM shuidian.deliveries ORDER BY id"


class TestFindSpells:
    @given(
        st.lists(st.tuples(st.integers(1, 5), st.integers(0, 2), st.booleans()), max_size=30),
        st.integers(0, 40),
        st.integers(0, 90),
    )
    def test_are_the_used_time_in_pieces_that_do_not_touch(self, made, since, until):
        spans, at = [], NOON
        for hours, used, has_gap in made:
            at += HOUR * has_gap
            spans.append(Span(starts=at, ends=at + hours * HOUR, used=Decimal(used)))
            at += hours * HOUR
        first, last = NOON + since * HOUR, NOON + until * HOUR

        spells = find_spells(spans, since=first, until=last)

        inside = [s for s in spans if first <= s.starts and s.ends <= last and s.used]
        assert sum(spell.used for spell in spells) == sum(span.used for span in inside)
        assert sum((s.ends - s.starts for s in spells), timedelta(0)) == sum(
            (s.ends - s.starts for s in inside), timedelta(0)
        )
        assert all(a.ends < b.starts for a, b in pairwise(spells))


class Watch:
    """A watch over the home's meter, whose readings come by the hour."""

    def __init__(self, database, world) -> None:
        self.database = database
        self.world = world
        self.meter = world.home.meters[Service.WATER]

    async def begin(self, person=None, *, until=SUNDAY, now=NOON, meter=None):
        async with self.database.transaction() as session:
            vacation, watched = await begin_vacation(
                session,
                person_id=person or self.world.home.holder,
                meter_id=meter or self.meter,
                until=until,
                now=now,
            )
            return vacation.id, watched

    async def share_with_neighbour(self, right):
        async with self.database.transaction() as session:
            session.add(
                AccountRight(
                    account_id=self.world.home.account,
                    person_id=self.world.neighbour.holder,
                    right=right,
                    since=NOON,
                )
            )

    async def read(self, hour, litres, *, source=Source.GATEWAY):
        async with self.database.transaction() as session:
            row = {Key(self.meter, "total", NOON + hour * HOUR): Decimal(litres) / 1000}
            await add_readings(session, row, source=source, received_at=NOON)

    async def look(self, hour) -> list[tuple[object, ...]]:
        async with self.database.transaction() as session:
            await watch_vacations(session, now=NOON + hour * HOUR)
        return await ask(self.database, TOLD)


@pytest.fixture
async def watch(database, world) -> Watch:
    made = Watch(database, world)
    for hour in (-1, 0):
        await made.read(hour, 5000)
    return made


class TestAWatch:
    async def test_tells_who_asked_and_nobody_else(self, watch):
        await watch.share_with_neighbour("payer")
        await watch.begin()
        await watch.read(1, 5004)
        assert await watch.look(1) == [("leak.found", "0.004")]
        contacts = await ask(watch.database, "SELECT contact_id FROM shuidian.deliveries")
        assert contacts == [(watch.world.home.holder_contact,)]

    async def test_tells_a_spell_once_and_the_next_one_again(self, watch):
        await watch.begin()
        for hour, litres in enumerate((5004, 5006, 5006, 5009), start=1):
            await watch.read(hour, litres)
            found = await watch.look(hour)
            assert await watch.look(hour) == found
        assert found == [("leak.found", "0.004"), ("leak.found", "0.003")]

    async def test_of_two_people_tells_each_once(self, watch):
        await watch.share_with_neighbour("tenant")
        await watch.begin()
        await watch.begin(watch.world.neighbour.holder)
        await watch.read(1, 5004)
        assert await watch.look(1) == [("leak.found", "0.004")] * 2

    async def test_does_not_count_what_was_used_before_it_began(self, watch):
        vacation_id, _ = await watch.begin(now=NOON + HOUR / 2)
        await watch.read(1, 5040)
        await watch.read(2, 5040)
        assert await watch.look(2) == []
        async with watch.database.transaction() as session:
            _, watched = await end_vacation(
                session,
                person_id=watch.world.home.holder,
                vacation_id=vacation_id,
                now=NOON + 2 * HOUR,
            )
        assert watched.used == 0

    async def test_accuses_nobody_by_estimates(self, watch):
        await watch.begin()
        await watch.read(1, 5500, source=Source.ESTIMATE)
        await watch.read(2, 5000)
        assert await watch.look(2) == []

    async def test_is_silent_of_use_after_its_day_and_ends_in_the_morning(self, watch):
        await watch.begin(until=date(2026, 11, 2))
        for hour in range(1, 20):
            await watch.read(hour, 5000 if hour <= 12 else 5100)
        assert await watch.look(19) == []
        assert await watch.look(20) == [("vacation.over", "0")]
        assert await watch.look(44) == [("vacation.over", "0")]

    async def test_says_once_that_a_meter_is_silent(self, watch):
        _, watched = await watch.begin()
        assert not watched.is_silent
        assert await watch.look(6) == []
        assert await watch.look(7) == [("vacation.silent", None)]
        assert await watch.look(9) == [("vacation.silent", None)]
        await watch.read(9, 5000)
        await watch.read(10, 5000)
        assert len(await watch.look(10)) == 1
        assert len(await watch.look(18)) == 2

    async def test_ends_without_a_word_when_the_home_is_theirs_no_more(self, watch):
        await watch.begin()
        async with watch.database.transaction() as session:
            await session.execute(
                delete(AccountRight).where(AccountRight.person_id == watch.world.home.holder)
            )
        await watch.read(1, 5004)
        assert await watch.look(1) == []
        ended = "SELECT ended_at IS NOT NULL FROM shuidian.vacations"
        assert await ask(watch.database, ended) == [(True,)]

    async def test_is_one_however_often_it_is_begun(self, watch):
        first, _ = await watch.begin()
        again, _ = await watch.begin(until=date(2026, 11, 9))
        assert first == again
        days = await ask(watch.database, "SELECT until_date FROM shuidian.vacations")
        assert days == [(date(2026, 11, 9),)]

    async def test_ends_once_and_by_its_owner(self, watch):
        vacation_id, _ = await watch.begin()
        for person, refusal in (
            (watch.world.neighbour.holder, VacationNotFound),
            (watch.world.home.holder, None),
            (watch.world.home.holder, VacationNotFound),
        ):
            async with watch.database.transaction() as session:
                if refusal is None:
                    await end_vacation(
                        session, person_id=person, vacation_id=vacation_id, now=NOON + HOUR
                    )
                    continue
                with pytest.raises(refusal):
                    await end_vacation(session, person_id=person, vacation_id=vacation_id, now=NOON)

    @pytest.mark.parametrize("until", [date(2026, 11, 1), date(2027, 3, 1)])
    async def test_needs_a_day_to_come(self, watch, until):
        with pytest.raises(DayNotPossible):
            await watch.begin(until=until)

    async def test_needs_a_water_meter_of_their_own(self, watch):
        with pytest.raises(MeterNotFound):
            await watch.begin(watch.world.neighbour.holder)
        with pytest.raises(MeterNotFound):
            await watch.begin(meter=watch.world.home.meters[Service.ELECTRICITY])
