"""Bank statements: what is certain is paid, the rest waits with its reason, and nothing twice."""

import contextlib
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.bank_files import ColumnsNotFound, MapNotReadable, read_map, read_statement
from bot.statements import import_statement
from bot.tables import FileNotReadable
from core.accounts.models import Service
from core.billing import provider_events, suspense
from core.billing.payments import Target
from core.billing.suspense import PartsDoNotFit
from core.db import Database
from core.money import Money
from tests.billing.books import NOW, OCTOBER, SEPTEMBER, ask, run_bills, show
from tests.billing.test_payments import open_bills, require_sound_books, states, target
from tests.world import World

__all__ = ["open_bills", "target"]  # fixtures

FILES = Path(__file__).parents[1] / "data" / "bank-statements"
ZONE = ZoneInfo("Asia/Shanghai")
CSV, OLD, NEW = "details-gb18030.csv", "camt.053.001.02.xml", "camt.053.001.08.xml"


def lines_of(content: bytes, **columns: str) -> list[tuple[str, int, str, str]]:
    found = read_statement(content, zone=ZONE, currency="CNY", columns=columns)
    assert found.faults == []
    return [(line.reference, line.amount_minor, line.payer, line.words) for line in found.lines]


async def take(database: Database, name: str, *, is_dry_run: bool = False) -> tuple[int, ...]:
    content = (FILES / name).read_bytes()
    done = await import_statement(
        database, content=content, columns={}, is_dry_run=is_dry_run, now=NOW
    )
    outcome = done.imported.outcome
    assert outcome.faults == []
    return outcome.new, outcome.held, outcome.unchanged, done.out


async def waiting(database: Database) -> dict[str, tuple[int, str]]:
    async with database.transaction() as session:
        items = (await suspense.list_exceptions(session, before=NOW)).items
        return {item.reference: (item.left_minor, item.reason) for item in items}


class TestReadStatement:
    def test_finds_the_table_below_the_banks_own_lines(self) -> None:
        lines = lines_of((FILES / CSV).read_bytes())

        assert lines[0] == ("N2611020001", 5653, "李华", "网银转账 电费 E1001")
        assert lines[1][1] == 105653
        assert len(lines) == 5

    def test_reads_both_versions_of_camt_alike(self) -> None:
        old, new = (lines_of((FILES / name).read_bytes()) for name in (OLD, NEW))

        assert old == new
        assert [line[:3] for line in new] == [
            ("N2611020001", 5653, "Li Hua"),
            ("N2611030009/1", 5653, "Li Hua"),
            ("N2611030009/2", 5653, "Old Friend"),
        ]

    def test_takes_a_batch_that_does_not_add_up_as_one(self) -> None:
        content = (FILES / NEW).read_bytes().replace(b">113.06<", b">113.07<")
        assert [line[1] for line in lines_of(content)] == [5653, 11307]

    def test_takes_the_names_that_an_operator_gives(self) -> None:
        content = b"Buchung;Betrag;Zweck\n2026-11-02;12.30;W1\n"
        with pytest.raises(ColumnsNotFound):
            lines_of(content)
        named = read_map("date=Buchung, amount=Betrag, words=Zweck")

        (line,) = lines_of(content, **named)

        assert line[1:] == (1230, "", "W1")
        with pytest.raises(MapNotReadable):
            read_map("price=Betrag")

    def test_makes_a_reference_that_stays_where_the_bank_gives_none(self) -> None:
        content = b"date,amount,payer,words\n2026-11-02,5,A,x\n2026-11-02,5,A,x\n2026-11-02,6,A,x\n"
        references = [line[0] for line in lines_of(content)]
        assert len(set(references)) == 3
        assert [line[0] for line in lines_of(content)] == references

    @pytest.mark.parametrize(
        "content",
        [
            b"<x/>",
            b"<a><b></a>",
            b'<!DOCTYPE d [<!ENTITY e "x">]><Document>&e;</Document>',
            (FILES / NEW).read_bytes().replace(b">56.53<", b">much<"),
        ],
    )
    def test_refuses_what_is_no_statement(self, content: bytes) -> None:
        with pytest.raises(FileNotReadable):
            lines_of(content)

    @pytest.mark.parametrize("amount", ["1,2", "1e3", "12.345", "NaN", "0x1", "--5"])
    def test_takes_no_amount_for_another(self, amount: str) -> None:
        content = f'date,amount,words\n2026-11-02,"{amount}",x\n'.encode()
        found = read_statement(content, zone=ZONE, currency="CNY", columns={})
        assert found.lines == []
        assert [fault.position for fault in found.faults] == [2]

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"", "statement.empty"),
            (b"\xef\xbb\xbf\r\n", "statement.empty"),
            (b"<html></html>", "statement.not_camt"),
            (b"<html", "statement.not_camt"),
        ],
    )
    def test_says_what_is_no_statement(self, content: bytes, code: str) -> None:
        with pytest.raises(FileNotReadable) as refused:
            read_statement(content, zone=ZONE, currency="CNY", columns={})
        assert refused.value.code == code

    @given(st.binary(max_size=200))
    def test_never_fails_otherwise(self, content: bytes) -> None:
        with contextlib.suppress(FileNotReadable, ColumnsNotFound):
            read_statement(content, zone=ZONE, currency="CNY", columns={})


@pytest.mark.usefixtures("open_bills")
class TestImportStatement:
    async def test_pays_what_is_certain_and_lets_the_rest_wait(self, database: Database) -> None:
        assert await take(database, CSV) == (1, 4, 0, 1)

        assert (await states(database))["E1001"] == ("settled", 5653)
        assert await waiting(database) == {
            "N2611020002": (105653, "no_number"),
            "N2611020003": (5654, "amount_differs"),
            "N2611030005": (22612, "amount_differs"),
            "N2611030006": (2000, "several_numbers"),
        }
        await require_sound_books(database)

    async def test_changes_nothing_the_second_time_nor_in_another_form(
        self, database: Database
    ) -> None:
        await take(database, CSV)
        before = await ask(database, "SELECT * FROM shuidian.ledger_entries ORDER BY id")

        assert await take(database, CSV) == (0, 0, 5, 1)
        assert await ask(database, "SELECT * FROM shuidian.ledger_entries ORDER BY id") == before

        assert await take(database, OLD) == (1, 1, 1, 1)
        assert await take(database, NEW) == (0, 0, 3, 1)
        assert (await states(database))["E1002"] == ("settled", 5653)
        await require_sound_books(database)

    async def test_keeps_nothing_of_a_dry_run(self, database: Database) -> None:
        assert await take(database, CSV, is_dry_run=True) == (1, 4, 0, 1)
        assert await ask(database, "SELECT id FROM shuidian.payments") == []
        assert await waiting(database) == {}

    async def test_pays_both_services_of_an_account_when_all_fits(
        self, database: Database, open_bills: World
    ) -> None:
        meter = open_bills.home.meters[Service.WATER]
        await show(database, meter, {SEPTEMBER.starts: "100", OCTOBER.ends: "120"})
        await run_bills(database, Service.WATER, OCTOBER)
        ((owed,),) = await ask(database, "SELECT sum(total_minor)::bigint FROM shuidian.bills")
        content = f"date,reference,amount,words\n2026-11-02,R1,{Money(owed, 'CNY').amount},10001\n"
        done = await import_statement(
            database, content=content.encode(), columns={}, is_dry_run=False, now=NOW
        )
        assert (done.imported.outcome.new, done.imported.outcome.held) == (1, 0)
        assert {state for state, _ in (await states(database)).values()} == {"settled"}
        references = "SELECT reference FROM shuidian.payments ORDER BY id"
        assert await ask(database, references) == [("R1/1",), ("R1/2",)]
        await require_sound_books(database)


class TestSuspense:
    async def test_is_placed_in_parts_by_a_named_person(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        await take(database, CSV)
        water = Target(agreement_id=open_bills.home.agreements[Service.WATER])
        parts: list[tuple[Target, int]] = [(target, 100000), (water, 5000)]
        item = await self.item(database, "N2611020002")
        await self.assign(database, open_bills, item, parts)

        assert (await waiting(database))["N2611020002"] == (653, "no_number")
        assert await ask(
            database,
            "SELECT actor_id, details -> 'payments' FROM shuidian.audit_entries"
            " WHERE action = 'suspense.assigned'",
        ) == [(open_bills.manager, ["P1002", "P1003"])]
        await require_sound_books(database)

        with pytest.raises(PartsDoNotFit):
            await self.assign(database, open_bills, item, [(target, 654)])

    async def test_gets_back_what_was_placed_wrongly(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        await take(database, CSV)
        item = await self.item(database, "N2611020003")
        await self.assign(database, open_bills, item, [(target, 5654)])
        assert "N2611020003" not in await waiting(database)

        async with database.transaction() as session:
            await provider_events.undo_payment(
                session, number="P1002", reason="another", actor_id=open_bills.manager, now=NOW
            )

        assert (await waiting(database))["N2611020003"] == (5654, "amount_differs")
        await require_sound_books(database)
        await self.assign(database, open_bills, item, [(target, 5654)])
        await require_sound_books(database)

    async def test_shows_bills_of_the_same_amount_or_name(
        self, database: Database, open_bills: World
    ) -> None:
        content = b"date,reference,amount,payer,words\n2026-11-02,R1,56.53,Li Hua,hello\n"
        await import_statement(database, content=content, columns={}, is_dry_run=False, now=NOW)
        async with database.transaction() as session:
            item = await suspense.get_item(session, item_id=await self.item(database, "R1"))
            found = await suspense.list_candidates(session, item)
        assert (found[0].why, found[0].bill, len(found)) == ("both", "E1001", 5)
        assert open_bills.home.account_number == found[0].account

    async def item(self, database: Database, reference: str) -> int:
        query = "SELECT id FROM shuidian.suspense_items WHERE reference = :reference"
        ((found,),) = await ask(database, query, reference=reference)
        assert isinstance(found, int)
        return found

    async def assign(self, database: Database, world: World, item: int, parts: Any) -> None:
        async with database.transaction() as session:
            await suspense.assign(
                session, item_id=item, parts=parts, actor_id=world.manager, now=NOW
            )
