"""Starts the daily look ahead: chunks of agreements, queued for any number of workers."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from bot.tasks import defer
from core.billing.early_warnings import list_watched

CHUNK = 100
WARN_EARLY = "warn-early"


async def start_warnings(session: AsyncSession, *, now: datetime) -> None:
    """Queue the look ahead for every agreement of somebody who can be reached."""
    found = await list_watched(session, now=now)
    for start in range(0, len(found), CHUNK):
        await defer(session, WARN_EARLY, agreement_ids=list(found[start : start + CHUNK]))
