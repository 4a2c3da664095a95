"""Managers see in chat what gets lost, and which meters stand still."""

from datetime import timedelta
from decimal import Decimal

from sqlalchemy import update

from core.accounts.models import Service
from core.db import Database
from core.monitoring.models import Meter, Standstill
from core.notices import service as notices
from tests.chat import text_of
from tests.e2e.conftest import Stage
from tests.world import NOON


async def test_losses_are_shown_and_told(stage: Stage, database: Database) -> None:
    manager = stage.phone(3001)
    assert "No meter is a master" in text_of(await manager.say("/loss"))
    water = stage.world.home.meters[Service.WATER]
    async with database.transaction() as session:
        values = {"master_of_id": stage.world.building}
        await session.execute(update(Meter).where(Meter.id == water).values(**values))
        await notices.enqueue(
            session,
            person_ids=[stage.world.manager],
            kind="loss.high",
            params={"area_id": stage.world.building, "service": "water"},
            dedupe_key="loss",
            now=NOON,
        )
    told = await manager.expect("more got lost")
    await manager.press(told, "Show the losses")
    assert "not known" in text_of(await manager.changed(told, "No. 1"))
    assert "⚠" in text_of(await stage.phone(1001).say("/loss"))


async def test_standing_meters_are_a_note_beside_the_held_readings(
    stage: Stage, database: Database
) -> None:
    async with database.transaction() as session:
        session.add(
            Standstill(
                meter_id=stage.world.home.meters[Service.WATER],
                since=NOON - timedelta(days=20),
                value=Decimal(130),
                usual=Decimal("0.5"),
            )
        )
    words = text_of(await stage.phone(3001).say("/held"))
    assert "1 meter stands still" in words
    assert "W-10001, Linden Street 1-101: 130 m³" in words
    assert "0.5 m³ a day" in words
