"""What comes after a bill is out never changes it; the use is all billed, each part once."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import update

from core.accounts.models import ApiKey, Service
from core.billing import bills
from core.billing.bill_rows import lines_of
from core.monitoring.ingest import NewReading, store_batch
from core.monitoring.models import Meter
from core.periods import start_of_day
from tests.billing.books import NOVEMBER, OCTOBER, ZONE, ask, load_shipped, run_bills, show

DECEMBER = datetime(2026, 12, 2, 4, 0, tzinfo=UTC)
KEPT = (
    "SELECT b.number, b.consumption, b.total_minor, b.state, l.position, l.quantity, l.amount"
    " FROM shuidian.bills b JOIN shuidian.bill_lines l ON l.bill_id = b.id"
    " ORDER BY b.id, l.position"
)


@pytest.fixture
async def billed(database, world) -> int:
    """The neighbour's meter behind a gateway; its October is billed."""
    await load_shipped(database)
    meter = world.neighbour.meters[Service.ELECTRICITY]
    await show(database, meter, {date(2026, 10, 1): "110", date(2026, 11, 1): "125"})
    await run_bills(database, Service.ELECTRICITY, OCTOBER)
    async with database.transaction() as session:
        key = ApiKey(name="g", token_hash="g", scope="gateway", created_at=DECEMBER)  # noqa: S106 (no secret)
        session.add(key)
        await session.flush()
        await session.execute(update(Meter).where(Meter.id == meter).values(gateway_id=key.id))
        return key.id


async def send(database, gateway, values):
    async with database.transaction() as session:
        items = [
            NewReading(i, "E-10002", "total", start_of_day(day, zone=ZONE), Decimal(value))
            for i, (day, value) in enumerate(values.items())
        ]
        await store_batch(session, gateway_id=gateway, readings=items, samples=[], now=DECEMBER)


class TestAReadingAfterItsBill:
    @pytest.mark.parametrize(
        "late",
        [
            {},
            {date(2026, 10, 15): 118},
            {date(2026, 10, 31): 130},  # turns the reading with which the bill closed
            {date(2026, 11, 1): 126},  # contradicts it
            {date(2026, 10, 31): 124, date(2026, 11, 2): 126},
        ],
    )
    async def test_changes_no_bill_and_no_use_is_lost_or_billed_twice(self, database, billed, late):
        before = await ask(database, KEPT)

        await send(database, billed, late)
        await send(database, billed, {date(2026, 12, 1): 140})
        await run_bills(database, Service.ELECTRICITY, NOVEMBER, now=DECEMBER)

        after = await ask(database, KEPT)
        assert after[: len(before)] == before
        consumptions = dict([row[:2] for row in after])
        assert list(consumptions.values()) == [15, 15]
        async with database.transaction() as session:
            for number in consumptions:
                computed = await bills.recompute(session, number=number)
                assert [line["quantity"] for line in lines_of(computed)] == [
                    row[5] for row in after if row[0] == number
                ]


class TestAMultiplierThatIsChanged:
    async def test_prices_nothing_of_the_past_anew(self, database, billed):
        before = await ask(database, KEPT)
        async with database.transaction() as session:
            await session.execute(update(Meter).values(multiplier=Decimal(40)))

        await send(database, billed, {date(2026, 12, 1): 140})
        await run_bills(database, Service.ELECTRICITY, NOVEMBER, now=DECEMBER)

        after = await ask(database, KEPT)
        assert after[: len(before)] == before
        async with database.transaction() as session:
            computed = await bills.recompute(session, number=before[0][0])
        assert computed.total_minor == before[0][2]
