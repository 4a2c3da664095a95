"""Repairs on a real database: from the alarm to the customer's yes, and everything on the way."""

import asyncio
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text, update

from core.accounts.models import (
    Account,
    AccountRight,
    Agreement,
    Contact,
    Person,
    Right,
    Role,
    Service,
    Staff,
)
from core.accounts.service import AccountNotFound
from core.monitoring.models import Alarm, Quantity, Sample, Side
from core.notices.models import Delivery
from core.repairs import deadlines, intake, queries
from core.repairs import service as repairs
from core.repairs.access import RepairNotFound, mask_phone, short_name
from core.repairs.models import Cause, Repair, RepairEvent
from core.repairs.promises import PromiseInThePast, PromiseTooFar
from core.repairs.service import (
    AlreadyClaimed,
    MeterStillAbnormal,
    NoSuchTechnician,
    NothingSaid,
    Reason,
    RepairMovedOn,
)
from core.repairs.workflow import Act, NotYourRepair, Party, State, StepNotPossible
from tests.world import NOON

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
QUANTITY = {Service.WATER: Quantity.PRESSURE, Service.ELECTRICITY: Quantity.VOLTAGE}
LOW = {Service.WATER: (140, 92), Service.ELECTRICITY: ("198.0", "181.5")}


async def raise_alarm(database, world, service=Service.WATER, *, at=NOON, side=Side.LOW):
    limit, value = LOW[service]
    async with database.transaction() as session:
        alarm = Alarm(
            meter_id=world.home.meters[service],
            quantity=QUANTITY[service],
            side=side,
            limit=Decimal(limit),
            worst=Decimal(value),
            began_at=at - 20 * MINUTE,
            raised_at=at,
        )
        session.add(alarm)
        await session.flush()
        return alarm.id


async def end_alarm(database, alarm_id, *, at, value="231"):
    async with database.transaction() as session:
        await session.execute(
            update(Alarm).where(Alarm.id == alarm_id).values(ended_at=at, end_value=Decimal(value))
        )


async def take_up(database, *, now=NOON):
    async with database.transaction() as session:
        return await intake.take_up_alarms(session, now=now)


async def filed(database, world, service=Service.WATER):
    await raise_alarm(database, world, service)
    await take_up(database)
    async with database.transaction() as session:
        return await session.scalar(select(Repair.id).order_by(Repair.id.desc()).limit(1))


async def filed_for_anna(database, world):
    async with database.transaction() as session:
        person = await session.get(Person, world.home.holder)
        person.name, person.phone = "Anna Petrova", "+8613800005678"
    return await filed(database, world)


async def act(database, what, person_id, repair, *, now=NOON, **more):
    async with database.transaction() as session:
        return await repairs.take_step(
            session, act=what, person_id=person_id, repair=repair, now=now, **more
        )


async def view(database, person_id, repair, *, now=NOON):
    async with database.transaction() as session:
        return await queries.get_repair_for(session, person_id=person_id, repair=repair, now=now)


async def messages(database, *, after=0):
    """Return (kind, person, news) of every delivery since one, and the latest delivery's id."""
    async with database.transaction() as session:
        rows = await session.execute(
            select(Delivery.id, Delivery.kind, Contact.person_id, Delivery.params)
            .join(Contact, Contact.id == Delivery.contact_id)
            .where(Delivery.id > after)
            .order_by(Delivery.id)
        )
        found = [(row.id, row.kind, row.person_id, row.params) for row in rows]
    latest = found[-1][0] if found else after
    return [(kind, person, params.get("news")) for _, kind, person, params in found], latest


async def news(database, *, after=0):
    found, _ = await messages(database, after=after)
    return Counter((what, person) for kind, person, what in found if kind == "repair.news")


def to_managers(world, what, *, times=1):
    return {(what, person): times for person in (world.manager, world.second_manager)}


async def another_technician(database, name="Zhou Min", chat=2002):
    async with database.transaction() as session:
        person = Person(name=name, locale="zh_CN", created_at=NOON)
        session.add(person)
        await session.flush()
        session.add_all(
            [
                Contact(person_id=person.id, channel="telegram", address=str(chat)),
                Staff(person_id=person.id, role=Role.TECHNICIAN, on_duty=True),
            ]
        )
        return person.id


async def repair_rows(database):
    async with database.transaction() as session:
        return list(await session.scalars(select(Repair).order_by(Repair.id)))


async def kinds(database, repair_id):
    async with database.transaction() as session:
        return list(
            await session.scalars(
                select(RepairEvent.kind)
                .where(RepairEvent.repair_id == repair_id)
                .order_by(RepairEvent.id)
            )
        )


class TestTakeUpAlarms:
    @pytest.mark.parametrize(
        ("service", "cause"),
        [(Service.WATER, Cause.LOW_PRESSURE), (Service.ELECTRICITY, Cause.LOW_VOLTAGE)],
    )
    async def test_files_one_repair_and_tells_everybody_its_number_at_once(
        self, database, world, service, cause
    ):
        await raise_alarm(database, world, service)

        assert await take_up(database) == 1

        (repair,) = await repair_rows(database)
        assert (repair.number, repair.cause, repair.state) == ("R1001", cause, State.NEW)
        found, _ = await messages(database)
        assert sorted(found) == [
            ("repair.card", world.home.holder, None),
            ("repair.card_manager", world.manager, None),
            ("repair.card_manager", world.second_manager, None),
            ("repair.offer", world.technician, None),
        ]
        async with database.transaction() as session:
            told = list(await session.scalars(select(Delivery)))
        assert {row.params["repair_id"] for row in told} == {repair.id}
        assert {row.card.split(":")[1] for row in told} == {str(repair.id)}

    async def test_twice_changes_nothing(self, database, world):
        await raise_alarm(database, world)
        await take_up(database)
        _, latest = await messages(database)

        assert await take_up(database) == 0

        assert len(await repair_rows(database)) == 1
        assert (await messages(database, after=latest))[0] == []

    async def test_feeds_the_open_repair_of_the_same_cause(self, database, world):
        first = await raise_alarm(database, world)
        await take_up(database)
        await end_alarm(database, first, at=NOON + HOUR)
        await raise_alarm(database, world, at=NOON + 2 * HOUR)

        await take_up(database, now=NOON + 2 * HOUR)

        (repair,) = await repair_rows(database)
        assert await kinds(database, repair.id) == ["filed", "normal", "alarm"]
        assert repair.normal_at is None

    async def test_keeps_water_and_electricity_apart(self, database, world):
        await raise_alarm(database, world, Service.WATER)
        await raise_alarm(database, world, Service.ELECTRICITY)

        await take_up(database)

        assert [row.number for row in await repair_rows(database)] == ["R1001", "R1002"]

    async def test_files_exactly_one_when_many_look_at_the_same_time(self, database, world):
        alarm_ids = []
        for minute in range(6):
            alarm_ids.append(await raise_alarm(database, world, at=NOON + minute * MINUTE))
            await end_alarm(database, alarm_ids[-1], at=NOON + minute * MINUTE)

        await asyncio.gather(*(take_up(database) for _ in range(6)))
        await take_up(database)

        (repair,) = await repair_rows(database)
        found = await kinds(database, repair.id)
        assert (found.count("filed"), found.count("alarm")) == (1, 5)
        async with database.transaction() as session:
            assert await session.scalar(text("SELECT latest FROM shuidian.series")) == 1001

    async def test_of_a_repair_back_to_normal_asks_whether_all_is_well(self, database, world):
        alarm_id = await raise_alarm(database, world)
        await take_up(database)
        await end_alarm(database, alarm_id, at=NOON + HOUR, value="231")

        await take_up(database, now=NOON + HOUR)

        (repair,) = await repair_rows(database)
        assert (repair.state, repair.normal_at) == (State.NEW, NOON + HOUR)
        assert await news(database) == {("normal", world.home.holder): 1}
        await act(database, Act.CONFIRM, world.home.holder, repair.id, version=1)
        assert (await repair_rows(database))[0].state is State.CLOSED

    async def test_shows_the_return_to_normal_without_a_message_while_work_goes_on(
        self, database, world
    ):
        alarm_id = await raise_alarm(database, world)
        await take_up(database)
        await act(database, Act.CLAIM, world.technician, "R1001")
        await end_alarm(database, alarm_id, at=NOON + HOUR, value="231")
        _, latest = await messages(database)

        await take_up(database, now=NOON + HOUR)

        shown = await view(database, world.home.holder, "R1001")
        assert shown.normal_at == NOON + HOUR
        assert shown.measured.end_value == 231
        assert not shown.measured.is_abnormal
        assert await news(database, after=latest) == {}

    async def test_contradicts_a_claim_that_it_is_fixed(self, database, world):
        alarm_id = await raise_alarm(database, world)
        await take_up(database)
        await act(database, Act.CLAIM, world.technician, "R1001")
        await end_alarm(database, alarm_id, at=NOON)
        await take_up(database)
        await act(database, Act.FIXED, world.technician, "R1001")
        _, latest = await messages(database)
        await raise_alarm(database, world, at=NOON + HOUR)

        await take_up(database, now=NOON + HOUR)

        (repair,) = await repair_rows(database)
        assert (repair.state, repair.normal_at) == (State.FIXED, None)
        assert (await kinds(database, repair.id))[-1] == "contradicted"
        assert await news(database, after=latest) == to_managers(world, "contradicted")

    async def test_long_after_the_end_files_a_new_one_that_names_the_old(self, database, world):
        repair_id = await filed(database, world)
        await act(database, Act.CANCEL, world.manager, repair_id)
        async with database.transaction() as session:
            await session.execute(update(Alarm).values(ended_at=NOON))
        await raise_alarm(database, world, at=NOON + 9 * HOUR)

        await take_up(database, now=NOON + 9 * HOUR)

        shown = await view(database, world.home.holder, "R1002", now=NOON + 9 * HOUR)
        assert shown.history[0].details["previous"] == "R1001"


class TestReport:
    async def report(self, database, person_id, point, words="No water", photo=""):
        async with database.transaction() as session:
            return await intake.report(
                session,
                person_id=person_id,
                service_point_id=point,
                text=words,
                photo_ref=photo,
                now=NOON,
            )

    async def test_files_a_repair_with_the_words_and_the_photo(self, database, world):
        point = world.home.points[Service.WATER]

        reported = await self.report(database, world.home.holder, point, photo="photo-1")

        assert (reported.number, reported.is_new) == ("R1001", True)
        shown = await view(database, world.home.holder, "r1001".upper())
        assert shown.cause is Cause.REPORTED
        assert shown.history[0].details["text"] == "No water"
        assert len(shown.history[0].photo_ids) == 1
        assert Party.REPORTER in shown.parties
        found, _ = await messages(database)
        assert {kind for kind, _, _ in found} == {
            "repair.card",
            "repair.card_manager",
            "repair.offer",
        }

    async def test_adds_the_words_to_the_open_repair_and_tells_its_technician(
        self, database, world
    ):
        await filed(database, world)
        await act(database, Act.CLAIM, world.technician, "R1001")
        _, latest = await messages(database)

        reported = await self.report(database, world.home.holder, world.home.points[Service.WATER])

        assert (reported.number, reported.is_new) == ("R1001", False)
        assert len(await repair_rows(database)) == 1
        assert await news(database, after=latest) == {("words", world.technician): 1}

    async def test_refuses_somebody_elses_place(self, database, world):
        with pytest.raises(AccountNotFound):
            await self.report(database, world.neighbour.holder, world.home.points[Service.WATER])

    async def test_refuses_silence(self, database, world):
        with pytest.raises(intake.NothingReported):
            await self.report(
                database, world.home.holder, world.home.points[Service.WATER], words=""
            )

    async def test_and_an_alarm_at_the_same_moment_give_two_numbers_at_most(self, database, world):
        await raise_alarm(database, world)
        point = world.home.points[Service.WATER]

        await asyncio.gather(
            *(self.report(database, world.home.holder, point) for _ in range(4)),
            take_up(database),
        )

        causes = [row.cause for row in await repair_rows(database)]
        assert len(causes) == len(set(causes))


class TestClaim:
    async def test_promises_a_time_by_service_and_tells_who_comes(self, database, world):
        await filed(database, world, Service.WATER)
        await filed(database, world, Service.ELECTRICITY)
        await act(database, Act.CLAIM, world.technician, "R1001")
        await act(database, Act.CLAIM, world.technician, "R1002")

        water = await view(database, world.home.holder, "R1001")
        power = await view(database, world.home.holder, "R1002")

        assert water.promised_at - NOON == 24 * HOUR
        assert power.promised_at - NOON == 4.5 * HOUR
        assert water.technician_name == "Wang Qiang"
        assert await news(database) == {("accepted", world.home.holder): 2}

    async def test_of_two_at_once_lets_one_win_and_tells_the_other_who(self, database, world):
        repair_id = await filed(database, world)
        second = await another_technician(database)

        outcomes = await asyncio.gather(
            *(
                act(database, Act.CLAIM, person, repair_id, version=1)
                for person in (world.technician, second)
            ),
            return_exceptions=True,
        )

        (lost,) = [found for found in outcomes if isinstance(found, Exception)]
        assert isinstance(lost, AlreadyClaimed)
        (repair,) = await repair_rows(database)
        winner = "Wang Qiang" if repair.technician_id == world.technician else "Zhou Min"
        assert lost.params == {"number": "R1001", "name": winner}
        assert await kinds(database, repair_id) == ["filed", "claim"]

    async def test_twice_by_the_same_is_harmless(self, database, world):
        repair_id = await filed(database, world)
        await act(database, Act.CLAIM, world.technician, repair_id, version=1)
        _, latest = await messages(database)

        again = await act(database, Act.CLAIM, world.technician, repair_id, version=1)
        late = await act(database, Act.CLAIM, world.technician, "R1001", now=NOON + HOUR)

        assert (again.changed, late.changed) == (False, False)
        assert await kinds(database, repair_id) == ["filed", "claim"]
        assert (await messages(database, after=latest))[0] == []

    async def test_is_for_technicians_only(self, database, world):
        repair_id = await filed(database, world)
        for person in (world.home.holder, world.manager):
            with pytest.raises(NotYourRepair):
                await act(database, Act.CLAIM, person, repair_id)
        with pytest.raises(RepairNotFound):
            await act(database, Act.CLAIM, world.neighbour.holder, repair_id)

    async def test_ends_the_offer_of_the_others(self, database, world):
        repair_id = await filed(database, world)
        second = await another_technician(database)
        _, latest = await messages(database)

        await act(database, Act.CLAIM, world.technician, repair_id)

        found, _ = await messages(database, after=latest)
        assert ("repair.job", second, None) in found
        assert ("repair.job", world.technician, None) in found


class TestMoving:
    async def claimed(self, database, world, service=Service.WATER):
        repair_id = await filed(database, world, service)
        await act(database, Act.CLAIM, world.technician, repair_id)
        return repair_id

    async def test_shows_each_step_on_every_card_without_a_message(self, database, world):
        repair_id = await self.claimed(database, world)
        _, latest = await messages(database)

        for step in (Act.ON_THE_WAY, Act.ARRIVED, Act.WORKING):
            await act(database, step, world.technician, repair_id)

        found, _ = await messages(database, after=latest)
        assert Counter(found) == {
            ("repair.card", world.home.holder, None): 3,
            ("repair.card_manager", world.manager, None): 3,
            ("repair.card_manager", world.second_manager, None): 3,
            ("repair.job", world.technician, None): 3,
        }

    async def test_comes_late_or_twice_without_effect(self, database, world):
        repair_id = await self.claimed(database, world)
        await act(database, Act.ARRIVED, world.technician, repair_id, version=2)

        again = await act(database, Act.ARRIVED, world.technician, repair_id, version=2)

        assert not again.changed
        with pytest.raises(RepairMovedOn):
            await act(database, Act.WORKING, world.technician, repair_id, version=2)
        with pytest.raises(StepNotPossible):
            await act(database, Act.ON_THE_WAY, world.technician, repair_id)
        assert await kinds(database, repair_id) == ["filed", "claim", "arrived"]

    async def test_is_refused_to_anybody_else(self, database, world):
        repair_id = await self.claimed(database, world)
        second = await another_technician(database)
        for person, refusal in (
            (world.home.holder, NotYourRepair),
            (world.manager, NotYourRepair),
            (second, RepairNotFound),
            (world.neighbour.holder, RepairNotFound),
        ):
            with pytest.raises(refusal):
                await act(database, Act.ARRIVED, person, repair_id)

    async def test_ends_with_the_role(self, database, world):
        repair_id = await self.claimed(database, world)
        async with database.transaction() as session:
            await session.delete(await session.get(Staff, (world.technician, Role.TECHNICIAN)))

        with pytest.raises(RepairNotFound):
            await act(database, Act.ARRIVED, world.technician, repair_id)

    async def test_waits_with_a_reason_and_a_new_time(self, database, world):
        repair_id = await self.claimed(database, world)
        _, latest = await messages(database)

        await act(
            database,
            Act.WAIT,
            world.technician,
            repair_id,
            reason=Reason.PART,
            promised_at=NOON + 30 * HOUR,
            words="A valve, DN 20",
        )

        shown = await view(database, world.home.holder, repair_id)
        assert (shown.state, shown.promise_moves) == (State.WAITING, 1)
        assert shown.promised_at == NOON + 30 * HOUR
        assert shown.history[-1].details == {"reason": "part", "text": "A valve, DN 20"}
        assert await news(database, after=latest) == {("waiting", world.home.holder): 1}

    async def test_waiting_twice_for_the_same_is_harmless_and_for_longer_is_counted(
        self, database, world
    ):
        repair_id = await self.claimed(database, world)
        for hours in (30, 30, 50):
            await act(
                database,
                Act.WAIT,
                world.technician,
                repair_id,
                reason=Reason.WEATHER,
                promised_at=NOON + hours * HOUR,
            )

        shown = await view(database, world.home.holder, repair_id)
        assert shown.promise_moves == 2
        assert await kinds(database, repair_id) == ["filed", "claim", "wait", "wait"]

    @pytest.mark.parametrize(
        ("promised_at", "refusal"),
        [(NOON, PromiseInThePast), (NOON + timedelta(days=61), PromiseTooFar)],
    )
    async def test_never_promises_the_impossible(self, database, world, promised_at, refusal):
        repair_id = await self.claimed(database, world)
        with pytest.raises(refusal):
            await act(
                database,
                Act.WAIT,
                world.technician,
                repair_id,
                reason=Reason.PART,
                promised_at=promised_at,
            )
        assert (await view(database, world.home.holder, repair_id)).state is State.ACCEPTED

    async def test_a_new_promise_is_kept_counted_and_told(self, database, world):
        repair_id = await self.claimed(database, world)
        _, latest = await messages(database)

        async with database.transaction() as session:
            await repairs.promise(
                session,
                person_id=world.technician,
                repair=repair_id,
                reason=Reason.ACCESS,
                promised_at=NOON + 26 * HOUR,
                version=2,
                now=NOON,
            )

        shown = await view(database, world.home.holder, repair_id)
        assert shown.promise_moves == 1
        promised = [row.promised_at - NOON for row in shown.history if row.promised_at]
        assert promised == [24 * HOUR, 26 * HOUR]
        assert await news(database, after=latest) == {("promise", world.home.holder): 1}

    async def test_a_promise_is_not_the_customers_to_move(self, database, world):
        repair_id = await self.claimed(database, world)
        async with database.transaction() as session:
            with pytest.raises(NotYourRepair):
                await repairs.promise(
                    session,
                    person_id=world.home.holder,
                    repair=repair_id,
                    reason=Reason.OTHER,
                    promised_at=NOON + HOUR,
                    now=NOON,
                )

    async def test_a_promise_needs_work_under_way_and_is_counted_once(self, database, world):
        repair_id = await filed(database, world)

        async def promise(hours):
            async with database.transaction() as session:
                return await repairs.promise(
                    session,
                    person_id=world.manager,
                    repair=repair_id,
                    reason=Reason.WEATHER,
                    promised_at=NOON + hours * HOUR,
                    now=NOON,
                )

        with pytest.raises(StepNotPossible):
            await promise(30)
        await act(database, Act.CLAIM, world.technician, repair_id)
        assert [(await promise(30)).changed for _ in range(2)] == [True, False]
        assert (await view(database, world.manager, repair_id)).promise_moves == 1

    async def test_handed_back_it_is_offered_again_with_its_promise(self, database, world):
        repair_id = await self.claimed(database, world)
        second = await another_technician(database)
        _, latest = await messages(database)

        await act(database, Act.HAND_BACK, world.technician, repair_id, words="Ill")
        again = await act(database, Act.HAND_BACK, world.technician, repair_id)

        assert not again.changed
        shown = await view(database, world.home.holder, repair_id)
        assert (shown.state, shown.technician_name) == (State.NEW, None)
        assert shown.promised_at == NOON + 24 * HOUR
        assert await news(database, after=latest) == {("offered", second): 1}
        await act(database, Act.CLAIM, second, repair_id, now=NOON + HOUR)
        assert (await view(database, world.home.holder, repair_id)).promise_moves == 0


class TestAssign:
    async def test_moves_a_job_and_tells_both_technicians(self, database, world):
        repair_id = await filed(database, world)
        second = await another_technician(database)
        await act(database, Act.CLAIM, world.technician, repair_id)
        await act(database, Act.WORKING, world.technician, repair_id)
        _, latest = await messages(database)

        await act(database, Act.ASSIGN, world.manager, repair_id, technician_id=second)
        again = await act(database, Act.ASSIGN, world.manager, repair_id, technician_id=second)

        assert not again.changed
        shown = await view(database, world.home.holder, repair_id)
        assert (shown.state, shown.technician_name) == (State.ACCEPTED, "Zhou Min")
        assert await news(database, after=latest) == {
            ("accepted", world.home.holder): 1,
            ("assigned", second): 1,
            ("transferred", world.technician): 1,
        }
        with pytest.raises(RepairNotFound):
            await act(database, Act.WORKING, world.technician, repair_id)

    async def test_is_for_managers_and_to_technicians(self, database, world):
        repair_id = await filed(database, world)
        with pytest.raises(NoSuchTechnician):
            await act(
                database, Act.ASSIGN, world.manager, repair_id, technician_id=world.home.holder
            )
        with pytest.raises(NotYourRepair):
            await act(
                database,
                Act.ASSIGN,
                world.technician,
                repair_id,
                technician_id=world.technician,
            )


class TestFixed:
    async def fixed(self, database, world):
        alarm_id = await raise_alarm(database, world)
        await take_up(database)
        await act(database, Act.CLAIM, world.technician, "R1001")
        await end_alarm(database, alarm_id, at=NOON)
        await take_up(database)
        await act(database, Act.FIXED, world.technician, "R1001", words="New valve")

    async def test_needs_a_second_word_while_the_meter_disagrees(self, database, world):
        repair_id = await filed(database, world)
        await act(database, Act.CLAIM, world.technician, repair_id)
        async with database.transaction() as session:
            session.add(
                Sample(
                    meter_id=world.home.meters[Service.WATER],
                    quantity=Quantity.PRESSURE,
                    taken_at=NOON,
                    value=Decimal(95),
                )
            )

        with pytest.raises(MeterStillAbnormal):
            await act(database, Act.FIXED, world.technician, repair_id, version=2)
        done = await act(
            database, Act.FIXED, world.technician, repair_id, version=2, despite_meter=True
        )

        assert done.changed
        shown = await view(database, world.home.holder, repair_id)
        assert shown.measured.is_abnormal
        assert shown.history[-1].details == {"quantity": "pressure", "value": "95"}

    async def test_asks_the_customer_who_closes_it(self, database, world):
        await self.fixed(database, world)
        assert (await news(database))["fixed", world.home.holder] == 1
        _, latest = await messages(database)

        await act(database, Act.CONFIRM, world.home.holder, "R1001", version=3)
        again = await act(database, Act.CONFIRM, world.home.holder, "R1001", version=3)

        assert not again.changed
        (repair,) = await repair_rows(database)
        assert (repair.state, repair.closed_at) == (State.CLOSED, NOON)
        assert await news(database, after=latest) == {("ended", world.technician): 1}

    async def test_denied_opens_the_same_number_again(self, database, world):
        await self.fixed(database, world)
        _, latest = await messages(database)

        await act(database, Act.DENY, world.home.holder, "R1001", version=3, words="Still dry")
        again = await act(database, Act.DENY, world.home.holder, "R1001", version=3)

        assert not again.changed
        (repair,) = await repair_rows(database)
        assert (repair.number, repair.state) == ("R1001", State.REOPENED)
        assert (repair.reopened_count, repair.fixed_at) == (1, None)
        assert await news(database, after=latest) == {
            **to_managers(world, "not_fixed"),
            ("offered", world.technician): 1,
        }
        await act(database, Act.CLAIM, world.technician, "R1001", now=NOON + HOUR)
        await act(database, Act.FIXED, world.technician, "R1001", now=NOON + HOUR)
        await act(database, Act.CONFIRM, world.home.holder, "R1001", now=NOON + 2 * HOUR)
        assert (await repair_rows(database))[0].state is State.CLOSED

    async def test_is_answered_by_nobody_but_the_customer(self, database, world):
        await self.fixed(database, world)
        for person, refusal in (
            (world.technician, NotYourRepair),
            (world.manager, NotYourRepair),
            (world.neighbour.holder, RepairNotFound),
        ):
            for answer in (Act.CONFIRM, Act.DENY):
                with pytest.raises(refusal):
                    await act(database, answer, person, "R1001")

    async def test_is_not_confirmed_before_the_meter_or_the_technician_says_so(
        self, database, world
    ):
        repair_id = await filed(database, world)
        with pytest.raises(StepNotPossible):
            await act(database, Act.CONFIRM, world.home.holder, repair_id)

    async def test_closes_after_three_silent_days_if_the_meter_agrees(self, database, world):
        await self.fixed(database, world)
        async with database.transaction() as session:
            assert await deadlines.close_silent(session, now=NOON + timedelta(days=2)) == 0
        await raise_alarm(database, world, at=NOON + HOUR)
        await take_up(database, now=NOON + HOUR)
        async with database.transaction() as session:
            assert await deadlines.close_silent(session, now=NOON + timedelta(days=4)) == 0
            await session.execute(update(Alarm).values(ended_at=NOON + 2 * HOUR))
        await take_up(database, now=NOON + 2 * HOUR)

        async with database.transaction() as session:
            assert await deadlines.close_silent(session, now=NOON + timedelta(days=4)) == 1

        (repair,) = await repair_rows(database)
        assert repair.state is State.CLOSED
        assert (await kinds(database, repair.id))[-1] == "lapse"


class TestCancel:
    async def test_is_for_the_reporter_and_managers_until_somebody_arrives(self, database, world):
        async with database.transaction() as session:
            await intake.report(
                session,
                person_id=world.home.holder,
                service_point_id=world.home.points[Service.WATER],
                text="Dripping",
                photo_ref="",
                now=NOON,
            )
        await act(database, Act.CLAIM, world.technician, "R1001")
        _, latest = await messages(database)

        await act(database, Act.CANCEL, world.home.holder, "R1001")

        assert (await repair_rows(database))[0].state is State.CANCELLED
        assert await news(database, after=latest) == {("ended", world.technician): 1}

    async def test_is_refused_for_an_alarm_and_after_arrival(self, database, world):
        repair_id = await filed(database, world)
        with pytest.raises(NotYourRepair):
            await act(database, Act.CANCEL, world.home.holder, repair_id)
        await act(database, Act.CLAIM, world.technician, repair_id)
        await act(database, Act.ARRIVED, world.technician, repair_id)
        with pytest.raises(StepNotPossible):
            await act(database, Act.CANCEL, world.manager, repair_id)


class TestComment:
    async def comment(self, database, person_id, repair, **words):
        async with database.transaction() as session:
            return await repairs.comment(
                session, person_id=person_id, repair=repair, now=NOON, **words
            )

    async def test_reaches_whom_it_concerns_and_leaves_buttons_valid(self, database, world):
        repair_id = await filed(database, world)
        await act(database, Act.CLAIM, world.technician, repair_id)
        _, latest = await messages(database)

        await self.comment(database, world.home.holder, repair_id, text="Gate code 42")
        assert await news(database, after=latest) == {("words", world.technician): 1}
        _, latest = await messages(database)
        await self.comment(database, world.manager, repair_id, text="Which floor?")
        assert await news(database, after=latest) == {
            ("words", world.technician): 1,
            ("answer", world.home.holder): 1,
        }

        done = await act(database, Act.ARRIVED, world.technician, repair_id, version=2)
        assert done.changed

    async def test_keeps_photos_for_every_party_and_no_stranger(self, database, world):
        repair_id = await filed(database, world)
        await act(database, Act.CLAIM, world.technician, repair_id)
        await self.comment(database, world.technician, repair_id, photo_ref="photo-7")

        async with database.transaction() as session:
            for person in (world.home.holder, world.manager, world.technician):
                photos = await queries.get_photos_for(session, person_id=person, repair=repair_id)
                assert [ref for _, ref in photos] == ["photo-7"]
            with pytest.raises(RepairNotFound):
                await queries.get_photos_for(
                    session, person_id=world.neighbour.holder, repair=repair_id
                )

    async def test_needs_something_and_the_right_to_see_it(self, database, world):
        repair_id = await filed(database, world)
        with pytest.raises(NothingSaid):
            await self.comment(database, world.home.holder, repair_id)
        with pytest.raises(RepairNotFound):
            await self.comment(database, world.neighbour.holder, repair_id, text="Hello")


class TestEscalateLate:
    async def escalate(self, database, now):
        async with database.transaction() as session:
            return await deadlines.escalate_late(session, now=now)

    async def test_tells_managers_once_when_nobody_accepts(self, database, world):
        await filed(database, world)
        _, latest = await messages(database)

        outcomes = [
            await self.escalate(database, NOON + minute * MINUTE) for minute in (29, 30, 45)
        ]

        assert outcomes == [0, 1, 0]
        assert await news(database, after=latest) == to_managers(world, "late")

    async def test_tells_the_technician_too_at_each_broken_promise(self, database, world):
        repair_id = await filed(database, world)
        await act(database, Act.CLAIM, world.technician, repair_id)
        _, latest = await messages(database)
        assert await self.escalate(database, NOON + 24 * HOUR) == 1
        assert await self.escalate(database, NOON + 25 * HOUR) == 0
        async with database.transaction() as session:
            await repairs.promise(
                session,
                person_id=world.technician,
                repair=repair_id,
                reason=Reason.PART,
                promised_at=NOON + 26 * HOUR,
                now=NOON + 25 * HOUR,
            )

        assert await self.escalate(database, NOON + 27 * HOUR) == 1

        assert await news(database, after=latest) == {
            **to_managers(world, "late", times=2),
            ("late", world.technician): 2,
            ("promise", world.home.holder): 1,
        }

    async def test_counts_anew_when_it_is_handed_back(self, database, world):
        repair_id = await filed(database, world)
        assert await self.escalate(database, NOON + 30 * MINUTE) == 1
        await act(database, Act.CLAIM, world.technician, repair_id, now=NOON + 31 * MINUTE)
        await act(database, Act.HAND_BACK, world.technician, repair_id, now=NOON + HOUR)

        assert await self.escalate(database, NOON + HOUR + 29 * MINUTE) == 0
        assert await self.escalate(database, NOON + HOUR + 30 * MINUTE) == 1

    async def test_leaves_what_is_fixed_alone(self, database, world):
        repair_id = await filed(database, world)
        await act(database, Act.CLAIM, world.technician, repair_id)
        await act(database, Act.FIXED, world.technician, repair_id, despite_meter=True)
        assert await self.escalate(database, NOON + 48 * HOUR) == 0


class TestReads:
    async def test_a_foreign_repair_and_a_missing_one_look_the_same(self, database, world):
        await filed(database, world)
        for person, number in ((world.neighbour.holder, "R1001"), (world.home.holder, "R9999")):
            with pytest.raises(RepairNotFound) as refusal:
                await view(database, person, number)
            assert refusal.value.params == {}

    async def test_a_technician_sees_free_jobs_and_own_jobs_only(self, database, world):
        await filed(database, world, Service.WATER)
        await filed(database, world, Service.ELECTRICITY)
        second = await another_technician(database)
        await act(database, Act.CLAIM, world.technician, "R1001")

        async with database.transaction() as session:
            mine = await queries.list_for_technician(session, person_id=world.technician, now=NOON)
            theirs = await queries.list_for_technician(session, person_id=second, now=NOON)

        assert [line.number for line in mine] == ["R1001", "R1002"]
        assert [line.number for line in theirs] == ["R1002"]
        with pytest.raises(RepairNotFound):
            await view(database, second, "R1001")

    async def test_shows_a_contact_only_by_first_name_and_masked_phone(self, database, world):
        repair_id = await filed_for_anna(database, world)

        shown = await view(database, world.technician, repair_id)

        assert (shown.contact_name, shown.contact_phone) == ("Anna", "+86•••••••5678")
        assert "Petrova" not in repr(shown)
        assert "10001" not in repr(shown).replace(shown.meter_serial, "")

    async def test_shows_the_whole_phone_to_whoever_has_to_call(self, database, world):
        repair_id = await filed_for_anna(database, world)
        whole, masked = "+8613800005678", "+86•••••••5678"

        async def phone_for(person_id):
            return (await view(database, person_id, repair_id)).contact_phone

        assert await phone_for(world.manager) == whole
        assert await phone_for(world.technician) == masked
        await act(database, Act.CLAIM, world.technician, repair_id)
        assert await phone_for(world.technician) == whole
        assert await phone_for(world.home.holder) == masked
        await act(database, Act.HAND_BACK, world.technician, repair_id)
        assert await phone_for(world.technician) == masked
        assert await phone_for(world.manager) == whole

    async def test_lists_the_late_first_and_then_the_oldest_promise(self, database, world):
        await filed(database, world, Service.WATER)
        await filed(database, world, Service.ELECTRICITY)
        await act(database, Act.CLAIM, world.technician, "R1001")
        async with database.transaction() as session:
            early, total = await queries.list_open(session, now=NOON, limit=1)
            later, _ = await queries.list_open(session, now=NOON + HOUR)
            second_page, _ = await queries.list_open(session, now=NOON, limit=1, offset=1)

        assert total == 2
        assert [line.number for line in early + second_page] == ["R1002", "R1001"]
        assert [(line.number, line.is_late) for line in later] == [
            ("R1002", True),
            ("R1001", False),
        ]

    async def test_who_moves_in_later_does_not_read_what_was_before(self, database, world):
        repair_id = await filed(database, world)
        await act(database, Act.CANCEL, world.manager, repair_id)
        async with database.transaction() as session:
            await session.execute(
                update(Agreement)
                .where(Agreement.id == world.home.agreements[Service.WATER])
                .values(ends_date=date(2026, 11, 20))
            )
            account = Account(
                number="20001", premise_id=world.home.premise, holder_name="New Tenant"
            )
            session.add(account)
            await session.flush()
            session.add_all(
                [
                    Agreement(
                        account_id=account.id,
                        service_point_id=world.home.points[Service.WATER],
                        tariff_code="hefei-water",
                        starts_date=date(2026, 11, 20),
                    ),
                    AccountRight(
                        account_id=account.id,
                        person_id=world.neighbour.holder,
                        right=Right.HOLDER,
                        since=NOON,
                    ),
                ]
            )

        assert (await view(database, world.home.holder, repair_id)).number == "R1001"
        with pytest.raises(RepairNotFound):
            await view(database, world.neighbour.holder, repair_id)
        async with database.transaction() as session:
            later = NOON + timedelta(days=20)
            assert (
                await queries.list_for_customer(
                    session, person_id=world.neighbour.holder, now=later
                )
                == []
            )

    async def test_history_tells_when_who_what_and_why(self, database, world):
        repair_id = await filed(database, world)
        await act(database, Act.CLAIM, world.technician, repair_id, now=NOON + MINUTE)
        await act(
            database,
            Act.WAIT,
            world.technician,
            repair_id,
            reason=Reason.ACCESS,
            promised_at=NOON + 25 * HOUR,
            words="Nobody at home",
            now=NOON + 2 * MINUTE,
        )

        history = (await view(database, world.home.holder, repair_id)).history

        assert [(row.at - NOON, row.who, row.kind) for row in history] == [
            (timedelta(0), None, "filed"),
            (MINUTE, "Wang Qiang", "claim"),
            (2 * MINUTE, "Wang Qiang", "wait"),
        ]
        assert history[-1].details == {"reason": "access", "text": "Nobody at home"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Anna Petrova", "Anna"), ("李小华", "李**"), ("Li", "Li"), ("", ""), ("Анна П.", "Анна")],
)
def test_a_short_name_tells_no_family_name(name, shown):
    assert short_name(name) == shown


@pytest.mark.parametrize(
    ("phone", "shown"), [("13800005678", "138••••5678"), ("5551234", "•••••••"), ("", "")]
)
def test_a_masked_phone_hides_its_middle(phone, shown):
    assert mask_phone(phone) == shown
