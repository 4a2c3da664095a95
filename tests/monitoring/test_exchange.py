"""A meter that was replaced: both parts are billed, and what is wrong is refused."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, update

from core.accounts.models import ApiKey, Service
from core.billing.queries import get_bill
from core.db import Database
from core.monitoring.exchange import Exchange, exchange_meter, get_exchange
from core.monitoring.exchange_checks import (
    DigitsNotPossible,
    FinalNotPossible,
    MeterWasReplaced,
    ReadLater,
    RegistersDiffer,
    SerialNotReadable,
    SerialTaken,
    find_working_meter,
)
from core.monitoring.ingest import NewReading, Reason, store_batch
from core.monitoring.models import (
    Alarm,
    Limit,
    Meter,
    Quantity,
    Reading,
    ReadingStatus,
    Side,
    Source,
    Watch,
)
from core.monitoring.service import (
    MeterNotFound,
    MeterNotWorking,
    ReadingGoesBackwards,
    TooManyDigits,
    record_reading,
)
from tests.billing.books import OCTOBER, ask, keep, load_shipped, read, run_bills, show
from tests.world import World

AT = datetime(2026, 10, 12, 2, 0, tzinfo=UTC)
NOW = AT + timedelta(minutes=3)


def swap(world: World, **changes: object) -> Exchange:
    said = Exchange(
        meter_id=world.home.meters[Service.WATER],
        finals={"total": Decimal("9846.7")},
        serial="W-77001",
        digits=5,
        initials={"total": Decimal("2.5")},
    )
    return replace(said, **changes)  # type: ignore[arg-type]  # the fields' own values


async def do(
    database: Database,
    wanted: Exchange,
    *,
    person: int | None = None,
    at: datetime = AT,
    now: datetime = NOW,
) -> int:
    async with database.transaction() as session:
        done = await exchange_meter(
            session, wanted=wanted, at=at, person_id=person, source=Source.TECHNICIAN, now=now
        )
    return done.new.id


@pytest.fixture
async def running(database: Database, world: World) -> int:
    """A meter that was read at the end of August and in October; return its id."""
    meter = world.home.meters[Service.WATER]
    await show(
        database,
        meter,
        {date(2026, 9, 1): "9201", date(2026, 10, 11): "9846.2"},
    )
    return meter


@pytest.mark.usefixtures("running")
class TestExchangeMeter:
    async def test_bills_the_old_part_and_the_new_one(
        self, database: Database, world: World
    ) -> None:
        await load_shipped(database)
        new = await do(database, swap(world))
        await show(database, new, {date(2026, 11, 1): "7.5"})

        chunk = await run_bills(database, Service.WATER, OCTOBER)

        # 9846 - 9201 of the old meter (the vector T39), and 7 - 2 of the new one.
        assert (chunk.issued + chunk.held, dict(chunk.skipped)) == (1, {"billing.no_reading": 1})
        (number, used), *_ = await ask(database, "SELECT number, consumption FROM shuidian.bills")
        assert used == 645 + 5
        async with database.transaction() as session:
            bill = await get_bill(session, number=str(number), person_id=None)
        assert [(span.serial, span.opening.value, span.closing.value) for span in bill.spans] == [
            ("W-10001", 9201, Decimal("9846.7")),
            ("W-77001", Decimal("2.5"), Decimal("7.5")),
        ]

    async def test_decides_what_waits_at_its_very_moment(
        self, database: Database, world: World, running: int
    ) -> None:
        async with database.transaction() as session:
            session.add(
                Reading(
                    meter_id=running,
                    register="total",
                    taken_at=AT,
                    value=Decimal(99000),
                    source=Source.CUSTOMER,
                    status=ReadingStatus.HELD,
                    received_at=AT,
                )
            )
        await do(database, swap(world))
        async with database.transaction() as session:
            reading = await session.get_one(Reading, (running, "total", AT))
        assert (reading.value, reading.status, reading.source) == (
            Decimal("9846.7"),
            ReadingStatus.ACCEPTED,
            Source.TECHNICIAN,
        )

    async def test_takes_over_what_belongs_to_the_place(
        self, database: Database, world: World, running: int
    ) -> None:
        async with database.transaction() as session:
            key = ApiKey(name="cellar", token_hash="x", scope="gateway", created_at=AT)  # noqa: S106 (no secret)
            session.add(key)
            await session.flush()
            values = {"gateway_id": key.id, "multiplier": 20, "ceiling": 40, "device": "old-1"}
            await session.execute(update(Meter).where(Meter.id == running).values(**values))
            alarm = {"limit": 140, "worst": 90, "began_at": AT, "raised_at": AT}
            scope = {"meter_id": running, "quantity": Quantity.PRESSURE}
            session.add(Limit(**scope, low=150, high=None, deadband=3, hold_seconds=60))
            session.add(Alarm(**scope, side=Side.LOW, **alarm))
            session.add(Watch(**scope, side=Side.LOW, since=AT, last_at=AT))

        new = await do(database, swap(world))

        async with database.transaction() as session:
            made = await session.get_one(Meter, new)
            assert (made.gateway_id, made.multiplier, made.ceiling) == (key.id, 20, 40)
            assert (made.device, made.switchable, made.digits) == (None, True, 5)
            for table in (Limit, Alarm, Watch):
                owners = await session.scalars(
                    select(table.meter_id).where(table.meter_id.is_not(None))
                )
                assert owners.all() == [new], table

    async def test_tells_the_people_there_and_the_managers_once(
        self, database: Database, world: World
    ) -> None:
        new = await do(database, swap(world), person=world.technician)

        told = await ask(
            database,
            "SELECT c.person_id, d.params FROM shuidian.deliveries d JOIN shuidian.contacts c"
            " ON c.id = d.contact_id WHERE d.kind = 'meter.exchanged' ORDER BY 1",
        )
        assert told == [
            (person, {"meter_id": new})
            for person in sorted([world.home.holder, world.manager, world.second_manager])
        ]
        (kept,) = await ask(
            database, "SELECT actor_id, subject, details->>'serial' FROM shuidian.audit_entries"
        )
        assert kept == (world.technician, "meter:W-10001", "W-77001")
        async with database.transaction() as session:
            done = await get_exchange(session, meter_id=new)
        assert (done.old.serial, done.new.serial, done.at) == ("W-10001", "W-77001", AT)
        assert (done.finals, done.initials) == (
            {"total": Decimal("9846.7")},
            {"total": Decimal("2.5")},
        )

    async def test_refuses_readings_of_the_old_meter_afterwards(
        self, database: Database, world: World, running: int
    ) -> None:
        async with database.transaction() as session:
            key = ApiKey(name="cellar", token_hash="x", scope="gateway", created_at=AT)  # noqa: S106 (no secret)
            session.add(key)
            await session.flush()
            await session.execute(update(Meter).values(gateway_id=key.id))
        await do(database, swap(world))

        async with database.transaction() as session:
            late = NewReading(0, "W-10001", "total", NOW, Decimal(9847))
            receipt = await store_batch(
                session, gateway_id=key.id, readings=[late], samples=[], now=NOW
            )
            assert [refused.reason for refused in receipt.rejected] == [Reason.REMOVED]
            with pytest.raises(MeterNotWorking):
                await record_reading(
                    session,
                    person_id=None,
                    meter_id=running,
                    value=Decimal(9847),
                    taken_at=NOW,
                    source=Source.STAFF,
                    now=NOW,
                )

    @pytest.mark.parametrize(
        ("changes", "refusal"),
        [
            ({"meter_id": 10**9}, MeterNotFound),
            ({"finals": {"total": Decimal(9846)}}, ReadingGoesBackwards),
            ({"finals": {"total": Decimal(10190)}}, FinalNotPossible),
            ({"finals": {"total": Decimal(123456)}}, TooManyDigits),
            ({"finals": {"total": Decimal(-1)}}, TooManyDigits),
            ({"finals": {}}, RegistersDiffer),
            ({"initials": {"peak": Decimal(0)}}, RegistersDiffer),
            ({"initials": {"total": Decimal(100000)}}, TooManyDigits),
            ({"serial": "w-10002"}, SerialTaken),
            ({"serial": "W-10001"}, SerialTaken),
            ({"serial": "new meter"}, SerialNotReadable),
            ({"serial": ""}, SerialNotReadable),
            ({"digits": 0}, DigitsNotPossible),
            ({"digits": 13}, DigitsNotPossible),
        ],
    )
    async def test_refuses_what_cannot_be_and_changes_nothing(
        self,
        database: Database,
        world: World,
        changes: dict[str, object],
        refusal: type[Exception],
    ) -> None:
        with pytest.raises(refusal):
            await do(database, swap(world, **changes))

        assert await ask(database, "SELECT count(*) FROM shuidian.meters") == [(4,)]
        gone = "SELECT count(*) FROM shuidian.meters WHERE removed_at IS NOT NULL"
        assert await ask(database, gone) == [(0,)]

    async def test_lies_between_the_last_reading_and_now(
        self, database: Database, world: World
    ) -> None:
        with pytest.raises(ReadLater):
            await do(database, swap(world), at=AT - timedelta(days=2))
        with pytest.raises(MeterNotWorking):
            await do(database, swap(world), at=NOW + timedelta(seconds=1))

    async def test_happens_once(self, database: Database, world: World) -> None:
        await do(database, swap(world))
        with pytest.raises(MeterWasReplaced):
            await do(database, swap(world, serial="W-77002"))
        async with database.transaction() as session:
            with pytest.raises(MeterWasReplaced):
                await find_working_meter(session, serial="w-10001")

    async def test_may_end_below_an_estimate(
        self, database: Database, world: World, running: int
    ) -> None:
        async with database.transaction() as session:
            guess = read(running, date(2026, 10, 12), "9900", source=Source.ESTIMATE)
            await keep(session, [guess])

        await do(database, swap(world))

        async with database.transaction() as session:
            status = select(Reading.status).where(Reading.source == Source.TECHNICIAN)
            assert set(await session.scalars(status)) == {ReadingStatus.ACCEPTED}
