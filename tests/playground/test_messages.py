"""Messages as the real Bot sees them: keyboards, presses, edits, files, commands."""

import io
import struct
import zlib

import aiohttp
import pytest
from telegram import (
    Bot,
    BotCommand,
    BotCommandScopeAllPrivateChats,
    BotCommandScopeChat,
    ForceReply,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaDocument,
    InputMediaPhoto,
    KeyboardButton,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
    ReplyParameters,
)
from telegram.error import BadRequest

from tests.playground.conftest import TOKEN, Desk

NOT_MODIFIED = (
    "Message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IEND", b"")


HEADS = {
    "png": png(300, 200),
    "gif": b"GIF89a" + struct.pack("<HH", 300, 200),
    "jpeg": b"\xff\xd8\xff\xe0\0\x04ab\xff\xc2\0\x11\x08"
    + struct.pack(">HH", 200, 300)
    + b"\0" * 9,
    "webp lossy": b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 10 + struct.pack("<HH", 300, 200),
    "webp lossless": b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 299 | 199 << 14),
    "webp extended": b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + b"\x2b\x01\0\xc7\0\0",
}


def keyboard(*labels: str) -> InlineKeyboardMarkup:
    row = [InlineKeyboardButton(label, callback_data=f"data {label}") for label in labels]
    return InlineKeyboardMarkup([row])


class TestAPress:
    async def test_brings_the_message_as_it_is_and_is_answered_once(
        self, desk: Desk, bot: Bot
    ) -> None:
        li = await desk.person(language_code="zh-hans")
        sent = await bot.send_message(li, "choose", reply_markup=keyboard("a", "b"))
        await bot.edit_message_text("now", li, sent.message_id, reply_markup=keyboard("a", "b"))
        await desk.updates()

        async with desk.events() as event:
            pressed = await desk.act(li, "press", message_id=sent.message_id, row=0, col=1)
            await event("spinner", on=True)
            [update] = await bot.get_updates()
            assert await update.callback_query.answer()
            await event("spinner", on=False, query_id=pressed["query_id"])

        assert update.callback_query.data == "data b"
        assert update.callback_query.message.text == "now"
        assert update.callback_query.from_user.language_code == "zh-hans"
        with pytest.raises(BadRequest, match=r"[qQ]uery is too old"):
            await update.callback_query.answer()

    async def test_may_carry_anything_on_a_message_that_is_gone(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        sent = await bot.send_message(li, "choose", reply_markup=keyboard("a"))
        assert await sent.delete()
        await desk.updates()

        await desk.act(li, "press", message_id=sent.message_id, row=0, col=0, status=409)
        await desk.act(li, "press_data", message_id=sent.message_id, data="forged")
        [update] = await bot.get_updates()

        assert update.callback_query.data == "forged"
        assert update.callback_query.message.is_accessible is False

    async def test_opens_links_and_copies_without_the_bot(self, desk: Desk) -> None:
        li = await desk.person()
        row = [InlineKeyboardButton("a", url="https://a.cn/b")]
        copy = {"text": "b", "copy_text": {"text": "123"}}
        markup = {"inline_keyboard": [[row[0].to_dict(), copy]]}
        sent = await desk.call("sendMessage", chat_id=li, text="a", reply_markup=markup)
        number = sent["message_id"]
        assert await desk.act(li, "press", message_id=number, row=0, col=0) == {
            "url": "https://a.cn/b"
        }
        assert await desk.act(li, "press", message_id=number, row=0, col=1) == {"copy_text": "123"}

    async def test_expires_on_demand(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        await desk.updates()
        await desk.page("POST", "faults", kind="expired_press")
        await desk.act(li, "press_data", message_id=1, data="x")
        [update] = await bot.get_updates()
        with pytest.raises(BadRequest, match=r"[qQ]uery is too old"):
            await update.callback_query.answer()

    async def test_refuses_a_toast_that_is_too_long(self, desk: Desk) -> None:
        li = await desk.person()
        query = (await desk.act(li, "press_data", message_id=1, data="x"))["query_id"]
        params = {"callback_query_id": query, "text": "x" * 201}
        assert (
            await desk.call("answerCallbackQuery", status=400, **params)
            == "Bad Request: MESSAGE_TOO_LONG"
        )


class TestAKeyboard:
    async def test_stays_below_the_text_field_until_it_is_removed(
        self, desk: Desk, bot: Bot
    ) -> None:
        li = await desk.person()
        keys = ReplyKeyboardMarkup([["Pay", KeyboardButton("Phone", request_contact=True)]])
        sent = await bot.send_message(li, "a", reply_markup=keys)
        await bot.send_message(li, "b", reply_markup=keyboard("x"))
        shown = (await desk.chat(li))["reply_keyboard"]
        await bot.send_message(li, "c", reply_markup=ReplyKeyboardRemove())

        assert sent.reply_markup is None
        assert shown["keyboard"] == [[{"text": "Pay"}, {"text": "Phone", "request_contact": True}]]
        assert (await desk.chat(li))["reply_keyboard"] is None

    async def test_asks_for_one_reply(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        await bot.send_message(li, "a", reply_markup=ForceReply())
        assert (await desk.chat(li))["reply_keyboard"] == {"force_reply": True}
        await desk.act(li, "say", text="here")
        assert (await desk.chat(li))["reply_keyboard"] is None


class TestAnEdit:
    async def test_takes_the_keyboard_away_and_is_refused_twice(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        sent = await bot.send_message(li, "a", reply_markup=keyboard("x"))
        edited = await bot.edit_message_text("b", li, sent.message_id)
        assert (edited.text, edited.reply_markup, edited.edit_date is None) == ("b", None, False)
        with pytest.raises(BadRequest, match=NOT_MODIFIED):
            await bot.edit_message_text("b", li, sent.message_id)

    async def test_is_for_the_bots_own_messages_of_the_right_kind(
        self, desk: Desk, bot: Bot
    ) -> None:
        li = await desk.person()
        theirs = (await desk.chat(li))["messages"][0]["message_id"]
        photo = await bot.send_photo(li, png(30, 20), caption="old")
        text = await bot.send_message(li, "a")
        with pytest.raises(BadRequest, match="Message can't be edited"):
            await bot.edit_message_text("b", li, theirs)
        with pytest.raises(BadRequest, match="no text in the message to edit"):
            await bot.edit_message_text("b", li, photo.message_id)
        with pytest.raises(BadRequest, match="no caption in the message to edit"):
            await bot.edit_message_caption(li, text.message_id, caption="b")
        changed = await bot.edit_message_caption(li, photo.message_id, caption="new")
        assert changed.caption == "new"
        media = InputMediaPhoto(png(60, 20), caption="newer")
        changed = await bot.edit_message_media(media, li, photo.message_id)
        assert (changed.photo[-1].width, changed.caption) == (60, "newer")

    async def test_by_a_person_reaches_the_bot(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        await desk.updates()
        await desk.act(li, "say", text="1234")
        number = (await desk.chat(li))["messages"][-1]["message_id"]
        await desk.act(li, "edit", message_id=number, text="1235")
        first, second = await bot.get_updates()
        assert (first.message.text, second.edited_message.text) == ("1234", "1235")
        assert second.edited_message.message_id == first.message.message_id


class TestAMessage:
    async def test_answers_another(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        first = await bot.send_message(li, "a")
        second = await bot.send_message(li, "b", reply_parameters=ReplyParameters(first.id))
        lost = ReplyParameters(1, allow_sending_without_reply=True)
        third = await bot.send_message(li, "c", reply_parameters=lost)
        assert (second.reply_to_message.text, third.reply_to_message) == ("a", None)

    async def test_is_forwarded_and_deleted(self, desk: Desk, bot: Bot) -> None:
        li, wang = await desk.person("Li"), await desk.person("Wang")
        first = await bot.send_message(
            li, "<b>a</b>", parse_mode="HTML", reply_markup=keyboard("x")
        )
        forwarded = await bot.forward_message(wang, li, first.message_id)
        assert forwarded.forward_origin.sender_user.username == "water_bot"
        assert forwarded.entities == first.entities
        assert await bot.delete_message(wang, forwarded.message_id)
        assert len((await desk.chat(wang))["messages"]) == 1

    async def test_shows_typing_until_it_comes(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        assert await bot.send_chat_action(li, "typing")
        before = (await desk.chat(li))["typing"]
        await bot.send_message(li, "a")
        assert (before, (await desk.chat(li))["typing"]) == (True, False)


class TestAFile:
    @pytest.mark.parametrize("content", HEADS.values(), ids=HEADS)
    async def test_is_a_photo_in_several_sizes(self, desk: Desk, bot: Bot, content: bytes) -> None:
        li = await desk.person()
        sent = await bot.send_photo(li, content, caption="水 <3")
        sizes = [(size.width, size.height) for size in sent.photo]
        assert sizes == [(90, 60), (300, 200)]
        got = await (await bot.get_file(sent.photo[-1])).download_as_bytearray()
        assert got == content
        again = await bot.send_photo(li, sent.photo[0].file_id)
        assert again.photo[-1].file_unique_id == sent.photo[-1].file_unique_id

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (png(9000, 1001), "Photo_invalid_dimensions"),
            (png(2100, 100), "Photo_invalid_dimensions"),
            (b"no picture", "Image_process_failed"),
            (b"\xff\xd8\xff", "Image_process_failed"),
            (b"", "File must be non-empty"),
        ],
    )
    async def test_is_no_photo(self, desk: Desk, bot: Bot, content: bytes, words: str) -> None:
        li = await desk.person()
        with pytest.raises(BadRequest, match=words):
            await bot.send_photo(li, content)

    async def test_keeps_its_name_and_bytes_as_a_document(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        sent = await bot.send_document(li, b"%PDF-1.7", filename="账单 1.pdf")
        document = sent.document
        assert (document.file_name, document.mime_type) == ("账单 1.pdf", "application/pdf")
        file = await bot.get_file(document)
        assert bytes(await file.download_as_bytearray()) == b"%PDF-1.7"
        url = f"{desk.url}/play/api/file/{document.file_unique_id}"
        async with desk.http.get(url) as answer:
            assert await answer.read() == b"%PDF-1.7"
            assert answer.headers["Content-Disposition"].startswith("attachment")
        with pytest.raises(BadRequest, match="Can't use file of type document as photo"):
            await bot.send_photo(li, document.file_id)

    async def test_comes_in_albums(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        album = [InputMediaPhoto(png(30, 20), caption="a"), InputMediaPhoto(png(20, 30))]
        sent = await bot.send_media_group(li, album)
        assert len({message.media_group_id for message in sent}) == 1
        assert [message.caption for message in sent] == ["a", None]
        mixed = [album[0], InputMediaDocument(b"x")]
        with pytest.raises(BadRequest, match="Document can't be mixed with other media types"):
            await bot.send_media_group(li, mixed)

    async def test_is_refused_beyond_telegrams_sizes(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        big = await bot.send_document(li, b"x" * (20 * 1024 * 1024 + 1))
        with pytest.raises(BadRequest, match="File is too big"):
            await bot.get_file(big.document)
        url = f"{desk.url}/bot{TOKEN}/sendDocument?chat_id={li}"
        form = aiohttp.FormData()
        form.add_field("document", io.BytesIO(b"x" * (53 * 1024 * 1024)), filename="big")
        async with desk.http.post(url, data=form) as answer:
            assert (answer.status, (await answer.json())["description"]) == (
                413,
                "Request Entity Too Large",
            )

    async def test_from_a_person_reaches_the_bot(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        await desk.updates()
        for kind in ("photo", "document", "voice", "video"):
            form = aiohttp.FormData({"kind": kind, "caption": f"my {kind}"})
            form.add_field("file", png(30, 20), filename="a.png", content_type="image/png")
            url = f"{desk.url}/play/api/people/{li}/send_file"
            async with desk.http.post(url, data=form) as answer:
                assert answer.status == 200, await answer.text()
        photo, document, voice, video = [u.message for u in await bot.get_updates()]
        assert photo.photo[-1].width == 30
        assert (document.document.file_name, document.caption) == ("a.png", "my document")
        assert (voice.voice.mime_type, video.caption) == ("image/png", "my video")


class TestTheBot:
    async def test_knows_itself_and_its_chats(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person("Li", username="li_na")
        me, chat = await bot.get_me(), await bot.get_chat(li)
        assert (me.username, me.is_bot, chat.username) == ("water_bot", True, "li_na")
        assert await bot.set_my_name("水务") and await bot.set_my_name("Water", language_code="en")
        assert await bot.set_my_description("Bills") and await bot.set_my_short_description("B")
        assert (await bot.get_my_name()).name == "水务"
        assert (await bot.get_my_description(language_code="ru")).description == "Bills"
        assert (await desk.page("GET", "state"))["bot"]["short_description"] == "B"

    async def test_shows_each_person_the_closest_menu(self, desk: Desk, bot: Bot) -> None:
        li, wang = await desk.person(language_code="zh-hans"), await desk.person()
        scopes = [
            (None, None, "default"),
            (BotCommandScopeAllPrivateChats(), None, "private"),
            (BotCommandScopeAllPrivateChats(), "zh", "private_zh"),
            (BotCommandScopeChat(wang), None, "wang"),
        ]
        for scope, language, name in scopes:
            command = BotCommand(name, "text")
            await bot.set_my_commands([command], scope=scope, language_code=language)

        async def menu(person: int) -> list[str]:
            listed = await desk.page("GET", f"people/{person}/commands")
            return [command["command"] for command in listed]

        assert (await menu(li), await menu(wang)) == (["private_zh"], ["wang"])
        assert await bot.delete_my_commands(scope=BotCommandScopeChat(wang))
        assert await bot.delete_my_commands(scope=BotCommandScopeAllPrivateChats())
        assert await menu(wang) == ["default"]
        assert [c.command for c in await bot.get_my_commands()] == ["default"]
        assert await bot.get_my_commands(language_code="zh") == ()
