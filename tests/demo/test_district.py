"""The district in a real database: how much of what, its past, and that it is always the same."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from bot.demo.cast import ANNA, CAST, CHEN, LIN
from bot.demo.district import build_district, choose_approval, open_phones
from bot.demo.history import build_history
from bot.settings import Settings
from core.billing.audit_checks import list_violations
from core.db import Database
from tests.demo.conftest import fresh_database

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


async def build(database: Database, *, seed: int) -> None:
    async with database.transaction() as session:
        supplied = await build_district(session, seed=seed, now=NOW)
        await build_history(session, supplied, seed=seed, now=NOW)
        await open_phones(session, supplied)


async def ask(database: Database, query: str, **values: object) -> list[tuple[Any, ...]]:
    async with database.transaction() as session:
        return [tuple(row) for row in await session.execute(text(query), values)]


async def one(database: Database, query: str, **values: object) -> Any:
    return (await ask(database, query, **values))[0][0]


@pytest.fixture(scope="module")
async def built(server_url: str) -> AsyncIterator[Database]:
    with fresh_database(server_url) as url:
        database = Database(url)
        await build(database, seed=1)
        yield database
        await database.close()


async def bills_of(database: Database, chat: int, service: str) -> list[tuple[Any, ...]]:
    """Return a phone's bills of a service as (state, total, paid), the oldest first."""
    return await ask(
        database,
        "SELECT b.state, b.total_minor, coalesce(sum(l.amount_minor), 0)::int"
        " FROM shuidian.bills b JOIN shuidian.agreements a ON a.id = b.agreement_id"
        " JOIN shuidian.service_points p ON p.id = a.service_point_id"
        " JOIN shuidian.account_rights r ON r.account_id = a.account_id"
        " JOIN shuidian.contacts c ON c.person_id = r.person_id"
        " LEFT JOIN shuidian.allocations l ON l.bill_id = b.id"
        " WHERE c.address = :chat AND p.service = :service GROUP BY b.id ORDER BY b.ends_date",
        chat=str(chat),
        service=service,
    )


class TestDistrict:
    async def test_has_its_places_people_and_past(self, built: Database) -> None:
        counts = {
            table: await one(built, f"SELECT count(*) FROM shuidian.{table}")  # noqa: S608 (ours)
            for table in ("areas", "premises", "service_points", "agreements", "meters", "limits")
        }
        assert counts == {
            "areas": 1 + 2 + 4 + 16,
            "premises": 60,
            "service_points": 120,
            "agreements": 120,
            "meters": 120,
            "limits": 3,
        }
        languages = await ask(built, "SELECT DISTINCT locale FROM shuidian.people ORDER BY 1")
        assert languages == [("en",), ("ru",), ("zh_CN",), ("zh_TW",)]
        contacts = await ask(built, "SELECT address FROM shuidian.contacts ORDER BY 1")
        assert contacts == sorted((str(player.chat),) for player in CAST)
        tariffs = await ask(
            built, "SELECT tariff_code, count(*) FROM shuidian.agreements GROUP BY 1 ORDER BY 1"
        )
        assert tariffs == [("anhui-electricity", 60), ("beijing-water", 3), ("hefei-water", 57)]

    async def test_has_bills_for_a_year_nobody_was_told_of(self, built: Database) -> None:
        assert await one(built, "SELECT count(*) FROM shuidian.deliveries") == 0
        assert await one(built, "SELECT count(*) FROM shuidian.unreached") == 0
        assert await ask(built, "SELECT DISTINCT reason FROM shuidian.billing_skips") == []
        for player in (LIN, ANNA, CHEN):
            assert len(await bills_of(built, player.chat, "electricity")) >= 13
            assert len(await bills_of(built, player.chat, "water")) >= 6
        fewest = await one(
            built,
            "SELECT min(n) FROM (SELECT count(*) n FROM shuidian.bills GROUP BY agreement_id) c",
        )
        assert fewest >= 2

    async def test_leaves_a_few_bills_open_and_one_phone_overdue(self, built: Database) -> None:
        overdue = await bills_of(built, CHEN.chat, "electricity")
        assert [(state, paid) for state, _, paid in overdue[-2:]] == [("issued", 0)] * 2
        assert {state for state, _, _ in overdue[:-2]} == {"settled"}
        water = await bills_of(built, CHEN.chat, "water")
        assert {state for state, _, _ in water[:-1]} == {"settled"}
        (_, total, paid) = (await bills_of(built, ANNA.chat, "water"))[-1]
        assert 0 < paid < total
        (state, _, paid) = (await bills_of(built, LIN.chat, "electricity"))[-1]
        assert (state, paid) == ("issued", 0)

    async def test_keeps_its_books_in_order(self, built: Database) -> None:
        async with built.transaction() as session:
            assert await list_violations(session) == []

    async def test_charges_a_third_tier(self, built: Database) -> None:
        tiers = await ask(
            built,
            "SELECT DISTINCT a.tariff_code FROM shuidian.bill_lines l"
            " JOIN shuidian.bills b ON b.id = l.bill_id"
            " JOIN shuidian.agreements a ON a.id = b.agreement_id WHERE l.tier = 3 ORDER BY 1",
        )
        assert ("beijing-water",) in tiers


async def fingerprint(database: Database) -> dict[str, str]:
    """Return a hash of the rows of each table, without the credentials, which are secrets."""
    tables = ("areas", "premises", "people", "accounts", "meters", "demo_meters", "bills")
    tables += ("bill_lines", "payments", "readings", "contacts", "ledger_entries")
    found = {}
    for table in tables:
        rows = await ask(database, f"SELECT t::text FROM shuidian.{table} t ORDER BY 1")  # noqa: S608 (ours)
        found[table] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return found


class TestSeed:
    async def test_decides_everything(self, built: Database, database: Database) -> None:
        await build(database, seed=1)

        assert await fingerprint(built) == await fingerprint(database)


async def test_bills_wait_for_a_manager_where_that_is_set(
    built: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting in ("true", None):
        if setting is None:
            monkeypatch.delenv("SHUIDIAN_APPROVE_BILLS")
        else:
            monkeypatch.setenv("SHUIDIAN_APPROVE_BILLS", setting)
        async with built.transaction() as session:
            await choose_approval(session, Settings())
        assert await one(built, "SELECT approves_bills FROM shuidian.operator") is bool(setting)
