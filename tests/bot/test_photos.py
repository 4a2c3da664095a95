"""Photos of repairs are fetched once, and one that cannot be had holds up no other."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from sqlalchemy import select
from telegram import Bot
from telegram.error import TelegramError

from bot.app import build_bot
from bot.photos import UNKNOWN, Keeper, media_type_of
from bot.telegram import Transport
from core.accounts.models import Service
from core.db import Database
from core.repairs import intake
from core.repairs.models import Attachment
from tests.e2e.test_photos import picture
from tests.stage import Stage
from tests.world import NOON


@dataclass
class Album:
    """Repairs with photos, and the bot that fetches them."""

    stage: Stage
    database: Database
    bot: Bot

    async def attach(self, *channel_refs: str) -> None:
        home = self.stage.world.home
        async with self.database.transaction() as session:
            for photo_ref in channel_refs:
                await intake.report(
                    session,
                    person_id=home.holder,
                    service_point_id=home.points[Service.WATER],
                    text="",
                    photo_ref=photo_ref,
                    now=NOON,
                )

    async def send(self, content: bytes) -> str:
        """Send a picture as a file, and return what the channel calls it."""
        sent = await self.bot.send_document(1001, content, filename="photo.png")
        assert sent.document is not None
        return sent.document.file_id

    async def keep_all(self) -> None:
        keeper = Keeper(self.database, self.bot)
        while await keeper.keep_one():
            pass

    async def kept(self) -> list[tuple[str, bytes | None]]:
        async with self.database.transaction() as session:
            rows = await session.scalars(select(Attachment).order_by(Attachment.id))
            return [(row.media_type, row.content) for row in rows]


@pytest.fixture
async def album(empty_stage: Stage, database: Database) -> AsyncIterator[Album]:
    transports = Transport(), Transport()
    async with contextlib.AsyncExitStack() as stack:
        for transport in transports:
            stack.push_async_callback(transport.shutdown)
        bot = build_bot(empty_stage.settings, transport=transports[0], polling=transports[1])
        await empty_stage.phone(1001).post("start")
        yield Album(empty_stage, database, bot)


class TestKeepOne:
    async def test_keeps_the_bytes_and_what_they_are_whatever_the_sender_says(
        self, album: Album
    ) -> None:
        text = b"<script>not a picture</script>"
        await album.attach(await album.send(picture()), await album.send(text))

        await album.keep_all()

        assert await album.kept() == [("image/png", picture()), (UNKNOWN, text)]

    async def test_keeps_empty_what_the_channel_refuses_and_goes_on(self, album: Album) -> None:
        await album.attach("AgACnowhere", await album.send(picture()))

        await album.keep_all()

        assert await album.kept() == [(UNKNOWN, b""), ("image/png", picture())]
        assert len(await album.stage.calls("getFile")) == 2

    async def test_leaves_for_later_what_it_could_not_fetch_now(self, album: Album) -> None:
        await album.attach(await album.send(picture()))
        await album.stage.fault("5xx", count=1, method="getFile")

        with pytest.raises(TelegramError):
            await album.keep_all()
        assert [content for _, content in await album.kept()] == [None]
        await album.keep_all()

        assert await album.kept() == [("image/png", picture())]


class TestMediaTypeOf:
    @pytest.mark.parametrize(
        ("content", "found"),
        [
            (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
            (b"\x89PNG\r\n\x1a\n", "image/png"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
            (b"RIFF\x10\x00\x00\x00WAVEfmt ", UNKNOWN),
            (b"<svg onload='alert(1)'>", UNKNOWN),
            (b"", UNKNOWN),
        ],
    )
    def test_trusts_the_first_bytes_only(self, content: bytes, found: str) -> None:
        assert media_type_of(content) == found
