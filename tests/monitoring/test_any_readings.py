"""Laws of readings, whatever comes: any values, moments, senders, orders, repetitions, batches."""

import asyncio
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from core.accounts.models import ApiKey, Service
from core.db import Database
from core.errors import DomainError
from core.monitoring.gateway_models import GatewayDay, Quarantined
from core.monitoring.ingest import AHEAD_MAX, NewReading, store_batch
from core.monitoring.leak_rules import HOUR
from core.monitoring.leaks import look_for_leaks
from core.monitoring.models import Leak, Meter, Reading, Source
from core.monitoring.ranges import find_meters
from core.monitoring.registers import advance
from core.monitoring.service import record_reading
from core.monitoring.usage import usage_by_day
from tests.world import NOON, World

OWN, FOREIGN, REMOVED = "W-10001", "W-10002", "W-GONE"
DIGITS, CEILING = 5, Decimal(10)
INSTALLED = NOON - timedelta(hours=40)
REMOVED_AT = NOON - timedelta(hours=20)
TABLES = ("leaks", "leak_looks", "readings", "quarantine", "gateway_days")
SLOWLY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def at(hours: int) -> object:
    return NOON - timedelta(hours=40 - hours)


class Place(NamedTuple):
    """What an example works on; the gateway is that of the world's first home."""

    database: Database
    world: World
    gateway: int


@pytest.fixture
def runner(database, world):
    """Run a coroutine function for each example, on tables without rows and a meter of its own."""
    loop = asyncio.get_event_loop_policy().get_event_loop()

    async def prepare():
        async with database.transaction() as session:
            keys = [ApiKey(name=n, token_hash=n, scope="gateway", created_at=NOON) for n in "ab"]
            session.add_all(keys)
            await session.flush()
            for key, home in zip(keys, (world.home, world.neighbour), strict=True):
                await session.execute(
                    update(Meter)
                    .where(Meter.id == home.meters[Service.WATER])
                    .values(gateway_id=key.id, installed_at=INSTALLED)
                )
            gone = Meter(
                serial=REMOVED,
                service_point_id=world.home.points[Service.WATER],
                digits=DIGITS,
                installed_at=INSTALLED,
                removed_at=REMOVED_AT,
                gateway_id=keys[0].id,
            )
            session.add(gone)
            return keys[0].id

    gateway = loop.run_until_complete(prepare())

    async def run(work, *given_):
        async with database.transaction() as session:
            for table in TABLES:
                await session.execute(text(f"DELETE FROM shuidian.{table}"))  # noqa: S608 (ours)
        return await work(Place(database, world, gateway), *given_)

    return lambda work, *given_: loop.run_until_complete(run(work, *given_))


async def send(database, gateway, items):
    async with database.transaction() as session:
        return await store_batch(session, gateway_id=gateway, readings=items, samples=[], now=NOON)


async def stored(database):
    """The status and value of each stored key."""
    async with database.transaction() as session:
        rows = await session.execute(
            select(Meter.serial, Reading.taken_at, Reading.status, Reading.value).join(
                Meter, Meter.id == Reading.meter_id
            )
        )
        return {(row.serial, row.taken_at): (row.status.value, row.value) for row in rows}


def what_stands(items):
    """The accepted readings of the own meter, found slowly from all that was sent."""
    sent = {}
    for item in items:
        is_ours = item.serial == OWN and INSTALLED <= item.taken_at <= NOON + AHEAD_MAX
        if is_ours and 0 <= item.value < 10**DIGITS:
            sent.setdefault(item.taken_at, set()).add(item.value)
    accepted = {}
    for moment in sorted(sent):
        if len(sent[moment]) > 1:
            continue  # two values were sent: nothing is billed from either
        (value,) = sent[moment]
        if accepted:
            before_at = max(accepted)
            before = accepted[before_at]
            went = value - before
            if went < 0 and before >= 90_000 and value <= 10_000:
                went += 100_000
            hours = max(Decimal(1), Decimal((moment - before_at).total_seconds()) / 3600)
            if not 0 <= went <= CEILING * hours:
                continue
        accepted[moment] = value
    return accepted


items = st.builds(
    lambda serial, hour, value: NewReading(0, serial, "total", at(hour), Decimal(value)),
    st.sampled_from([OWN, OWN, OWN, OWN, FOREIGN, REMOVED, "none"]),
    st.sampled_from([0, 0, 1, 1, 2, 3, 19, 21, 41, -2]),
    st.sampled_from([0, 3, 5, 8, 12, 33, 99_990, 99_998, 100_000, -1, 450]),
)


class TestReadingsOfAGateway:
    @SLOWLY
    @given(
        sent=st.lists(items, min_size=5, max_size=16),
        more=st.lists(st.integers(0, 13), max_size=6),
        cuts=st.lists(st.integers(1, 5), max_size=8),
        random=st.randoms(use_true_random=False),
    )
    def test_stand_the_same_in_any_order_batches_and_number(self, runner, sent, more, cuts, random):
        again = [*sent, *(sent[i] for i in more if i < len(sent))]
        random.shuffle(again)
        again = [item._replace(position=i) for i, item in enumerate(again)]
        runner(self.course, sent, again, cuts)

    async def course(self, place, sent, again, cuts):
        database, gateway = place.database, place.gateway
        total = Counter()
        rest = list(again)
        for size in [*cuts, len(again)]:
            batch, rest = rest[:size], rest[size:]
            receipt = await send(database, gateway, batch)
            assert receipt.received == len(batch)
            total.update(receipt.counts)

        found = await stored(database)
        assert {serial for serial, _ in found} <= {OWN, REMOVED}
        assert all(
            INSTALLED <= moment <= (NOON + AHEAD_MAX if serial == OWN else REMOVED_AT)
            for serial, moment in found
        )
        accepted = {
            moment: value
            for (serial, moment), (status, value) in found.items()
            if (serial, status) == (OWN, "accepted")
        }
        assert accepted == what_stands(sent)
        series = [accepted[moment] for moment in sorted(accepted)]
        assert all(advance(a, b, digits=DIGITS) is not None for a, b in pairwise(series))
        async with database.transaction() as session:
            (meter,) = await find_meters(session, Meter.serial == OWN)
            uses = await usage_by_day(
                session, meter=meter, last_day=NOON.date(), days=3, zone=NOON.tzinfo
            )
            days = list(await session.scalars(select(GatewayDay)))
            kept = list(await session.scalars(select(Quarantined.id)))
        assert all(use.value is None or use.value >= 0 for use in uses)
        assert len(kept) == total["rejected"]
        names = ("received", "accepted", "duplicate", "held", "rejected")
        assert [{name: getattr(day, name) for name in names} for day in days] == [
            {name: total[name] for name in names}
        ]


def check_neighbours(before, moment, value, *, is_accepted):
    """An accepted number lies between those that were accepted around it."""
    known = {taken: v for (_, taken), (status, v) in before.items() if status == "accepted"}
    if is_accepted[OWN, moment][0] != "accepted" or moment in known:
        return
    earlier = [known[taken] for taken in sorted(known) if taken < moment]
    later = [known[taken] for taken in sorted(known) if taken > moment]
    assert all(advance(v, value, digits=DIGITS) is not None for v in earlier[-1:])
    assert all(advance(value, v, digits=DIGITS) is not None for v in later[:1])


class TestTypedReadings:
    @SLOWLY
    @given(
        known=st.lists(items.filter(lambda item: item.serial == OWN), max_size=8),
        typed=st.lists(
            st.tuples(st.integers(-2, 44), st.sampled_from([0, 4, 6, 21, 40, 99_995, 600])),
            max_size=4,
        ),
    )
    def test_never_alter_a_value_nor_turn_the_register_back(self, runner, known, typed):
        runner(self.course, known, typed)

    async def course(self, place, known, typed):
        database, world, gateway = place.database, place.world, place.gateway
        await send(database, gateway, known)
        for hour, value in typed:
            before = await stored(database)
            try:
                async with database.transaction() as session:
                    await record_reading(
                        session,
                        person_id=world.home.holder,
                        meter_id=world.home.meters[Service.WATER],
                        value=Decimal(value),
                        taken_at=at(hour),
                        source=Source.CUSTOMER,
                        now=NOON,
                        confirmed=True,
                    )
            except DomainError:
                assert await stored(database) == before
                continue
            after = await stored(database)
            assert {key: value for key, (_, value) in before.items()}.items() <= {
                key: value for key, (_, value) in after.items()
            }.items()
            check_neighbours(before, at(hour), Decimal(value), is_accepted=after)
            series = [value for (_, _), (s, value) in sorted(after.items()) if s == "accepted"]
            assert all(advance(a, b, digits=DIGITS) is not None for a, b in pairwise(series))
            assert INSTALLED <= at(hour) <= NOON + AHEAD_MAX


class TestLeaks:
    @SLOWLY
    @given(
        litres=st.lists(st.integers(4, 900), min_size=26, max_size=36),
        ages=st.sets(st.integers(0, 25), min_size=1, max_size=4),
        how=st.sampled_from(["held", "disputed", "estimate"]),
    )
    def test_are_the_same_as_if_doubtful_readings_had_not_come(self, runner, litres, ages, how):
        doubted = dict.fromkeys(ages, how)
        missing = dict.fromkeys(doubted, "missing")
        assert runner(self.course, litres, doubted) == runner(self.course, litres, missing)

    async def course(self, place, litres, doubted):
        database, meter = place.database, place.world.home.meters[Service.WATER]
        value = Decimal(100)
        async with database.transaction() as session:
            for age, used in enumerate(litres):
                value -= used * Decimal("0.001")
                how = doubted.get(age, "accepted")
                if how == "missing":
                    continue
                session.add(
                    Reading(
                        meter_id=meter,
                        register="total",
                        taken_at=NOON - age * HOUR,
                        value=value,
                        source="estimate" if how == "estimate" else "gateway",
                        status="accepted" if how == "estimate" else how,
                        received_at=NOON,
                    )
                )
        async with database.transaction() as session:
            await look_for_leaks(session, now=NOON)
        async with database.transaction() as session:
            rows = await session.execute(select(Leak.kind, Leak.rate, Leak.began_at))
            return [tuple(row) for row in rows]
