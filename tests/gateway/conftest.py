"""A world whose meters have gateways: one that speaks MQTT, and one that is a cloud."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from sqlalchemy import select, update

from benchmarks.mqtt import Broker, running_broker
from bot.api.auth import issue_token
from core.accounts.models import ApiKey, Service
from core.db import Database
from core.monitoring.models import Meter
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
