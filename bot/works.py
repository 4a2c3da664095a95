"""The table of all background work and timed jobs: names on the left, the core on the right."""

from collections.abc import Mapping
from datetime import datetime, time

from sqlalchemy.ext.asyncio import AsyncSession

from bot import inbox
from bot.tasks import Work
from bot.timetable import Job

WORKS: Mapping[str, Work] = {}


async def _forget_old(session: AsyncSession, at: datetime) -> None:
    await inbox.forget_old(session, now=at)


JOBS: Mapping[str, Job] = {
    job.name: job for job in (Job(name="forget-old", run=_forget_old, at=time(3, 30)),)
}
