"""How urgent a repair is: laws of the rule, and what is told when it changes."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from core.accounts.models import Service
from core.monitoring.models import Quantity, Sample
from core.monitoring.partitions import ensure_months, months_of
from core.repairs.queries import list_open
from core.repairs.severity import LONG, MANY_HOMES, Severity, weigh
from core.repairs.urgency import weigh_repairs
from core.repairs.workflow import Act
from tests.core.test_repairs import (
    HOUR,
    MINUTE,
    act,
    end_alarm,
    kinds,
    messages,
    news,
    raise_alarm,
    take_up,
    to_managers,
)
from tests.world import NOON

LIMIT = Decimal("198.0")
volts = st.integers(0, 1980).map(lambda tenths: Decimal(tenths) / 10)
lasting = st.integers(0, 600).map(lambda minutes: minutes * MINUTE)
homes = st.integers(1, 30)
levels = st.sampled_from(Severity)


def weighed(value, lasted=MINUTE, count=1, was=Severity.ORDINARY):
    return weigh(
        quantity=Quantity.VOLTAGE,
        limit=LIMIT,
        beyond=LIMIT - Decimal(value),
        lasted=lasted,
        homes=count,
        was=was,
    )


class TestWeigh:
    @given(st.tuples(volts, lasting, homes), st.tuples(volts, lasting, homes), levels)
    def test_never_falls_when_something_gets_worse(self, now, more, was):
        value, lasted, count = now
        worse = weighed(max(value - more[0], Decimal(0)), lasted + more[1], count + more[2], was)
        assert weighed(value, lasted, count, was) <= worse

    @given(volts, lasting, homes, levels)
    def test_comes_to_rest_at_once_while_nothing_changes(self, value, lasted, count, was):
        now = weighed(value, lasted, count, was)
        assert weighed(value, lasted, count, now) == now

    def test_counts_the_second_limit_long_times_and_many_homes(self):
        assert weighed("197.9") is Severity.ORDINARY
        assert weighed("183.2") is Severity.ORDINARY
        assert weighed("183.1") is Severity.SERIOUS
        assert weighed("184.0", was=Severity.SERIOUS) is Severity.SERIOUS
        assert weighed("184.7", was=Severity.SERIOUS) is Severity.ORDINARY
        assert weighed("197.9", lasted=LONG) is Severity.SERIOUS
        assert weighed("183.1", lasted=LONG) is Severity.CRITICAL
        assert weighed("183.1", lasted=LONG, count=MANY_HOMES) is Severity.CRITICAL

    def test_takes_no_return_for_a_trouble(self):
        assert weighed("235") is Severity.ORDINARY
        assert weighed("400", was=Severity.SERIOUS) is Severity.ORDINARY

    def test_counts_what_a_silence_lasts_once(self):
        least, hour = Decimal(6), timedelta(hours=1)
        for hours, level in ((7, Severity.ORDINARY), (24, Severity.SERIOUS)):
            now_is = weigh(
                quantity=Quantity.SILENCE,
                limit=least,
                beyond=hours - least,
                lasted=hours * hour,
                homes=1,
                was=Severity.ORDINARY,
            )
            assert now_is is level


async def measure(database, world, value, *, at):
    async with database.transaction() as session:
        await ensure_months(session, months_of([at]))
        await session.execute(
            insert(Sample).values(
                meter_id=world.home.meters[Service.ELECTRICITY],
                quantity=Quantity.VOLTAGE,
                taken_at=at,
                value=Decimal(value),
            )
        )


async def weigh_at(database, at):
    async with database.transaction() as session:
        return await weigh_repairs(session, now=at)


async def severity(database, at=NOON):
    async with database.transaction() as session:
        lines, _ = await list_open(session, now=at)
    return [(line.number, Severity(line.severity)) for line in lines]


class TestWeighRepairs:
    async def test_tells_what_gets_worse_once_and_notes_what_eases(self, database, world):
        await raise_alarm(database, world, Service.ELECTRICITY)
        await take_up(database)
        await measure(database, world, "190", at=NOON)
        assert await weigh_at(database, NOON) == 0
        _, latest = await messages(database)

        at = NOON
        for value in ("180", "190", "180", "190"):
            at += 10 * MINUTE
            await measure(database, world, value, at=at)
            assert await weigh_at(database, at) == 1
            assert await weigh_at(database, at) == 0

        assert (await kinds(database, 1))[1:] == ["worse", "eased"] * 2
        told = Counter({("worse", world.home.holder): 1}) + Counter(to_managers(world, "worse"))
        assert await news(database, after=latest) == told
        assert await severity(database, at) == [("R1001", Severity.ORDINARY)]

    async def test_tells_the_next_level_too_and_sets_urgent_repairs_first(self, database, world):
        await raise_alarm(database, world, Service.WATER)
        await raise_alarm(database, world, Service.ELECTRICITY)
        await take_up(database)
        await act(database, Act.CLAIM, world.technician, "R1002")
        _, latest = await messages(database)
        for hours in (1, 5):
            await measure(database, world, "170", at=NOON + hours * HOUR)
            await weigh_at(database, NOON + hours * HOUR)

        assert (await news(database, after=latest))["worse", world.technician] == 2
        async with database.transaction() as session:
            lines, _ = await list_open(session, now=NOON)
        assert [line.number for line in lines] == ["R1002", "R1001"]

    async def test_tells_once_what_was_urgent_from_the_start(self, database, world):
        await raise_alarm(database, world, Service.ELECTRICITY)
        await take_up(database)
        await measure(database, world, "170", at=NOON)
        _, latest = await messages(database)
        assert await weigh_at(database, NOON + MINUTE) == 1

        assert await news(database, after=latest) == Counter()
        assert await severity(database) == [("R1001", Severity.SERIOUS)]

    async def test_takes_a_value_back_inside_for_no_trouble(self, database, world):
        await raise_alarm(database, world, Service.ELECTRICITY)
        await take_up(database)
        await measure(database, world, "235", at=NOON)
        assert await weigh_at(database, NOON + 20 * MINUTE) == 0

    async def test_leaves_what_is_unknown_as_it_was(self, database, world):
        await raise_alarm(database, world, Service.ELECTRICITY)
        await take_up(database)
        await measure(database, world, "170", at=NOON)
        await weigh_at(database, NOON)
        assert await weigh_at(database, NOON + 3 * HOUR) == 0
        assert await severity(database) == [("R1001", Severity.SERIOUS)]

    async def test_eases_when_the_meter_is_back_to_normal(self, database, world):
        alarm_id = await raise_alarm(database, world, Service.ELECTRICITY)
        await take_up(database)
        await measure(database, world, "170", at=NOON)
        await weigh_at(database, NOON)
        await end_alarm(database, alarm_id, at=NOON + HOUR)
        await take_up(database, now=NOON + HOUR)

        assert await weigh_at(database, NOON + HOUR) == 1
        assert await weigh_at(database, NOON + HOUR) == 0
        assert await severity(database) == [("R1001", Severity.ORDINARY)]
