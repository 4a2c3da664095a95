"""Telegram: the client, what an update says, and how an outgoing message is sent."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import structlog
from telegram import (
    Bot,
    BotCommandScopeChat,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputFile,
    KeyboardButton,
    LabeledPrice,
    Message,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
    Update,
)
from telegram.constants import ParseMode
from telegram.error import BadRequest, NetworkError, TelegramError, TimedOut
from telegram.request import BaseRequest, RequestData

from bot.context import Paid, Said
from bot.outgoing import Keyboard, Outgoing

log = structlog.get_logger()

POP_UP_MAX = 200
READ_SECONDS = 20
NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class NotSent(NetworkError):
    """The request did not reach the server, so it may be sent again."""


class Transport(BaseRequest):
    """The bot library's HTTP transport on aiohttp, several times faster than its own."""

    def __init__(self, *, connections: int = 20) -> None:
        self._connections = connections
        self._client: aiohttp.ClientSession | None = None

    @property
    def read_timeout(self) -> float | None:
        """How long an answer may take. Units: seconds."""
        return READ_SECONDS

    async def initialize(self) -> None:
        """Open the pool of connections."""
        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections)
            )

    async def shutdown(self) -> None:
        """Close the pool of connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def do_request(  # noqa: PLR0917 (the library's signature)
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: Any = BaseRequest.DEFAULT_NONE,  # noqa: ANN401 (the library's signature)
        write_timeout: Any = BaseRequest.DEFAULT_NONE,  # noqa: ANN401, ARG002 (the same)
        connect_timeout: Any = BaseRequest.DEFAULT_NONE,  # noqa: ANN401, ARG002 (the same)
        pool_timeout: Any = BaseRequest.DEFAULT_NONE,  # noqa: ANN401, ARG002 (the same)
    ) -> tuple[int, bytes]:
        """Send one request and return the status and the body."""
        await self.initialize()
        assert self._client is not None  # noqa: S101 (initialize made it)
        seconds = READ_SECONDS if read_timeout is BaseRequest.DEFAULT_NONE else read_timeout
        body: aiohttp.FormData | dict[str, str] | None = None
        if request_data is not None:
            body = _form(request_data)
        try:
            async with self._client.request(
                method, url, data=body, timeout=aiohttp.ClientTimeout(total=seconds, connect=5)
            ) as response:
                return response.status, await response.read()
        except NOT_SENT as error:
            raise NotSent(f"not sent: {error}") from error
        except TimeoutError as error:
            raise TimedOut from error
        except aiohttp.ClientError as error:
            raise NetworkError(f"no answer: {type(error).__name__}") from error


def _form(request_data: RequestData) -> aiohttp.FormData | dict[str, str]:
    files = request_data.multipart_data
    if not files:
        return request_data.json_parameters
    form = aiohttp.FormData()
    for name, value in request_data.json_parameters.items():
        form.add_field(name, value)
    for name, (filename, content, media_type) in files.items():
        form.add_field(name, content, filename=filename, content_type=media_type)
    return form


def read_update(update: Update) -> Said | None:
    """Return what an update says, or nothing for those that are not a person's words."""
    if update.callback_query is not None:
        return _read_press(update.update_id, update.callback_query)
    if update.message is not None:
        return _read_message(update.update_id, update.message)
    edited = update.edited_message
    if edited is not None and (edited.text or edited.caption):
        return Said(update_id=update.update_id, is_edited=True)
    return None


def _read_press(update_id: int, query: CallbackQuery) -> Said:
    message_ref = query.message.message_id if query.message is not None else None
    return Said(update_id=update_id, data=query.data or ":", message_ref=message_ref)


def _read_message(update_id: int, message: Message) -> Said:
    text = message.text or message.caption or ""
    command, arguments = "", tuple[str, ...]()
    if text.startswith("/") and not message.caption:
        first, *rest = text.split()
        command, arguments = first[1:].split("@")[0].lower(), tuple(rest)
    photo_ref = message.photo[-1].file_id if message.photo else ""
    document = message.document
    if document is not None and (document.mime_type or "").startswith("image/"):
        photo_ref = document.file_id
    phone = ""
    sender = message.from_user
    contact = message.contact
    if contact is not None and sender is not None and contact.user_id == sender.id:
        phone = contact.phone_number
    place = None
    if message.location is not None:
        place = (str(message.location.latitude), str(message.location.longitude))
    paid = None
    if message.successful_payment is not None:
        payment = message.successful_payment
        paid = Paid(
            payload=payment.invoice_payload,
            currency=payment.currency,
            total_minor=payment.total_amount,
            charge_ref=payment.telegram_payment_charge_id,
        )
    return Said(
        update_id=update_id,
        text=text,
        command=command,
        arguments=arguments,
        message_ref=message.message_id,
        photo_ref=photo_ref,
        phone=phone,
        place=place,
        paid=paid,
        is_other=not (text or photo_ref or phone or place or paid),
    )


def markup(
    keyboard: Keyboard, reply_keys: Sequence[Sequence[Mapping[str, Any]]] | None = None
) -> InlineKeyboardMarkup | ReplyKeyboardMarkup | ReplyKeyboardRemove | None:
    """Return Telegram's form of inline buttons, or of the keys below the input field."""
    if keyboard:
        return InlineKeyboardMarkup(
            [
                [InlineKeyboardButton(button.text, callback_data=button.data) for button in row]
                for row in keyboard
            ]
        )
    if reply_keys is None:
        return None
    if not reply_keys:
        return ReplyKeyboardRemove()
    return ReplyKeyboardMarkup(
        [[KeyboardButton(**key) for key in row] for row in reply_keys],
        resize_keyboard=True,
        one_time_keyboard=True,
    )


async def send(
    bot: Bot,
    *,
    chat_id: str,
    outgoing: Outgoing,
    edit: int | None = None,
    silent: bool = False,
    provider_token: str = "",
) -> int | None:
    """
    Send or edit one message and return its id (none when only a menu was set).

    A message that can no longer be edited is sent anew; one that already says the same counts
    as sent.
    """
    if outgoing.invoice is not None and not provider_token:
        outgoing = replace(outgoing, invoice=None)  # its text says how else to pay
    if outgoing.commands is not None:
        await bot.set_my_commands(outgoing.commands, scope=BotCommandScopeChat(chat_id))
        return None
    if outgoing.document is None and outgoing.photo is None and outgoing.invoice is None:
        if edit is not None:
            edited = await _edit(bot, chat_id=chat_id, outgoing=outgoing, message_id=edit)
            if edited:
                return edit
        return await _send_text(bot, chat_id=chat_id, outgoing=outgoing, silent=silent)
    return await _send_file(
        bot, chat_id=chat_id, outgoing=outgoing, silent=silent, provider_token=provider_token
    )


async def _send_text(bot: Bot, *, chat_id: str, outgoing: Outgoing, silent: bool) -> int:
    if outgoing.photo_ref:
        message = await bot.send_photo(
            chat_id,
            outgoing.photo_ref,
            caption=outgoing.text,
            parse_mode=ParseMode.HTML,
            reply_markup=markup(outgoing.keyboard),
            disable_notification=silent,
        )
        return message.message_id
    message = await bot.send_message(
        chat_id,
        outgoing.text,
        parse_mode=ParseMode.HTML,
        reply_markup=markup(outgoing.keyboard, outgoing.reply_keys),
        disable_notification=silent,
    )
    return message.message_id


async def _edit(bot: Bot, *, chat_id: str, outgoing: Outgoing, message_id: int) -> bool:
    inline = markup(outgoing.keyboard)
    try:
        await bot.edit_message_text(
            outgoing.text,
            chat_id,
            message_id,
            parse_mode=ParseMode.HTML,
            reply_markup=inline if isinstance(inline, InlineKeyboardMarkup) else None,
        )
    except BadRequest as error:
        reason = str(error).lower()
        if "not modified" in reason:
            return True
        if "message to edit not found" in reason or "can't be edited" in reason:
            return False
        if "no text in the message" in reason:
            return False
        raise
    return True


async def _send_file(
    bot: Bot, *, chat_id: str, outgoing: Outgoing, silent: bool, provider_token: str
) -> int:
    inline = markup(outgoing.keyboard)
    if outgoing.invoice is not None:
        invoice = outgoing.invoice
        message = await bot.send_invoice(
            chat_id,
            title=invoice.title,
            description=invoice.description,
            payload=invoice.payload,
            currency=invoice.currency,
            prices=[LabeledPrice(*price) for price in invoice.prices],
            provider_token=provider_token,
            disable_notification=silent,
        )
        return message.message_id
    file = outgoing.document or outgoing.photo
    assert file is not None  # noqa: S101 (the caller saw one of them)
    content = InputFile(await asyncio.to_thread(file.make), filename=file.name)
    if outgoing.document is not None:
        message = await bot.send_document(
            chat_id,
            content,
            caption=outgoing.text,
            parse_mode=ParseMode.HTML,
            reply_markup=inline,
            disable_notification=silent,
        )
    else:
        message = await bot.send_photo(
            chat_id,
            content,
            caption=outgoing.text,
            parse_mode=ParseMode.HTML,
            reply_markup=inline,
            disable_notification=silent,
        )
    return message.message_id


def with_arguments(said: Said, *arguments: str) -> Said:
    """Return the same words as if they had been a command's arguments."""
    return replace(said, arguments=arguments)


async def answer_press(bot: Bot, query_id: str, *, text: str, alert: bool) -> None:
    """End a button's spinner with a toast or a dialog; it is no loss when it comes too late."""
    short = text if len(text) <= POP_UP_MAX else text[: POP_UP_MAX - 1] + "…"
    try:
        await bot.answer_callback_query(query_id, text=short or None, show_alert=alert)
    except TelegramError as error:
        log.info("press.not_answered", reason=str(error))
