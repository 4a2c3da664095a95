"""Many abnormal meters of an area are one repair: filed, joined, answered and closed as one."""

import asyncio
from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from core.accounts.models import Area, ServicePoint
from core.monitoring.models import Alarm
from core.repairs import deadlines, evidence, intake, queries
from core.repairs import service as repairs
from core.repairs.access import RepairNotFound
from core.repairs.grouping import Abnormal, find_groups
from core.repairs.models import Cause, Follower
from core.repairs.service import MeterStillAbnormal
from core.repairs.workflow import Act, State
from core.supply.answers import Why, why_is_my_supply_off
from tests.core.test_repairs import (
    act,
    another_technician,
    kinds,
    messages,
    news,
    repair_rows,
    take_up,
    to_managers,
    view,
)
from tests.street import build_street, raise_alarms
from tests.world import NOON

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def street(database, world):
    return await build_street(database, world)


async def end_alarms(database, homes, *, at=NOON, value=231):
    async with database.transaction() as session:
        await session.execute(
            update(Alarm)
            .where(Alarm.meter_id.in_([home.meter for home in homes]), Alarm.ended_at.is_(None))
            .values(ended_at=at, end_value=Decimal(value))
        )
    await take_up(database, now=at)


async def burst(database, homes, *, at=NOON):
    await raise_alarms(database, homes, at=at)
    await take_up(database, now=at)
    return (await open_repairs(database))[-1]


async def open_repairs(database):
    return [row for row in await repair_rows(database) if row.closed_at is None]


async def followers(database, repair_id):
    async with database.transaction() as session:
        rows = await session.scalars(
            select(Follower.service_point_id).where(Follower.repair_id == repair_id)
        )
        return set(rows)


async def say(database, person_id, repair, words, *, photo=""):
    async with database.transaction() as session:
        await repairs.comment(
            session, person_id=person_id, repair=repair, text=words, photo_ref=photo, now=NOON
        )


def points_of(homes):
    return {home.point for home in homes}


class TestFiling:
    async def test_gives_one_number_to_all_homes_and_one_message_to_each_person(
        self, database, world, street
    ):
        second = await another_technician(database)

        repair = await burst(database, street.homes)

        assert [row.number for row in await repair_rows(database)] == ["R1001"]
        assert (repair.area_id, repair.cause) == (street.id, Cause.LOW_PRESSURE)
        assert await followers(database, repair.id) == points_of(street.homes)
        found, _ = await messages(database)
        assert Counter(found) == Counter(
            [
                *(("repair.card", home.holder, None) for home in street.homes),
                ("repair.card_manager", world.manager, None),
                ("repair.card_manager", world.second_manager, None),
                ("repair.offer", world.technician, None),
                ("repair.offer", second, None),
            ]
        )
        assert await kinds(database, repair.id) == ["filed"]

    async def test_keeps_one_flats_fault_a_repair_of_its_own(self, database, street):
        for home in (street.homes[0], street.homes[3], street.homes[6]):
            await raise_alarms(database, [home])
            await take_up(database)

        assert [row.area_id for row in await repair_rows(database)] == [None] * 3

    async def test_lets_the_first_repair_grow_and_the_others_go_on_as_it(
        self, database, world, street
    ):
        first, second, *rest = street.homes
        await burst(database, [first])
        await burst(database, [second])
        async with database.transaction() as session:
            await intake.report(
                session,
                person_id=second.holder,
                service_point_id=second.point,
                text="Only drops",
                photo_ref="photo-1",
                now=NOON,
            )
        _, latest = await messages(database)

        await burst(database, rest)

        master, merged = await repair_rows(database)
        assert (master.number, master.area_id, master.state) == ("R1001", street.id, State.NEW)
        assert (merged.state, merged.merged_into_id) == (State.MERGED, master.id)
        assert await followers(database, master.id) == points_of(street.homes)
        assert await kinds(database, master.id) == ["filed", "grew"]
        assert await kinds(database, merged.id) == ["filed", "comment", "merge"]
        found, _ = await messages(database, after=latest)
        assert ("repair.card", second.holder, None) in found
        assert await news(database, after=latest) == to_managers(world, "grew")
        old = await view(database, second.holder, "R1002")
        assert old.history[1].details["text"] == "Only drops"
        assert old.history[-1].details["into"] == "R1001"
        new = await view(database, second.holder, "R1001")
        assert new.history[-1].details["merged"] == "R1002"
        async with database.transaction() as session:
            homes = await evidence.list_followers(session, repair_id=master.id, now=NOON)
        assert [home.merged_number for home in homes if home.merged_number] == ["R1002"]

    async def test_keeps_the_technician_who_is_under_way(self, database, street):
        other = await another_technician(database)
        await burst(database, street.homes[:1])
        await burst(database, street.homes[1:2])
        await act(database, Act.CLAIM, other, "R1002")
        _, latest = await messages(database)

        await burst(database, street.homes[2:])

        (master,) = await open_repairs(database)
        assert (master.number, master.state, master.technician_id) == (
            "R1002",
            State.ACCEPTED,
            other,
        )
        assert master.promised_at == NOON + 24 * HOUR
        assert (await news(database, after=latest))["grew", other] == 1

    async def test_tells_a_technician_whose_job_goes_on_as_another(self, database, world, street):
        other = await another_technician(database)
        await burst(database, street.homes[:1])
        await burst(database, street.homes[1:2])
        await act(database, Act.CLAIM, world.technician, "R1001")
        await act(database, Act.CLAIM, other, "R1002")
        _, latest = await messages(database)

        await burst(database, street.homes[2:])

        assert (await news(database, after=latest))["merged", other] == 1

    async def test_widens_from_riser_to_building_to_street(self, database, street):
        areas = []
        for start in range(0, 9, 3):
            repair = await burst(database, street.homes[start : start + 3])
            areas.append(repair.area_id)
        assert areas == [street.homes[0].area, street.buildings[0], street.id]
        assert len(await open_repairs(database)) == 1

    async def test_leaves_alone_what_was_wrong_long_before(self, database, street):
        await burst(database, street.homes[:1], at=NOON - HOUR)

        await burst(database, street.homes[1:])

        chronic, incident = await repair_rows(database)
        assert (chronic.number, chronic.area_id, chronic.state) == ("R1001", None, State.NEW)
        assert await followers(database, incident.id) == points_of(street.homes[1:])

    async def test_takes_in_a_repair_whose_meter_was_back_and_fails_again_with_the_others(
        self, database, street
    ):
        await burst(database, street.homes[:1], at=NOON - 5 * HOUR)
        await end_alarms(database, street.homes[:1], at=NOON - 4 * HOUR)

        await burst(database, street.homes)

        (repair,) = await repair_rows(database)
        assert (repair.number, repair.area_id, repair.normal_at) == ("R1001", street.id, None)
        assert await followers(database, repair.id) == points_of(street.homes)

    async def test_of_two_parts_at_once_joins_their_incidents(self, database, street):
        other = await burst(database, street.homes[6:9])
        assert other.area_id == street.homes[6].area
        home = street.homes[6]

        await burst(database, street.homes[:6])

        (repair,) = await open_repairs(database)
        assert (repair.number, repair.area_id) == ("R1001", street.id)
        assert await followers(database, repair.id) == points_of(street.homes[:9])
        assert (await view(database, home.holder, "R1001")).homes == 9

    async def test_leaves_a_customers_own_words_their_own_repair(self, database, street):
        home = street.homes[0]
        async with database.transaction() as session:
            await intake.report(
                session,
                person_id=home.holder,
                service_point_id=home.point,
                text="The tap drips",
                photo_ref="",
                now=NOON,
            )

        await burst(database, street.homes)

        assert [(row.cause, row.state) for row in await repair_rows(database)] == [
            (Cause.REPORTED, State.NEW),
            (Cause.LOW_PRESSURE, State.NEW),
        ]

    async def test_after_the_end_names_the_incident_before(self, database, world, street):
        repair = await burst(database, street.homes)
        await act(database, Act.CANCEL, world.manager, repair.id)
        async with database.transaction() as session:
            await session.execute(update(Alarm).values(ended_at=NOON))

        await burst(database, street.homes, at=NOON + HOUR)

        shown = await view(database, street.homes[0].holder, "R1002", now=NOON + HOUR)
        assert shown.history[0].details["previous"] == "R1001"

    async def test_is_one_of_an_area_and_cause_by_the_database_itself(self, database, street):
        await burst(database, street.homes)
        copy = (
            "INSERT INTO shuidian.repairs (number, service_point_id, area_id, cause, state,"
            " state_since, filed_at) SELECT 'R7', service_point_id, area_id, cause, state,"
            " state_since, filed_at FROM shuidian.repairs"
        )
        with pytest.raises(IntegrityError, match="uq_repairs_open_incident"):
            async with database.transaction() as session:
                await session.execute(text(copy))


class TestJoining:
    async def test_later_homes_join_and_get_their_card(self, database, street):
        repair = await burst(database, street.homes[:11])
        _, latest = await messages(database)
        late = street.homes[11]

        await burst(database, [late], at=NOON + 5 * HOUR)

        assert await followers(database, repair.id) == points_of(street.homes)
        found, _ = await messages(database, after=latest)
        told = {person for kind, person, _ in found if kind == "repair.card"}
        assert told == {late.holder}
        assert len(await repair_rows(database)) == 1

    async def test_an_alarm_of_the_same_home_again_is_noted_and_never_filed(self, database, street):
        repair = await burst(database, street.homes)
        await end_alarms(database, street.homes[:1], at=NOON + HOUR)

        await burst(database, street.homes[:1], at=NOON + 2 * HOUR)
        await take_up(database, now=NOON + 2 * HOUR)

        assert len(await repair_rows(database)) == 1
        assert await kinds(database, repair.id) == ["filed", "partly", "spread"]

    async def test_words_of_an_affected_customer_are_added_with_their_name(
        self, database, world, street
    ):
        await burst(database, street.homes)
        home = street.homes[4]
        async with database.transaction() as session:
            reported = await intake.report(
                session,
                person_id=home.holder,
                service_point_id=home.point,
                text="Nothing comes",
                photo_ref="",
                now=NOON,
            )
        assert (reported.number, reported.is_new) == ("R1001", False)
        shown = await view(database, world.manager, "R1001")
        assert (shown.history[-1].who, shown.history[-1].details["text"]) == (
            "Holder",
            "Nothing comes",
        )

    async def test_words_and_photos_of_one_home_are_not_shown_to_the_others(
        self, database, world, street
    ):
        await burst(database, street.homes[:1])
        await say(database, street.homes[0].holder, "R1001", "Gate code 42", photo="photo-1")
        await burst(database, street.homes[1:])
        await say(database, world.manager, "R1001", "A main has burst", photo="photo-2")

        async def read(person):
            shown = await view(database, person, "R1001")
            async with database.transaction() as session:
                photos = await queries.get_photos_for(session, person_id=person, repair="R1001")
            words = [row.details["text"] for row in shown.history if "text" in row.details]
            return words, sorted(ref for _, ref in photos)

        everything = (["Gate code 42", "A main has burst"], ["photo-1", "photo-2"])
        assert await read(street.homes[0].holder) == everything
        assert await read(world.manager) == everything
        assert await read(street.homes[1].holder) == (["A main has burst"], ["photo-2"])

    async def test_a_stranger_does_not_see_it(self, database, world, street):
        await burst(database, street.homes[:6])
        for person in (world.home.holder, street.homes[7].holder):
            with pytest.raises(RepairNotFound):
                await view(database, person, "R1001")
        async with database.transaction() as session:
            lists = [
                await queries.list_for_customer(session, person_id=home.holder, now=NOON)
                for home in (street.homes[5], street.homes[7])
            ]
        assert [[line.number for line in lines] for lines in lists] == [["R1001"], []]
        assert (lists[0][0].address, lists[0][0].homes) == ("Maple Street · No. 1", 6)

    async def test_it_answers_why_the_supply_is_off(self, database, street):
        await burst(database, street.homes)
        home = street.homes[5]
        async with database.transaction() as session:
            answer = await why_is_my_supply_off(
                session, person_id=home.holder, service_point_id=home.point, now=NOON
            )
        assert (answer.why, answer.repair.number) == (Why.REPAIR, "R1001")


class TestReturnToNormal:
    async def test_is_complete_when_the_last_home_is_back(self, database, world, street):
        repair = await burst(database, street.homes)
        await end_alarms(database, street.homes[:9], at=NOON + HOUR)

        shown = await view(database, world.manager, repair.id)
        assert (shown.homes_back, shown.homes, shown.normal_at) == (9, 12, None)
        assert shown.measured.is_abnormal
        assert not (await view(database, street.homes[0].holder, repair.id)).measured.is_abnormal

        await end_alarms(database, street.homes[9:], at=NOON + 2 * HOUR)

        shown = await view(database, world.manager, repair.id)
        assert (shown.homes_back, shown.normal_at) == (12, NOON + 2 * HOUR)
        assert await kinds(database, repair.id) == ["filed", "partly", "normal"]
        assert await news(database) == {("normal", home.holder): 1 for home in street.homes}

    async def test_of_many_taken_back_opens_it_again_for_all(self, database, world, street):
        repair_id = await TestAnswers().fixed(database, world, street.homes)
        _, latest = await messages(database)

        await burst(database, street.homes[:3], at=NOON + 5 * HOUR)

        (repair,) = await repair_rows(database)
        assert (repair.state, repair.technician_id, repair.reopened_count) == (
            State.REOPENED,
            None,
            1,
        )
        assert (await kinds(database, repair_id))[-1] == "reopened"
        assert await news(database, after=latest) == {
            **{("reopened", home.holder): 1 for home in street.homes},
            **to_managers(world, "contradicted"),
            ("offered", world.technician): 1,
        }
        await act(database, Act.CLAIM, world.technician, repair_id, now=NOON + 6 * HOUR)

    async def test_leaves_what_fails_after_the_fix_a_repair_of_its_own(
        self, database, world, street
    ):
        repair_id = await TestAnswers().fixed(database, world, street.homes[:11])
        assert (await repair_rows(database))[0].area_id == street.id

        await burst(database, street.homes[11:], at=NOON + 5 * HOUR)

        incident, single = await repair_rows(database)
        assert (incident.id, incident.state) == (repair_id, State.FIXED)
        assert (single.area_id, single.service_point_id) == (None, street.homes[11].point)

    async def test_contradicts_fixed_while_any_home_is_abnormal(self, database, world, street):
        repair = await burst(database, street.homes)
        await end_alarms(database, street.homes[1:], at=NOON)
        await act(database, Act.CLAIM, world.technician, repair.id)

        with pytest.raises(MeterStillAbnormal):
            await act(database, Act.FIXED, world.technician, repair.id)
        await end_alarms(database, street.homes[:1], at=NOON)
        await act(database, Act.FIXED, world.technician, repair.id)
        _, latest = await messages(database)
        await burst(database, street.homes[:1], at=NOON + HOUR)

        assert await news(database, after=latest) == to_managers(world, "contradicted")
        assert (await kinds(database, repair.id))[-1] == "contradicted"


class TestAnswers:
    async def fixed(self, database, world, homes):
        repair = await burst(database, homes)
        await end_alarms(database, homes)
        await act(database, Act.CLAIM, world.technician, repair.id)
        await act(database, Act.FIXED, world.technician, repair.id)
        return repair.id

    async def test_every_home_is_asked_and_the_last_yes_closes(self, database, world, street):
        homes = street.homes[:3]
        repair_id = await self.fixed(database, world, homes)
        found = await news(database)
        assert {person for what, person in found if what == "fixed"} == {
            home.holder for home in homes
        }

        for home in homes[:2]:
            done = await act(database, Act.CONFIRM, home.holder, repair_id, version=3)
            again = await act(database, Act.CONFIRM, home.holder, repair_id, version=3)
            assert (done.changed, again.changed) == (True, False)
            assert (await view(database, home.holder, repair_id)).answered
        assert not (await view(database, homes[2].holder, repair_id)).answered
        assert [row.state for row in await repair_rows(database)] == [State.FIXED]

        await act(database, Act.CONFIRM, homes[2].holder, repair_id, version=3)
        assert [row.state for row in await repair_rows(database)] == [State.CLOSED]
        assert (await kinds(database, repair_id))[-3:] == [
            "home_confirm",
            "home_confirm",
            "confirm",
        ]

    async def test_a_no_against_a_normal_meter_is_about_that_home_alone(
        self, database, world, street
    ):
        homes = street.homes[:3]
        repair_id = await self.fixed(database, world, homes)

        done = await act(
            database, Act.DENY, homes[1].holder, repair_id, version=3, words="Brown water"
        )
        again = await act(database, Act.DENY, homes[1].holder, repair_id, version=3)

        assert (done.number, done.changed) == ("R1002", True)
        assert (again.number, again.changed) == ("R1002", False)
        incident, single = await repair_rows(database)
        assert incident.state is State.FIXED
        assert (single.cause, single.service_point_id, single.reporter_id) == (
            Cause.REPORTED,
            homes[1].point,
            homes[1].holder,
        )
        shown = await view(database, homes[1].holder, single.id)
        assert shown.history[0].details == {"text": "Brown water", "previous": "R1001"}
        assert (await view(database, world.manager, repair_id)).history[-1].details["into"] == (
            "R1002"
        )
        with pytest.raises(RepairNotFound):
            await view(database, homes[0].holder, single.id)

    async def test_at_once_from_all_homes_while_more_alarms_come_waits_for_nobody_forever(
        self, database, world, street
    ):
        homes = street.homes[:3]
        repair_id = await self.fixed(database, world, homes)
        await raise_alarms(database, street.homes[3:], at=NOON + 2 * HOUR)

        await asyncio.gather(
            act(database, Act.DENY, homes[0].holder, repair_id),
            take_up(database, now=NOON + 2 * HOUR),
            act(database, Act.DENY, homes[1].holder, repair_id),
            act(database, Act.CONFIRM, homes[2].holder, repair_id),
        )

        rows = await repair_rows(database)
        assert Counter(row.cause for row in rows) == {Cause.LOW_PRESSURE: 2, Cause.REPORTED: 2}
        assert await followers(database, repair_id) == points_of(homes)

    async def test_a_yes_can_become_a_no(self, database, world, street):
        homes = street.homes[:3]
        repair_id = await self.fixed(database, world, homes)
        await act(database, Act.CONFIRM, homes[1].holder, repair_id)

        done = await act(database, Act.DENY, homes[1].holder, repair_id)

        assert (done.number, done.changed) == ("R1002", True)

    async def test_a_no_that_a_meter_confirms_opens_it_again_for_all(self, database, world, street):
        homes = street.homes[:3]
        repair_id = await self.fixed(database, world, homes)
        await act(database, Act.CONFIRM, homes[0].holder, repair_id)
        await burst(database, homes[1:2], at=NOON + HOUR)

        await act(database, Act.DENY, homes[1].holder, repair_id, now=NOON + HOUR)

        (repair,) = await repair_rows(database)
        assert (repair.state, repair.reopened_count) == (State.REOPENED, 1)
        await act(database, Act.CLAIM, world.technician, repair_id, now=NOON + HOUR)
        await end_alarms(database, homes, at=NOON + 2 * HOUR)
        await act(database, Act.FIXED, world.technician, repair_id, now=NOON + 2 * HOUR)
        assert not (await view(database, homes[0].holder, repair_id)).answered

    async def test_silence_closes_after_three_days(self, database, world, street):
        repair_id = await self.fixed(database, world, street.homes)
        await act(database, Act.CONFIRM, street.homes[0].holder, repair_id)
        async with database.transaction() as session:
            assert await deadlines.close_silent(session, now=NOON + timedelta(days=3)) == 1
        assert [row.state for row in await repair_rows(database)] == [State.CLOSED]

    async def test_words_on_a_merged_repair_reach_what_it_goes_on_as(self, database, world, street):
        await burst(database, street.homes[:1])
        await burst(database, street.homes[1:2])
        await burst(database, street.homes[2:])
        await say(database, street.homes[1].holder, "R1002", "The gate is open")
        shown = await view(database, world.manager, "R1001")
        assert shown.history[-1].details["text"] == "The gate is open"


CLEARED = ("repair_followers", "repair_events", "repairs", "deliveries", "unreached", "alarms")


class TestAnyOrder:
    """The same alarms, whatever their order, batches and workers, are the same incidents."""

    @settings(
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        begun=st.lists(
            st.tuples(st.integers(0, 11), st.integers(0, 30)),
            min_size=1,
            unique_by=lambda each: each[0],
        ),
        cuts=st.lists(st.integers(1, 5), max_size=6),
        workers=st.integers(1, 4),
    )
    def test_gives_the_same_incident_with_the_same_followers(self, runner, begun, cuts, workers):
        runner(begun, cuts, workers)

    @pytest.fixture
    def runner(self, database, street):
        loop = asyncio.get_event_loop_policy().get_event_loop()

        async def work(part):
            for place, minute in part:
                at = NOON + minute * MINUTE
                await raise_alarms(database, [street.homes[place]], at=at)
            await take_up(database)

        async def run(begun, cuts, workers):
            async with database.transaction() as session:
                await session.execute(text("SET LOCAL session_replication_role = replica"))
                for table in CLEARED:
                    await session.execute(text(f"DELETE FROM shuidian.{table}"))  # noqa: S608 (ours)
            expected = await find_expected(database, street, begun)
            rest = list(begun)
            for size in [*cuts, len(begun)]:
                batch, rest = rest[:size], rest[size:]
                await asyncio.gather(*(work(batch[start::workers]) for start in range(workers)))
            rows = await open_repairs(database)
            found = {row.area_id: await followers(database, row.id) for row in rows if row.area_id}
            assert found == {group.area_id: set(group.points) for group in expected}
            followed = set().union(*found.values())
            singles = [row.service_point_id for row in rows if row.area_id is None]
            assert sorted(singles) == sorted(
                {street.homes[place].point for place, _ in begun} - followed
            )
            assert await take_up(database) == 0
            before = await messages(database)
            await take_up(database)
            assert await messages(database) == before

        return lambda *given_: loop.run_until_complete(run(*given_))


async def find_expected(database, street, begun):
    """Return what the rule says of all alarms at once."""
    async with database.transaction() as session:
        rows = await session.execute(
            select(ServicePoint.id, Area.path).join(Area, Area.id == ServicePoint.area_id)
        )
        split = {
            point: tuple(int(part) for part in path.strip("/").split("/")) for point, path in rows
        }
    supplied = Counter(area for home in street.homes for area in split[home.point])
    district = split[street.homes[0].point][0]
    supplied[district] += 2  # the world's own homes
    return find_groups(
        [
            Abnormal(
                street.homes[place].point,
                split[street.homes[place].point],
                NOON + minute * MINUTE,
            )
            for place, minute in begun
        ],
        supplied=supplied,
    )
