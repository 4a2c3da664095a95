"""The real python-telegram-bot against the playground: people write, the bot answers."""

import asyncio

from aiohttp import web
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.ext import Application, CallbackQueryHandler, CommandHandler, ContextTypes

from tests.playground.conftest import TOKEN, Desk, listening


async def greet(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    button = InlineKeyboardButton("Yes", callback_data="yes")
    await update.message.reply_html(
        f"Hello <b>{update.message.from_user.first_name}</b>",
        reply_markup=InlineKeyboardMarkup([[button]]),
    )


async def confirm(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    await update.callback_query.answer("Done", show_alert=True)
    await update.callback_query.edit_message_text("Thank you")


def application(desk: Desk) -> Application:
    built = (
        Application.builder()
        .token(TOKEN)
        .base_url(f"{desk.url}/bot")
        .base_file_url(f"{desk.url}/file/bot")
        .build()
    )
    built.add_handler(CommandHandler("start", greet))
    built.add_handler(CallbackQueryHandler(confirm))
    return built


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - the far side has no event
            await asyncio.sleep(0.02)


async def talk(desk: Desk) -> None:
    """Start, press the button, and see the message change."""
    li = await desk.person("Li")

    async def answered() -> bool:
        return len((await desk.chat(li))["messages"]) == 2

    await until(answered)
    message = (await desk.chat(li))["messages"][1]
    assert message["entities"] == [{"type": "bold", "offset": 6, "length": 2}]
    assert message["out"] is False
    async with desk.events() as event:
        pressed = await desk.act(li, "press", message_id=message["message_id"], row=0, col=0)
        toast = await event("toast", query_id=pressed["query_id"])
        assert (toast["text"], toast["show_alert"]) == ("Done", True)
        edited = (await event("edit", person_id=li))["message"]
    assert edited["text"] == "Thank you"
    assert "reply_markup" not in edited


class TestApplication:
    async def test_talks_by_polling(self, desk: Desk) -> None:
        app = application(desk)
        async with app:
            await app.start()
            await app.updater.start_polling(drop_pending_updates=True)
            await talk(desk)
            await app.updater.stop()
            await app.stop()

        assert await desk.call("getUpdates") == []

    async def test_talks_by_webhook(self, desk: Desk) -> None:
        app = application(desk)

        async def receive(request: web.Request) -> web.Response:
            assert request.headers["X-Telegram-Bot-Api-Secret-Token"] == "s3cret"
            await app.update_queue.put(Update.de_json(await request.json(), app.bot))
            return web.Response()

        async with app, listening(receive) as url:
            await app.start()
            assert await app.bot.set_webhook(url, secret_token="s3cret")  # noqa: S106 - not a secret
            await talk(desk)
            await app.stop()
            assert (await app.bot.get_webhook_info()).pending_update_count == 0
