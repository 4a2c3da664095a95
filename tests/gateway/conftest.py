"""A world whose meters have gateways: one that speaks MQTT, and one that is a cloud."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.mqtt import Broker, running_broker
from bot.api.auth import issue_token
from bot.clock import ScaledClock, SystemClock
from bot.gateway.mqtt import Listener
from core.accounts.models import ApiKey, Service
from core.db import Database
from core.monitoring.models import Meter
from tests.gateway.shelves import PROFILES
from tests.world import NOON, World


@dataclass(frozen=True)
class Gateway:
    key: int
    token: str


@pytest.fixture
async def gateway(database: Database, world: World) -> Gateway:
    """The gateway of the home's meters; it calls the electricity meter `plug`."""
    async with database.transaction() as session:
        token = await issue_token(
            session, name="cellar", scope="gateway", profile="zigbee2mqtt", now=NOON
        )
        key = await session.scalar(select(ApiKey.id).where(ApiKey.name == "cellar"))
        meters = world.home.meters
        await session.execute(
            update(Meter).where(Meter.id.in_(meters.values())).values(gateway_id=key)
        )
        await session.execute(
            update(Meter).where(Meter.id == meters[Service.ELECTRICITY]).values(device="plug")
        )
    assert key is not None
    return Gateway(key, token)


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with running_broker() as running:
        yield running


@contextlib.asynccontextmanager
async def run_listener(
    database: Database, url: str, *, now: datetime
) -> AsyncIterator[tuple[Listener, asyncio.Task[None]]]:
    """Listen to a broker for a while, where nothing raises an alarm."""

    async def no_alarms(_session: AsyncSession, _alarm_ids: list[int]) -> None:
        pytest.fail("nothing here raises an alarm")

    listener = Listener(
        database,
        ScaledClock(set_at=SystemClock().now(), shown_at=now),
        url=url,
        client_id="shuidian",
        profiles=PROFILES,
        after_alarms=no_alarms,
    )
    task = asyncio.create_task(listener.run())
    try:
        yield listener, task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
