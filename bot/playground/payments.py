"""Invoices and their payment: the bot's methods, and the sheet on which a person pays."""

import asyncio
import re
import secrets
import time
from typing import Final

from bot.playground import people
from bot.playground.account import Account, as_user
from bot.playground.keyboards import read_markup
from bot.playground.messages import TOO_OLD
from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal, require

STARS: Final = "XTR"
LARGEST_AMOUNT: Final = 10**12
TITLE: Final = 32
DESCRIPTION: Final = 255
PAYLOAD_BYTES: Final = 128
MOST_TIPS: Final = 4
ORDER_INFO: Final = {"name": "first_name", "phone_number": "phone", "email": "email"}


def read_invoice(_: Account, params: Params) -> Json:
    """Read an invoice, with what is kept beside it."""
    title, description = params.required("title"), params.required("description")
    payload, currency = params.required("payload"), params.required("currency")
    require(len(title) <= TITLE and len(description) <= DESCRIPTION, "MEDIA_INVALID")
    require(len(payload.encode()) <= PAYLOAD_BYTES, "INVOICE_PAYLOAD_INVALID")
    prices = _prices(params)
    total = sum(price["amount"] for price in prices)
    _check_payment(currency, params.text("provider_token"), prices)
    require(0 < total < LARGEST_AMOUNT, "CURRENCY_TOTAL_AMOUNT_INVALID")
    _check_tips(params)
    # The playground has no addresses.
    require(not params.flag("is_flexible"), "SHIPPING_NOT_SUPPORTED")
    return {
        "invoice": {
            "title": title,
            "description": description,
            "start_parameter": params.text("start_parameter"),
            "currency": currency,
            "total_amount": total,
        },
        "reply_markup": _pay_keyboard(params, total, currency),
        "invoice_paid": False,
        "payload": payload,
        "needs": [name for name in ORDER_INFO if params.flag(f"need_{name}")],
        "prices": prices,
    }


def _prices(params: Params) -> list[Json]:
    items = params.document("prices")
    is_list = isinstance(items, list)
    require(is_list, "can't parse prices JSON object: Expected an Array of labeled prices")
    require(items, "there must be at least one price")
    prefix = "can't parse labeled price: "
    labelled = all(item.get("label") for item in items)
    require(labelled, prefix + "LabeledPrice label must be non-empty")
    try:
        return [{"label": item["label"], "amount": int(item["amount"])} for item in items]
    except (KeyError, TypeError, ValueError):
        raise Refusal(prefix + 'Field "amount" must be of type Number or String') from None


def _check_payment(currency: str, token: str, prices: list[Json]) -> None:
    require(re.fullmatch(r"[A-Z]{3}", currency), "CURRENCY_INVALID")
    if currency == STARS:
        require(len(prices) == 1, "STARS_INVOICE_INVALID")
    provider = "" if currency == STARS else r"\d+:(?:TEST|LIVE):\S+"
    require(re.fullmatch(provider, token), "PAYMENT_PROVIDER_INVALID")


def _check_tips(params: Params) -> None:
    tips = [int(tip) for tip in params.document("suggested_tip_amounts") or []]
    require(len(tips) <= MOST_TIPS, "there can be at most 4 suggested tip amounts")
    require(all(tip > 0 for tip in tips), "suggested tip amount must be positive")
    small = all(tip <= params.number("max_tip_amount") for tip in tips)
    require(small, "suggested tip amount can't be bigger than max_tip_amount")


def _pay_keyboard(params: Params, total: int, currency: str) -> Json:
    markup = read_markup(params, inline_only=True)
    if markup is None:
        amount = f"⭐{total}" if currency == STARS else f"{total / 100:.2f} {currency}"
        return {"inline_keyboard": [[{"text": f"Pay {amount}", "pay": True}]]}
    require("pay" in markup["inline_keyboard"][0][0], "REPLY_MARKUP_BUY_EMPTY")
    return markup


def answer_pre_checkout(account: Account, params: Params) -> bool:
    """Answer answerPreCheckoutQuery, if it comes in time."""
    words = "" if params.flag("ok") else params.required("error_message")
    waiting = account.checkouts.get(params.text("pre_checkout_query_id"))
    if waiting is None or waiting.done():
        raise Refusal(TOO_OLD)
    waiting.set_result(words)
    return True


def find_invoice(account: Account, person: Json, message_id: int) -> Json:
    """Find the invoice that a person wants to pay."""
    message = account.message(person["id"], message_id)
    if message is None or "invoice" not in message:
        raise Refusal("this message is no invoice", code=409)
    return message


async def pay(
    account: Account, person: Json, message: Json, sheet_id: str, *, declined: bool
) -> Json:
    """Ask the bot whether the payment may go on, wait, and carry it out."""
    require(not person["blocked"], people.BLOCKED, code=409)
    idle = sheet_id not in account.paying
    require(idle, "the payment is under way", code=409)
    account.paying.add(sheet_id)
    try:
        state, words = await _ask(account, person, message, sheet_id)
    finally:
        account.paying.discard(sheet_id)
    if state == "paid" and declined:
        state = "declined"
    if state == "paid":
        _receive(account, person, message)
    extra = {"error_message": words} if words else {}
    return show(account, message, sheet_id, state=state, **extra)


def show(account: Account, message: Json, sheet_id: str, **fields: object) -> Json:
    """Tell the page how a payment stands; answer with the same."""
    ids = {"person_id": message["chat"]["id"], "message_id": message["message_id"]}
    account.events.publish("checkout", **ids, query_id=sheet_id, **fields)
    return {"query_id": sheet_id, **fields}


async def _ask(account: Account, person: Json, message: Json, sheet_id: str) -> tuple[str, str]:
    """Send the pre-checkout query; say how it ended, with the bot's words if it refused."""
    seconds, query_id = account.options.checkout_seconds, people.new_id()
    waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    account.checkouts[query_id] = waiting
    query = {"id": query_id, "from": as_user(person), **_order(person, message)}
    show(account, message, sheet_id, state="asked", deadline=time.time() + seconds)
    account.updates.add("pre_checkout_query", query, lane=f"payment:{person['id']}")
    try:
        words = await asyncio.wait_for(waiting, timeout=seconds)
    except TimeoutError:
        return "expired", ""
    finally:
        del account.checkouts[query_id]
    return ("refused", words) if words else ("paid", "")


def _receive(account: Account, person: Json, message: Json) -> None:
    """Write the successful payment into the chat and mark the invoice."""
    now = account.message(person["id"], message["message_id"])
    if now is not None:
        account.save_message(now | {"invoice_paid": True})
    payment = _order(person, message) | {
        "telegram_payment_charge_id": f"playground_{secrets.token_hex(8)}",
        "provider_payment_charge_id": f"test_{secrets.token_hex(8)}",
    }
    people.send(account, person, {"successful_payment": payment})


def _order(person: Json, message: Json) -> Json:
    """Describe what is paid, as the query and the receipt tell it."""
    names = message["needs"]
    info = {name: str(person.get(ORDER_INFO[name]) or "playground@example.org") for name in names}
    return {
        "currency": message["invoice"]["currency"],
        "total_amount": message["invoice"]["total_amount"],
        "invoice_payload": message["payload"],
        **({"order_info": info} if info else {}),
    }
