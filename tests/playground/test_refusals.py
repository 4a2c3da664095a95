"""Every refusal in Telegram's own words."""

import json

import aiohttp
import pytest

from tests.playground.conftest import TOKEN, Desk

STRANGER = "1:playground"
KEY = {"text": "a", "callback_data": "x"}


def inline(*buttons: object) -> dict[str, object]:
    return {"inline_keyboard": [list(buttons)]}


def invoice(**changes: object) -> dict[str, object]:
    """A good invoice, with some fields changed."""
    good = {
        "title": "Water",
        "description": "November",
        "payload": "bill-1",
        "currency": "CNY",
        "provider_token": "1:TEST:abc",
        "prices": [{"label": "12 m³", "amount": 3456}],
    }
    return good | changes


SEND = {
    "no text": ({}, "message text is empty"),
    "white space": ({"text": " \n "}, "text must be non-empty"),
    "long": ({"text": "水" * 4097}, "message is too long"),
    "very long": ({"text": "x" * 32769}, "text is too long"),
    "mode": ({"text": "a", "parse_mode": "rtf"}, "unsupported parse_mode"),
    "data": (
        {"text": "a", "reply_markup": inline({"text": "a", "callback_data": "水" * 22})},
        "BUTTON_DATA_INVALID",
    ),
    "no action": (
        {"text": "a", "reply_markup": inline({"text": "a"})},
        "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
    ),
    "no label": (
        {"text": "a", "reply_markup": inline(KEY | {"text": ""})},
        "inline keyboard button text must be non-empty",
    ),
    "local link": (
        {"text": "a", "reply_markup": inline({"text": "a", "url": "http://localhost:8000/x"})},
        "inline keyboard button URL 'http://localhost:8000/x' is invalid: Wrong HTTP URL",
    ),
    "plain web app": (
        {"text": "a", "reply_markup": inline({"text": "a", "web_app": {"url": "http://a.cn"}})},
        "inline keyboard button Web App URL 'http://a.cn' is invalid: Only HTTPS links are allowed",
    ),
    "odd protocol": (
        {"text": "a", "reply_markup": inline({"text": "a", "url": "ftp://a.cn"})},
        "inline keyboard button URL 'ftp://a.cn' is invalid: Unsupported URL protocol",
    ),
    "text for a button": (
        {"text": "a", "reply_markup": inline("a")},
        "can't parse inline keyboard button: InlineKeyboardButton must be an Object",
    ),
    "one row": (
        {"text": "a", "reply_markup": {"inline_keyboard": [KEY]}},
        'field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays',
    ),
    "nine in a row": ({"text": "a", "reply_markup": inline(*[KEY] * 9)}, "REPLY_MARKUP_INVALID"),
    "long copy": (
        {"text": "a", "reply_markup": inline({"text": "a", "copy_text": {"text": "a" * 257}})},
        "BUTTON_COPY_TEXT_INVALID",
    ),
    "long placeholder": (
        {"text": "a", "reply_markup": {"keyboard": [["a"]], "input_field_placeholder": "a" * 65}},
        "REPLY_MARKUP_PLACEHOLDER_INVALID",
    ),
    "odd key": (
        {"text": "a", "reply_markup": {"keyboard": [[5]]}},
        "can't parse keyboard button: KeyboardButton must be a String or an Object",
    ),
    "101 buttons": (
        {"text": "a", "reply_markup": {"inline_keyboard": [[KEY]] * 101}},
        "reply markup is too long",
    ),
    "not JSON": (
        {"text": "a", "reply_markup": "{"},
        "can't parse reply keyboard markup JSON object",
    ),
    "a list": ({"text": "a", "reply_markup": "[]"}, "object expected as reply markup"),
    "empty key": (
        {"text": "a", "reply_markup": {"keyboard": [[""]]}},
        "keyboard button text must be non-empty",
    ),
    "lost reply": (
        {"text": "a", "reply_parameters": {"message_id": 1}},
        "message to be replied not found",
    ),
}
OTHERS = {
    "unknown message": (
        "editMessageText",
        {"text": "a", "message_id": 1},
        "message to edit not found",
    ),
    "odd button": (
        "sendMessage",
        {"text": "a", "reply_markup": inline({"text": "a", "web_app": 5})},
        """can't parse the parameters: AttributeError("'int' object has no attribute 'get'")""",
    ),
    "no message": ("editMessageText", {"text": "a"}, "message identifier is not specified"),
    "reply keyboard in an edit": (
        "editMessageReplyMarkup",
        {"message_id": 1, "reply_markup": {"keyboard": [["a"]]}},
        "inline keyboard expected",
    ),
    "delete": ("deleteMessage", {"message_id": 1}, "message to delete not found"),
    "action": ("sendChatAction", {"action": "sleep"}, "wrong parameter action in request"),
    "no photo": ("sendPhoto", {}, "there is no photo in the request"),
    "no document": ("sendDocument", {}, "there is no document in the request"),
    "by URL": ("sendPhoto", {"photo": "https://a.cn/a.png"}, "failed to get HTTP URL content"),
    "wrong id": (
        "sendPhoto",
        {"photo": "AgACx"},
        "wrong remote file identifier specified: can't unserialize it. Wrong string",
    ),
    "long caption": ("sendPhoto", {"caption": "x" * 1025}, "message caption is too long"),
    "no file id": ("getFile", {}, "file_id not specified"),
    "lost file": (
        "getFile",
        {"file_id": "BQAC1-0"},
        "wrong file_id or the file is temporarily unavailable",
    ),
    "late press": (
        "answerCallbackQuery",
        {"callback_query_id": "1"},
        "query is too old and response timeout expired or query ID is invalid",
    ),
    "late payment": (
        "answerPreCheckoutQuery",
        {"pre_checkout_query_id": "1", "ok": True},
        "query is too old and response timeout expired or query ID is invalid",
    ),
    "refusal without words": (
        "answerPreCheckoutQuery",
        {"pre_checkout_query_id": "1", "ok": False},
        'parameter "error_message" is required',
    ),
    "big album": (
        "sendMediaGroup",
        {"media": [{"type": "photo", "media": "x"}] * 11},
        "too many messages to send as an album",
    ),
    "command": (
        "setMyCommands",
        {"commands": [{"command": "Pay", "description": "x"}]},
        "BOT_COMMAND_INVALID",
    ),
    "scope": (
        "setMyCommands",
        {"commands": [], "scope": {"type": "planet"}},
        "can't parse BotCommandScope: Unsupported type specified",
    ),
    "language": (
        "setMyCommands",
        {"commands": [], "language_code": "zh-hans"},
        "invalid language code specified",
    ),
    "provider": ("sendInvoice", invoice(provider_token=""), "PAYMENT_PROVIDER_INVALID"),
    "currency": ("sendInvoice", invoice(currency="yuan"), "CURRENCY_INVALID"),
    "nothing to pay": (
        "sendInvoice",
        invoice(prices=[{"label": "a", "amount": 0}]),
        "CURRENCY_TOTAL_AMOUNT_INVALID",
    ),
    "no price": ("sendInvoice", invoice(prices=[]), "there must be at least one price"),
    "first button": ("sendInvoice", invoice(reply_markup=inline(KEY)), "REPLY_MARKUP_BUY_EMPTY"),
    "payload": ("sendInvoice", invoice(payload="水" * 43), "INVOICE_PAYLOAD_INVALID"),
    "title": ("sendInvoice", invoice(title="a" * 33), "MEDIA_INVALID"),
    "two prices in Stars": (
        "sendInvoice",
        invoice(currency="XTR", provider_token="", prices=[{"label": "a", "amount": 1}] * 2),
        "STARS_INVOICE_INVALID",
    ),
    "real money without a provider's token": (
        "sendInvoice",
        invoice(provider_token="abc"),  # noqa: S106 - nobody's token
        "PAYMENT_PROVIDER_INVALID",
    ),
    "broken price": (
        "sendInvoice",
        invoice(prices=[{"label": "a", "amount": "x"}]),
        'can\'t parse labeled price: Field "amount" must be of type Number or String',
    ),
    "big tip": (
        "sendInvoice",
        invoice(suggested_tip_amounts=[5], max_tip_amount=4),
        "suggested tip amount can't be bigger than max_tip_amount",
    ),
    "lost forward": ("forwardMessage", {"from_chat_id": "self"}, "message to forward not found"),
    "mixed inline id": (
        "editMessageReplyMarkup",
        {"inline_message_id": "x"},
        "MESSAGE_ID_INVALID",
    ),
    "short album": (
        "sendMediaGroup",
        {"media": [{"type": "photo", "media": "x"}]},
        "MEDIA_EMPTY",
    ),
    "commands": (
        "setMyCommands",
        {"commands": [{"command": "pay", "description": "x"}] * 101},
        "BOT_COMMANDS_TOO_MUCH",
    ),
    "short description": (
        "setMyShortDescription",
        {"short_description": "x" * 121},
        "BOT_SHORT_DESCRIPTION_TOO_LONG",
    ),
    "tips": (
        "sendInvoice",
        invoice(suggested_tip_amounts=[1, 2, 3, 4, 5], max_tip_amount=9),
        "there can be at most 4 suggested tip amounts",
    ),
    "webhook address": ("setWebhook", {"url": "ftp://a"}, "invalid webhook URL specified"),
    "webhook secret": (
        "setWebhook",
        {"url": "http://127.0.0.1:1/", "secret_token": "ä"},
        "secret token contains unallowed characters",
    ),
    "long secret": (
        "setWebhook",
        {"url": "http://127.0.0.1:1/", "secret_token": "a" * 257},
        "secret token is too long",
    ),
    "plain webhook": (
        "setWebhook",
        {"url": "http://example.org/"},
        "bad webhook: An HTTPS URL must be provided for webhook",
    ),
    "webhook port": (
        "setWebhook",
        {"url": "https://example.org:81/"},
        "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443",
    ),
}


class TestASentMessage:
    @pytest.mark.parametrize(("params", "words"), SEND.values(), ids=SEND)
    async def test_is_refused(self, desk: Desk, params: dict[str, object], words: str) -> None:
        li = await desk.person()

        refusal = await desk.call("sendMessage", chat_id=li, status=400, **params)

        assert refusal == f"Bad Request: {words}"
        assert len((await desk.chat(li))["messages"]) == 1


class TestACall:
    @pytest.mark.parametrize(("method", "params", "words"), OTHERS.values(), ids=OTHERS)
    async def test_is_refused(
        self, desk: Desk, method: str, params: dict[str, object], words: str
    ) -> None:
        li = await desk.person()
        params = {"chat_id": li} | params
        if "from_chat_id" in params:
            params["from_chat_id"] = li

        assert await desk.call(method, status=400, **params) == f"Bad Request: {words}"

    async def test_needs_the_right_token_and_method(self, desk: Desk) -> None:
        assert await desk.call("getMe", token=STRANGER, status=401) == "Unauthorized"
        assert await desk.call("getMoon", status=404) == "Not Found: method not found"
        async with desk.http.get(f"{desk.url}/moon") as answer:
            assert (answer.status, (await answer.json())["description"]) == (404, "Not Found")

    @pytest.mark.parametrize("way", ["query", "form", "JSON", "multipart"])
    async def test_takes_parameters_in_four_ways(self, desk: Desk, way: str) -> None:
        li = await desk.person()
        url = f"{desk.url}/bot{TOKEN}/SENDmessage"
        params = {"chat_id": str(li), "text": "早", "reply_markup": json.dumps(inline(KEY))}
        given = {
            "query": {"params": params},
            "form": {"data": params},
            "JSON": {"json": params | {"reply_markup": inline(KEY)}},
            "multipart": {"data": _multipart(params)},
        }[way]

        async with desk.http.post(url, **given) as answer:
            message = (await answer.json())["result"]

        assert (message["text"], message["reply_markup"]) == ("早", inline(KEY))


def _multipart(params: dict[str, str]):
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in params.items():
        form.add_field(name, value)
    return form


class TestAChat:
    async def test_is_not_found_for_strangers_and_the_silent(self, desk: Desk) -> None:
        silent = await desk.person(started=False)
        scope = {"type": "chat", "chat_id": silent}

        for chat in (silent, 1, -100123, "@nobody"):
            refusal = await desk.call("sendMessage", chat_id=chat, text="a", status=400)
            assert refusal == "Bad Request: chat not found"
        refusal = await desk.call("setMyCommands", commands=[], scope=scope, status=400)
        assert refusal == "Bad Request: chat not found"
        empty = await desk.call("sendMessage", text="a", status=400)
        assert empty == "Bad Request: chat_id is empty"

    async def test_is_forbidden_for_the_blocked_the_gone_and_bots(self, desk: Desk) -> None:
        li, gone = await desk.person(), await desk.person()
        await desk.act(li, "block", blocked=True)
        await desk.page("PATCH", f"people/{gone}", deactivated=True)
        words = {
            li: "bot was blocked by the user",
            gone: "user is deactivated",
            4242: "bot can't send messages to bots",
        }

        for chat, expected in words.items():
            refusal = await desk.call("sendMessage", chat_id=chat, text="a", status=403)
            assert refusal == f"Forbidden: {expected}"
