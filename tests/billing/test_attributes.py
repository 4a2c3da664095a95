"""From an imported file to the bill: what a tariff asks about a customer, and market prices."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from bot.imports import import_file
from core.accounts.models import Service
from core.billing import bills
from core.billing.bill_rows import lines_of
from core.billing.intervals import MarketPricesMissing
from core.billing.tariff_store import load_tariffs
from core.db import Database
from core.monitoring.models import Reading, ReadingStatus, Source
from core.periods import start_of_day
from tests.billing.books import NOW, SEPTEMBER, ZONE, ask, keep, load_shipped, run_bills, show
from tests.billing.test_tariff_files import WORDS
from tests.imports.first_data import table
from tests.world import World

WORKS = f"""
format = 1
code = "works-electricity"
service = "electricity"
place = {WORDS}
labels = {{ energy = {WORDS}, demand = {WORDS}, power_factor = {WORDS}, vat = {WORDS} }}

[[versions]]
valid_from = 2023-01-01
source = "Two-part price of large industry"
mark = "checked"
currency = "CNY"
unit = "kWh"
quantity_digits = 0
window = "bill"
rounding = {{ mode = "half_up", digits = 2 }}

[versions.attributes]
contract_kw = "required"
demand_kw = "required"
power_factor = "0.90"
meter_class = "b"
customer_class = "home"

[versions.values]
price = {{ by = "customer_class", table = {{ home = "0.60", works = "0.70" }} }}
below = "max(0, floor((0.90 - power_factor) * 100))"
charged_kw = "contract_kw + 2 * max(0, demand_kw - 1.05 * contract_kw)"

[versions.components.energy]
prices = ["price"]

[versions.fixed.demand]
amount = "charged_kw * 40.8 * (0.9 if use / contract_kw >= 260 else 1)"
per = "month"

[versions.taxes.power_factor]
rate = "0.005 * min(below, 20) + 0.01 * max(0, min(below, 25) - 20) + 0.02 * max(0, below - 25)"

[versions.taxes.vat]
rate = "0.13"
on = ["energy", "demand", "power_factor"]

[[versions.examples]]
source = "computed"
starts = 2026-09-01
ends = 2026-10-01
use = {{ total = "1000" }}
attributes = {{ contract_kw = "500", demand_kw = "560", power_factor = "0.88" }}
total = "27226.85"
"""
HEADER = ["account", "service", "holder", "address", "tariff", "starts", "attributes"]


@pytest.fixture
async def home(database: Database, world: World) -> World:
    async with database.transaction() as session:
        await load_tariffs(session, contents={"works-electricity.toml": WORKS.encode()})
    await load_shipped(database)
    return world


async def tell(database: Database, tariff: str, attributes: str):
    """Import what there is to tell about the electricity of the first home."""
    (row,) = await ask(
        database,
        "SELECT number, holder_name, address, starts_date FROM shuidian.agreements a"
        " JOIN shuidian.accounts c ON c.id = account_id JOIN shuidian.premises h"
        " ON h.id = premise_id JOIN shuidian.service_points p ON p.id = service_point_id"
        " WHERE service = 'electricity' ORDER BY a.id LIMIT 1",
    )
    number, holder, address, starts = row
    cells = [number, "electricity", holder, address, tariff, str(starts), attributes]
    content = table([HEADER, cells])
    return await import_file(database, kind="accounts", content=content, is_dry_run=False, now=NOW)


async def bill_of(database: Database, number: str = "E1001"):
    """Return a bill's total and lines, after computing it again."""
    async with database.transaction() as session:
        computed = await bills.recompute(session, number=number)
    lines = await ask(
        database,
        "SELECT component, quantity, price, amount FROM shuidian.bill_lines l"
        " JOIN shuidian.bills b ON b.id = bill_id WHERE number = :number ORDER BY position",
        number=number,
    )
    again = [
        (line["component"], line["quantity"], line["price"], line["amount"])
        for line in lines_of(computed)
    ]
    assert [tuple(map(str, line)) for line in again] == [tuple(map(str, line)) for line in lines]
    ((total,),) = await ask(
        database, "SELECT total_minor FROM shuidian.bills WHERE number = :number", number=number
    )
    assert computed.total_minor == total
    return total, lines


class TestAttributes:
    async def use(self, database: Database, home: World, used: str = "1000") -> None:
        meter = home.home.meters[Service.ELECTRICITY]
        await show(database, meter, {date(2026, 9, 1): "0", date(2026, 10, 1): used})

    async def test_decide_the_bill_and_are_kept_with_it(self, database, home):
        await tell(
            database, "works-electricity", "contract_kw=500; demand_kw=560; power_factor=0.88"
        )
        await self.use(database, home)

        await run_bills(database, Service.ELECTRICITY, SEPTEMBER)

        total, lines = await bill_of(database)
        charged = {component: amount for component, _, _, amount in lines}
        assert charged["demand"] == Decimal(23256)  # T54
        assert charged["power_factor"] == (Decimal(600) + 23256) * Decimal("0.01")
        assert total == 2722685

        await tell(database, "works-electricity", "demand_kw=300")
        assert (await bill_of(database))[0] == 2722685
        ((attributes,),) = await ask(
            database,
            "SELECT attributes FROM shuidian.service_points WHERE attributes <> '{}'",
        )
        assert attributes == {"contract_kw": "500", "demand_kw": "300", "power_factor": "0.88"}

    async def test_that_are_missing_keep_a_bill_back_with_the_reason(self, database, home):
        await tell(database, "works-electricity", "contract_kw=500")
        await self.use(database, home)

        await run_bills(database, Service.ELECTRICITY, SEPTEMBER)

        assert ("billing.attribute_missing",) in await ask(
            database, "SELECT reason FROM shuidian.billing_skips"
        )

    @pytest.mark.parametrize("written", ["contract", "=5", "a=1; a=2", "a=", "A b=1", "a=1=2"])
    @pytest.mark.usefixtures("home")
    async def test_are_refused_if_they_are_not_written_so(self, database, written):
        done = await tell(database, "works-electricity", written)

        assert [fault.code for fault in done.outcome.faults] == ["import.not_attributes"]


class TestMarketPrices:
    def prices(self, hours: int = 30 * 24) -> bytes:
        """Return a month of half hours at 10, but at -4.81 in the first, with Chinese columns."""
        first = start_of_day(date(2026, 9, 1), zone=ZONE)
        rows: list[list[object]] = [["价格序列", "起始时间", "价格"]]
        for n in range(2 * hours):
            at = first + timedelta(minutes=30 * n)
            rows.append(["agile", at.isoformat(), "-4.81" if n == 0 else "10"])
        return table(rows)

    async def bring(self, database: Database, content: bytes):
        done = await import_file(
            database, kind="prices", content=content, is_dry_run=False, now=NOW
        )
        return done.outcome.new, done.outcome.changed, done.outcome.unchanged

    async def show_first_day(self, database: Database, home: World) -> int:
        """Show 2 kWh in the first half hour, 1 in the next day and 0 after it."""
        meter = home.home.meters[Service.ELECTRICITY]
        first = start_of_day(date(2026, 9, 1), zone=ZONE)
        shown = {0: "100", 30: "102", 24 * 60: "103", 30 * 24 * 60: "103"}
        async with database.transaction() as session:
            readings = [
                Reading(
                    meter_id=meter,
                    register="total",
                    taken_at=first + timedelta(minutes=minutes),
                    value=Decimal(value),
                    source=Source.GATEWAY,
                    status=ReadingStatus.ACCEPTED,
                    received_at=datetime(2026, 10, 1, tzinfo=UTC),
                )
                for minutes, value in shown.items()
            ]
            await keep(session, readings)
        return meter

    @pytest.mark.usefixtures("home")
    async def test_are_stored_once_and_may_be_corrected(self, database):
        assert await self.bring(database, self.prices(2)) == (4, 0, 0)
        assert await self.bring(database, self.prices(2)) == (0, 0, 4)
        dearer = self.prices(2).replace(b"-4.81", b"-4.80")
        assert await self.bring(database, dearer) == (0, 1, 3)

    async def test_price_each_half_hour_of_the_use(self, database, home):
        await tell(database, "octopus-agile", "factor=2.20")
        await self.bring(database, self.prices())
        await self.show_first_day(database, home)

        await run_bills(database, Service.ELECTRICITY, SEPTEMBER)

        total, lines = await bill_of(database)
        # 2 kWh at 2.2 * -4.81 = -10.582 p; 1 kWh evenly over 47 half hours at 22 p, six of them
        # (16 to 19 h) at 34 p, to whole watt-hours.
        ((_, quantity, _, amount),) = lines
        assert quantity == 3
        assert abs(amount - Decimal("0.0237")) < Decimal("0.0002")
        assert total == 2

    async def test_that_do_not_cover_the_period_keep_the_bill_back(self, database, home):
        await tell(database, "octopus-agile", "factor=2.20")
        await self.bring(database, self.prices(29 * 24))
        await self.show_first_day(database, home)

        await run_bills(database, Service.ELECTRICITY, SEPTEMBER)

        assert (MarketPricesMissing.code,) in await ask(
            database, "SELECT reason FROM shuidian.billing_skips"
        )
