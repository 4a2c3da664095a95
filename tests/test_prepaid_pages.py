"""Prepaid homes in the office and over HTTP: who is low, and how an account pays."""

from datetime import date

import pytest
from sqlalchemy import update

from core.accounts.models import Agreement, Service
from core.billing import prepaid
from core.db import Database
from tests.billing.books import NOW, ask, load_shipped, show
from tests.test_office import Office, office
from tests.test_office_money import send, sign_in
from tests.world import World

__all__ = ["office"]  # a fixture
ACTS = "SELECT action FROM shuidian.audit_entries WHERE action LIKE 'agreement.%' ORDER BY id"
CHANGE = {"account": "10001", "service": "electricity"}


class TestPrepaidPage:
    async def test_switches_an_account_both_ways_and_writes_it_down(
        self, office: Office, database: Database
    ) -> None:
        await sign_in(office)

        pages = [await send(office, "prepaid", **CHANGE, way=way) for way in ("ahead", "after")]

        assert [status for status, _ in pages] == [200, 200]
        assert "ahead, from a balance" in pages[0][1]
        assert await ask(database, ACTS) == [("agreement.prepaid",), ("agreement.postpaid",)]

    @pytest.mark.parametrize(
        ("changes", "why"),
        [({"account": "99"}, "has no such service"), ({"way": "after"}, "in this way already")],
    )
    async def test_says_what_is_wrong_and_changes_nothing(
        self, office: Office, database: Database, changes: dict[str, str], why: str
    ) -> None:
        await sign_in(office)

        status, page = await send(office, "prepaid", **{**CHANGE, "way": "ahead", **changes})

        assert status == 422
        assert why in page
        assert await ask(database, ACTS) == []

    async def test_lists_low_balances_the_lowest_first(
        self, office: Office, database: Database, world: World
    ) -> None:
        await load_shipped(database)
        both = (world.home, world.neighbour)
        for home, used in zip(both, ("10", "100"), strict=True):
            days = {date(2026, 10, 1): "0", date(2026, 11, 2): used}
            await show(database, home.meters[Service.ELECTRICITY], days)
        ids = [home.agreements[Service.ELECTRICITY] for home in both]
        async with database.transaction() as session:
            await session.execute(
                update(Agreement)
                .where(Agreement.id.in_(ids))
                .values(is_prepaid=True, starts_date=date(2026, 10, 1))
            )
            await prepaid.judge_balances(session, agreement_ids=ids, now=NOW)
        await sign_in(office)

        _, page = await office.get("/office/prepaid")

        assert "-CN¥5.65" in page
        assert page.index("-CN¥56.53") < page.index("-CN¥5.65")
        assert page.count("nothing left since") == 1

    async def test_is_closed_to_strangers(self, office: Office) -> None:
        assert (await office.get("/office/prepaid"))[0] == 401
        assert (await send(office, "prepaid", **CHANGE, way="ahead"))[0] == 401
