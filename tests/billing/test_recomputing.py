"""A bill comes out of its inputs as it went in, also under prices that are long gone."""

import asyncio
from collections.abc import Sequence
from datetime import date

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from bot.cli import app
from core.accounts.models import Service
from core.billing.recomputing import (
    Difference,
    NoSuchBill,
    audit_books,
    draw_sample,
    find_faults,
    list_differences,
)
from core.billing.tariff_store import load_tariffs, shipped_contents
from core.db import Database
from tests.billing.books import NOW, OCTOBER, ask, load_shipped, run_bills, show
from tests.world import World

EXAMPLE = """
[[versions.examples]]
source = "made up"
starts = 2027-01-01
ends = 2028-01-01
use = { total = "5000" }
total = "3245.82"
"""
READ = {date(2026, 9, 1): "100.4", date(2026, 10, 1): "109.9", date(2026, 11, 1): "320.8"}


@pytest.fixture
async def billed(database: Database, world: World) -> Sequence[str]:
    await load_shipped(database)
    for service in Service:
        await show(database, world.home.meters[service], READ)
        await run_bills(database, service, OCTOBER)
    return ["W1001", "E1001"]


async def differences(database: Database, numbers: Sequence[str]) -> list[Difference]:
    async with database.transaction() as session:
        return await list_differences(session, numbers=numbers)


async def tamper(database: Database, statement: str) -> None:
    """Change what the database itself would never let in."""
    async with database.transaction() as session:
        await session.execute(text("SET LOCAL session_replication_role = 'replica'"))
        await session.execute(text(statement))


class TestListDifferences:
    async def test_finds_nothing(self, database: Database, billed: Sequence[str]) -> None:
        assert await differences(database, billed) == []

    async def test_finds_nothing_when_a_newer_tariff_has_other_prices_and_rounding(
        self, database: Database, billed: Sequence[str]
    ) -> None:
        name = "anhui-electricity.toml"
        content = shipped_contents()[name].decode()
        old = content[content.index("[[versions]]") :]
        ended = old.replace("2012-07-01", "2012-07-01\nvalid_to = 2027-01-01")
        newer = old[: old.index("[[versions.examples]]")].replace("2012-07-01", "2027-01-01")
        newer = newer.replace("half_up", "down").replace("0.5653", "0.6011") + EXAMPLE
        content = content.replace(old, f"{ended}\n{newer}")
        async with database.transaction() as session:
            await load_tariffs(session, contents={name: content.encode()})

        ends = "SELECT valid_to FROM shuidian.tariff_versions WHERE code = 'anhui-electricity'"
        assert (date(2027, 1, 1),) in await ask(database, ends)
        assert await differences(database, billed) == []

    @pytest.mark.parametrize(
        ("statement", "what"),
        [
            ("UPDATE shuidian.bill_lines SET amount = amount + 1 WHERE position = 1", "line 1"),
            ("UPDATE shuidian.bill_lines SET amount = amount * 1.0 WHERE position = 1", "line 1"),
            ("DELETE FROM shuidian.bill_lines WHERE position = 1", "line 1"),
            ("UPDATE shuidian.bills SET total_minor = total_minor + 1", "total"),
            ("UPDATE shuidian.tariff_versions SET content = content || ' '", "tariff"),
        ],
    )
    async def test_names_what_was_tampered_with(
        self, database: Database, billed: Sequence[str], statement: str, what: str
    ) -> None:
        await tamper(database, statement)

        found = await differences(database, billed)

        assert {each.number for each in found} == set(billed)
        assert all(each.what.startswith(what) for each in found)

    async def test_says_that_there_is_no_such_bill(self, database: Database, world: World) -> None:
        assert world.manager
        with pytest.raises(NoSuchBill):
            await differences(database, ["W9999"])


class TestFindFaults:
    async def test_draws_from_the_last_run_of_each_service(
        self, database: Database, billed: Sequence[str]
    ) -> None:
        async with database.transaction() as session:
            assert sorted(await draw_sample(session, day=NOW.date())) == sorted(billed)

    @pytest.mark.usefixtures("billed")
    async def test_is_told_to_managers_by_night(self, database: Database) -> None:
        async with database.transaction() as session:
            assert await find_faults(session, now=NOW) == []
            await audit_books(session, now=NOW)
        await tamper(database, "UPDATE shuidian.bills SET total_minor = 1 WHERE number = 'W1001'")

        async with database.transaction() as session:
            await audit_books(session, now=NOW)

        told = await ask(
            database, "SELECT params FROM shuidian.deliveries WHERE kind = 'audit.faults'"
        )
        assert told
        assert all(row[0]["count"] >= 1 for row in told)  # type: ignore[index]  # JSON


class TestTheCommand:
    async def test_says_equal_or_prints_the_difference(
        self, database: Database, database_url: str, billed: Sequence[str]
    ) -> None:
        environment = {"SHUIDIAN_DATABASE_URL": database_url}
        words = ["bill", "recompute", *map(str.lower, billed)]
        result = await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)
        assert (result.exit_code, result.stdout) == (0, "2 recomputed: equal\n")

        await tamper(database, "UPDATE shuidian.bills SET total_minor = 1")
        result = await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)
        assert result.exit_code == 1
        assert "differs: W1001 total: 1 stored, " in result.stdout
