"""A service killed in the middle (-9) loses nothing that was said and does nothing twice."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from bot.inbox import StoredUpdate
from core.db import Database
from core.notices.models import Delivery, Outcome
from tests.stage import Stage

PROJECT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def process(stage: Stage) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `shuidian serve` for the stage, and end it without any mercy."""
    settings = stage.settings
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SHUIDIAN_")
    }
    environment |= {
        "SHUIDIAN_DATABASE_URL": settings.database_url,
        "SHUIDIAN_TELEGRAM_TOKEN": settings.telegram_token.get_secret_value(),
        "SHUIDIAN_TELEGRAM_BASE_URL": settings.telegram_base_url,
        "SHUIDIAN_PORT": "0",
    }
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot.cli", "serve"), cwd=PROJECT, env=environment
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.send_signal(signal.SIGKILL)
        await started.wait()


async def count(database: Database, *where: object) -> int:
    async with database.transaction() as session:
        query = select(func.count()).select_from(Delivery).where(*where)  # type: ignore[arg-type]
        return int(await session.scalar(query) or 0)


@pytest.mark.timeout(240)
async def test_three_kills_lose_nothing_and_double_no_effect(
    empty_stage: Stage, database: Database
) -> None:
    people = (1001, 1002, 3001)
    said = 0
    for kill in (3, 12, 21):
        async with process(empty_stage) as running:
            for _ in range(3):
                for person in people:
                    await empty_stage.phone(person).post("say", text="/help")
                    said += 1
            async with asyncio.timeout(60):
                while await count(database, Delivery.outcome == Outcome.SENT) < kill:
                    assert running.returncode is None
                    await asyncio.sleep(0.01)
    async with process(empty_stage), asyncio.timeout(60):
        while await count(database, Delivery.outcome == Outcome.SENT) < said:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)

    async with database.transaction() as session:
        updates = (await session.scalars(select(StoredUpdate))).all()
        deliveries = (await session.scalars(select(Delivery))).all()
    assert len(updates) == said
    assert all(update.handled_at and not update.parked_at for update in updates)
    assert {row.dedupe_key for row in deliveries} == {
        f"update:{update.update_id}:1" for update in updates
    }
    assert len(deliveries) == said
    arrived = sum([len(await empty_stage.phone(person).messages()) for person in people])
    extra = sum(row.attempts - 1 for row in deliveries)
    assert said <= arrived <= said + extra
