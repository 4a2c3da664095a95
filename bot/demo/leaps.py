"""A leap of the demo's clock: its meters live through what is skipped, and nobody was away."""

from datetime import datetime

from sqlalchemy import exists, or_, update

from bot.demo.clock import WoundClock
from bot.demo.signals import SLOT
from bot.demo.simulator import Simulator
from core.db import Database
from core.monitoring.gateway_models import GatewayWatch, Hearing
from core.monitoring.models import Reading, Sample
from core.monitoring.silence import LOOK_EVERY, look_for_silence


async def leap(
    database: Database, clock: WoundClock, simulator: Simulator, *, until: datetime
) -> None:
    """
    Set the clock to a later moment, and come back when all meters have told of the time between.

    Whoever listens for silence waits for that, and then judges as if it had listened all along:
    who spoke was heard, who did not was silent for so long. If the meters take too long, it is
    a break of ours, after which everybody gets his time anew.
    """
    since = clock.now()
    await _look_again(database, looked_at=since - LOOK_EVERY)
    async with database.transaction() as session:
        await look_for_silence(session, now=since)  # what was said before is not of the leap
    await _look_again(database, looked_at=until)
    await clock.turn(database, shown_at=until)
    if await simulator.catch_up(until - SLOT):
        await _hear_who_spoke(database, heard_at=until)
        since = until - LOOK_EVERY
    await _look_again(database, looked_at=since)


async def _look_again(database: Database, *, looked_at: datetime) -> None:
    async with database.transaction() as session:
        for model in (GatewayWatch, Hearing):
            await session.execute(update(model).values(looked_at=looked_at))


async def _hear_who_spoke(database: Database, *, heard_at: datetime) -> None:
    spoke = or_(
        *(
            exists().where(told.meter_id == Hearing.meter_id, told.taken_at > Hearing.newest_at)
            for told in (Sample, Reading)
        )
    )
    async with database.transaction() as session:
        await session.execute(update(Hearing).where(spoke).values(heard_at=heard_at))
