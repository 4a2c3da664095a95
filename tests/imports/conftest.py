"""A database as it is after the first start."""

import pytest

from core.accounts.service import keep_operator
from core.db import Database
from tests.billing.books import load_shipped
from tests.stage import empty_stage, stage

__all__ = ["empty_stage", "stage"]


@pytest.fixture
async def empty(database: Database) -> Database:
    """Nothing but an operator and the tariffs."""
    async with database.transaction() as session:
        await keep_operator(
            session,
            name="Linden",
            hotline="-",
            timezone="Asia/Shanghai",
            currency="CNY",
            locale="zh_CN",
            reading_days=(25, 28),
        )
    await load_shipped(database)
    return database
