"""Conversations are tested on the whole service, through the playground's HTTP."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from bot.clock import SystemClock
from core.accounts.models import Service
from core.db import Database
from core.monitoring.models import Reading, ReadingStatus, Source
from tests.stage import PEOPLE, TOKEN, Stage, empty_stage, playground, stage
from tests.world import NOON

__all__ = ["PEOPLE", "TOKEN", "Stage", "empty_stage", "playground", "stage"]


@pytest.fixture
async def water_use(stage: Stage, database: Database) -> None:
    """Forty days in which Li Hua's home used 0.4 m³ a day."""
    async with database.transaction() as session:
        session.add_all(
            Reading(
                meter_id=stage.world.home.meters[Service.WATER],
                register="total",
                taken_at=NOON - timedelta(days=40 - i, hours=1),
                value=Decimal(100) + i * Decimal("0.4"),
                source=Source.GATEWAY,
                status=ReadingStatus.ACCEPTED,
                received_at=NOON,
            )
            for i in range(41)
        )


def move_clock(stage: Stage, moment: datetime) -> None:
    stage.clock.set_at = SystemClock().now()
    stage.clock.shown_at = moment
