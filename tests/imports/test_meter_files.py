"""Files that meters write: the values of the decoders, stored like any other import."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from bot.gateway.green_button import read_green_button
from bot.meter_files import NoTelegram, NotGreenButton, import_green_button, import_telegrams
from tests.billing.books import ask
from tests.imports.first_data import ACCOUNTS, METERS, bring, changed, counts, faults, state

DATA = Path(__file__).parents[1] / "data"
TELEGRAM = (DATA / "dsmr-p1/be_fluvius_breaker_valve_water.txt").read_bytes()
SAMPLE = (DATA / "green-button/sample.xml").read_bytes()
WATER, POWER = "8SAG1234567890", "1SAG3101021605"
SHOWN = """SELECT m.serial, r.register, r.value, r.status FROM shuidian.readings r
    JOIN shuidian.meters m ON m.id = r.meter_id ORDER BY 1, 2"""


@pytest.fixture
async def fitted(empty):
    """The example homes; the first one's meters are those of the telegram."""
    await bring(empty, "accounts", ACCOUNTS)
    meters = METERS
    for row, serial in ((2, WATER), (3, POWER)):
        meters = changed(meters, row, serial=serial, installed="2010-01-01", initial="")
    assert (await bring(empty, "meters", meters)).is_kept
    async with empty.transaction() as session:
        await session.execute(text("DELETE FROM shuidian.readings"))
    return empty


async def telegrams(database, content, *, meter="", is_total=False, dry=False):
    return await import_telegrams(
        database,
        content=content,
        meter=meter,
        is_total=is_total,
        is_dry_run=dry,
        now=datetime(2020, 6, 1, tzinfo=UTC),
    )


class TestImportTelegrams:
    async def test_stores_every_register_once_however_often_it_comes(self, fitted):
        first = await telegrams(fitted, TELEGRAM + b"\r\n" + TELEGRAM)
        kept = await state(fitted)
        again = await telegrams(fitted, TELEGRAM)

        assert (counts(first)[0], counts(again)) == (3, (0, 0, 3))
        assert await state(fitted) == kept
        assert await ask(fitted, SHOWN) == [
            (POWER, "t1", Decimal("0.034"), "accepted"),
            (POWER, "t2", Decimal("15.758"), "accepted"),
            (WATER, "total", Decimal("872.234"), "accepted"),
        ]

    async def test_adds_the_tariffs_up_when_asked_to(self, fitted):
        await telegrams(fitted, TELEGRAM, meter=POWER, is_total=True)

        assert await ask(fitted, SHOWN) == [(POWER, "total", Decimal("15.792"), "accepted")]

    async def test_takes_telegrams_whose_line_ends_were_changed(self, fitted):
        assert counts(await telegrams(fitted, TELEGRAM.replace(b"\r\n", b"\n"))) == (3, 0, 0)

    async def test_stores_nothing_when_tried(self, fitted):
        tried = await telegrams(fitted, TELEGRAM, dry=True)

        assert (counts(tried), tried.is_kept) == ((3, 0, 0), False)
        assert await ask(fitted, SHOWN) == []

    async def test_tells_which_telegram_is_broken_and_stores_none(self, fitted):
        broken = TELEGRAM.replace(b"872.234", b"872.235")
        done = await telegrams(fitted, TELEGRAM + broken)

        assert faults(done) == [(2, "", "import.broken")]
        assert await ask(fitted, SHOWN) == []

    async def test_refuses_meters_that_are_not_known(self, empty):
        done = await telegrams(empty, TELEGRAM)

        assert set(faults(done)) == {(1, "serial", "import.unknown_meter")}

    @pytest.mark.parametrize("content", [b"", b"serial,value\n1,2", b"\0\xff/"])
    async def test_of_anything_else_is_refused(self, empty, content):
        with pytest.raises(NoTelegram):
            await telegrams(empty, content)


async def green_button(database, content, *, start="100", dry=False, meter=POWER):
    return await import_green_button(
        database,
        content=content,
        meter=meter,
        start=Decimal(start),
        is_dry_run=dry,
        now=datetime(2012, 6, 1, tzinfo=UTC),
    )


class TestImportGreenButton:
    async def test_stores_a_register_that_counts_the_use_up(self, fitted):
        wanted = read_green_button(SAMPLE, device=POWER, start=Decimal(100))
        first = await green_button(fitted, SAMPLE)
        again = await green_button(fitted, SAMPLE)

        assert counts(first) == (len(wanted), 0, 0)
        assert counts(again) == (0, 0, len(wanted))
        found = await ask(fitted, "SELECT taken_at, value FROM shuidian.readings ORDER BY taken_at")
        assert [tuple(row) for row in found] == [(each.taken_at, each.value) for each in wanted]

    async def test_of_another_service_is_refused(self, fitted):
        kept = await state(fitted)
        done = await green_button(fitted, SAMPLE, meter=WATER)

        assert {code for *_, code in faults(done)} == {"import.wrong_service"}
        assert await state(fitted) == kept

    async def test_that_begins_elsewhere_contradicts_what_is_stored(self, fitted):
        await green_button(fitted, SAMPLE)
        done = await green_button(fitted, SAMPLE, start="101")

        assert {code for *_, code in faults(done)} == {"import.conflict"}

    @pytest.mark.parametrize("content", [b"", b"<feed/>", SAMPLE[:-9], b"\0"])
    async def test_of_anything_else_is_refused(self, empty, content):
        with pytest.raises(NotGreenButton):
            await green_button(empty, content)


class TestADevice:
    async def test_is_what_the_gateway_calls_a_meter_and_keeps_its_zeros(self, fitted):
        done = await bring(fitted, "meters", self.table("cellar", "007"))
        assert [fault[1:] for fault in faults(done)] == [("gateway", "import.no_gateway")]

    async def test_cannot_be_two_meters_of_a_gateway(self, fitted):
        await ask(
            fitted,
            "INSERT INTO shuidian.api_keys (name, token_hash, scope, created_at)"
            " VALUES ('cellar', 'x', 'gateway', now()) RETURNING id",
        )
        done = await bring(fitted, "meters", self.table("cellar", "007"))
        assert (counts(done), done.is_kept) == ((0, 1, 0), True)
        assert await ask(fitted, "SELECT device FROM shuidian.meters WHERE device IS NOT NULL") == [
            ("007",)
        ]
        other = self.table("cellar", "007", row=5)
        assert faults(await bring(fitted, "meters", other)) == [
            (2, "device", "import.device_taken")
        ]
        both = [*self.table("cellar", "8"), *self.table("cellar", "8", row=5)[1:]]
        assert [code for *_, code in faults(await bring(fitted, "meters", both))] == [
            "import.contradicts"
        ]

    def table(self, gateway, device, *, row=4):
        header = [*METERS[0], "gateway", "device"]
        return [header, [*METERS[row - 1], gateway, device]]


class TestDigits:
    @pytest.mark.parametrize(("written", "stored"), [("24 bits", -24), ("32 bit", -32), ("5", 5)])
    async def test_are_those_of_a_dial_or_the_bits_of_a_counter(self, empty, written, stored):
        await bring(empty, "accounts", ACCOUNTS)
        done = await bring(empty, "meters", changed(METERS, 2, digits=written))
        assert done.is_kept
        found = await ask(empty, "SELECT digits FROM shuidian.meters WHERE serial = '0011714'")
        assert found == [(stored,)]

    @pytest.mark.parametrize("written", ["4 bits", "64 bits", "0", "-24", "13"])
    async def test_are_no_others(self, empty, written):
        await bring(empty, "accounts", ACCOUNTS)
        done = await bring(empty, "meters", changed(METERS, 2, digits=written))
        assert [field for _, field, _ in faults(done)] == ["digits"]
