"""From an empty database to a bill in chat: files in, a month billed, a customer linked."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.imports import import_file
from core.accounts import linking, service
from core.accounts.models import Service
from core.accounts.service import keep_operator
from core.billing.audit_checks import list_violations
from core.monitoring.ranges import ensure_default_limits
from tests.billing.books import OCTOBER, load_shipped, run_bills
from tests.chat import buttons_of, text_of
from tests.stage import opened
from tests.world import NOON, World

EXAMPLES = Path(__file__).parents[2] / "docs" / "import"
NOBODY = World.__new__(World)  # the stage is empty


@pytest.fixture
async def fresh_stage(database_url: str):
    """A stage on a database in which only the first start has been."""
    async with opened(database_url, NOBODY) as stage:
        async with stage.database() as database, database.transaction() as session:
            await keep_operator(
                session,
                name="Linden Water & Power",
                hotline="0551-5550100",
                timezone="Asia/Shanghai",
                currency="CNY",
                locale="zh_CN",
                reading_days=(25, 28),
            )
            await ensure_default_limits(session)
        async with stage.serving():
            yield stage


class TestFirstData:
    async def test_leads_to_a_bill_that_its_customer_reads_in_chat(self, fresh_stage):
        database, phone = fresh_stage.service.database, fresh_stage.phone(1001)
        await load_shipped(database)
        for kind in ("accounts", "meters", "readings"):
            done = await import_file(
                database,
                kind=kind,
                content=(EXAMPLES / f"{kind}.csv").read_bytes(),
                is_dry_run=False,
                now=NOON,
            )
            assert (done.outcome.new, done.outcome.faults) == (12, [])

        await run_bills(database, Service.WATER, OCTOBER, now=datetime(2026, 11, 2, tzinfo=UTC))
        async with database.transaction() as session:
            account = await service.get_account(session, number="0010001")
            code = await linking.invite(session, account_id=account, now=NOON)
        offer = await phone.say(f"/start {code}")
        assert "0010001" in text_of(offer)
        await phone.press(offer, "是")
        await phone.expect("绑定成功")
        bills = await phone.say("/bills")

        assert [label for label in buttons_of(bills) if "W100" in label] != []
        await phone.press(bills, "W100")
        bill = await phone.changed(bills, "134")
        assert "110" in text_of(bill)
        async with database.transaction() as session:
            assert await list_violations(session) == []
