"""Photos are fetched from the channel and kept: a channel's own copy can go away."""

import asyncio

import structlog
from sqlalchemy import select, update
from telegram import Bot
from telegram.error import BadRequest, Forbidden, InvalidToken, TelegramError

from core.db import Database
from core.monitoring.models import ReadingPhoto
from core.repairs.models import Attachment

log = structlog.get_logger()

IDLE_SECONDS = 5.0
PAUSE_SECONDS = 60.0
UNKNOWN = "application/octet-stream"
KNOWN = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"GIF8": "image/gif"}


def media_type_of(content: bytes) -> str:
    """Return what a picture is by its own first bytes; what senders say need not be true."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((name for start, name in KNOWN.items() if content.startswith(start)), UNKNOWN)


class Keeper:
    """Fetches what was attached and is not kept yet; any number of replicas may run one."""

    def __init__(self, database: Database, bot: Bot) -> None:
        self._database = database
        self._bot = bot

    async def run(self) -> None:
        """Keep photos until cancelled; while the channel is out of reach, try now and then."""
        while True:
            try:
                while await self.keep_one():
                    pass
            except TelegramError as error:
                log.warning("photo.not_fetched", reason=str(error))
                await asyncio.sleep(PAUSE_SECONDS)
            await asyncio.sleep(IDLE_SECONDS)

    async def keep_one(self) -> bool:
        """
        Keep the oldest photo that is not kept; tell whether there was one.

        A photo that the channel will not give (it is gone, or over 20 MB) is kept empty.
        """
        for table in (Attachment, ReadingPhoto):
            async with self._database.transaction() as session:
                waiting = await session.execute(
                    select(table.id, table.channel_ref)
                    .where(table.content.is_(None))
                    .order_by(table.id)
                    .limit(1)
                )
                found = waiting.one_or_none()
            if found is not None:
                await self._keep(table, *found)
                return True
        return False

    async def _keep(
        self, table: type[Attachment | ReadingPhoto], row_id: int, channel_ref: str
    ) -> None:
        try:
            file = await self._bot.get_file(channel_ref)
            content = bytes(await file.download_as_bytearray())
        except (BadRequest, Forbidden, InvalidToken) as error:  # the last is a missing file, too
            log.warning("photo.refused", table=table.__tablename__, id=row_id, reason=str(error))
            content = b""
        async with self._database.transaction() as session:
            await session.execute(
                update(table)
                .where(table.id == row_id, table.content.is_(None))
                .values(content=content, media_type=media_type_of(content))
            )
