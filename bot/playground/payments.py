"""Invoices and their payment: the bot's methods, and the sheet on which a person pays."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from typing import Final

from bot.playground.account import Account, as_user
from bot.playground.edits import TOO_OLD
from bot.playground.keyboards import read_markup
from bot.playground.messages import deliver
from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal

STARS: Final = "XTR"
LARGEST_AMOUNT: Final = 10**12
MOST_TIPS: Final = 4
ORDER_INFO: Final = {"name": "first_name", "phone_number": "phone", "email": "email"}


def send_invoice(account: Account, params: Params) -> Json:
    """Answer sendInvoice."""
    texts = {name: params.required(name) for name in ("title", "description", "payload")}
    currency, token = params.required("currency"), params.text("provider_token")
    _check_texts(texts)
    prices = _prices(params)
    _check_payment(currency, token, prices)
    _check_tips(params)
    if params.flag("is_flexible"):
        raise Refusal("SHIPPING_NOT_SUPPORTED")  # the playground has no addresses
    total = sum(price["amount"] for price in prices)
    invoice = {
        "title": texts["title"],
        "description": texts["description"],
        "start_parameter": params.text("start_parameter"),
        "currency": currency,
        "total_amount": total,
    }
    needs = [name for name in ORDER_INFO if params.flag(f"need_{name}")]
    return deliver(
        account,
        params,
        {"invoice": invoice},
        markup=_pay_keyboard(params, total, currency),
        payload=texts["payload"],
        needs=needs,
        prices=prices,
    )


def _check_texts(texts: Json) -> None:
    if len(texts["title"]) > 32 or len(texts["description"]) > 255:  # noqa: PLR2004 - Telegram's
        raise Refusal("MEDIA_INVALID")
    if len(texts["payload"].encode()) > 128:  # noqa: PLR2004 - Telegram's bytes
        raise Refusal("INVOICE_PAYLOAD_INVALID")


def _prices(params: Params) -> list[Json]:
    items = params.document("prices")
    if not isinstance(items, list):
        raise Refusal("can't parse prices JSON object: Expected an Array of labeled prices")
    if not items:
        raise Refusal("there must be at least one price")
    prefix = "can't parse labeled price: "
    for item in items:
        if not isinstance(item, dict):
            raise Refusal(prefix + "LabeledPrice must be an Object")
        if not item.get("label"):
            raise Refusal(prefix + "LabeledPrice label must be non-empty")
    try:
        return [{"label": item["label"], "amount": int(item["amount"])} for item in items]
    except (KeyError, TypeError, ValueError):
        raise Refusal(prefix + 'Field "amount" must be of type Number or String') from None


def _check_payment(currency: str, token: str, prices: list[Json]) -> None:
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise Refusal("CURRENCY_INVALID")
    if currency == STARS and len(prices) > 1:
        raise Refusal("STARS_INVOICE_INVALID")
    if bool(token) == (currency == STARS):
        raise Refusal("PAYMENT_PROVIDER_INVALID")
    if token and not re.fullmatch(r"\d+:(?:TEST|LIVE):\S+", token):
        raise Refusal("PAYMENT_PROVIDER_INVALID")
    if not 0 < sum(price["amount"] for price in prices) < LARGEST_AMOUNT:
        raise Refusal("CURRENCY_TOTAL_AMOUNT_INVALID")


def _check_tips(params: Params) -> None:
    tips = params.document("suggested_tip_amounts") or []
    most = params.number("max_tip_amount")
    if len(tips) > MOST_TIPS:
        raise Refusal("there can be at most 4 suggested tip amounts")
    for tip in tips:
        if int(tip) <= 0:
            raise Refusal("suggested tip amount must be positive")
        if int(tip) > most:
            raise Refusal("suggested tip amount can't be bigger than max_tip_amount")


def _pay_keyboard(params: Params, total: int, currency: str) -> Json:
    markup = read_markup(params, inline_only=True)
    if markup is None:
        label = f"Pay {total / 100:.2f} {currency}" if currency != STARS else f"Pay ⭐{total}"
        return {"inline_keyboard": [[{"text": label, "pay": True}]]}
    if "pay" not in markup["inline_keyboard"][0][0]:
        raise Refusal("REPLY_MARKUP_BUY_EMPTY")
    return markup


def answer_pre_checkout(account: Account, params: Params) -> bool:
    """Answer answerPreCheckoutQuery, if it comes in time."""
    ok, words = params.flag("ok"), params.text("error_message")
    if not ok:
        words = params.required("error_message")
    waiting = account.checkouts.get(params.text("pre_checkout_query_id"))
    if waiting is None or waiting.done():
        raise Refusal(TOO_OLD)
    waiting.set_result("" if ok else words)
    return True


class NotPayable(Exception):
    """The message on which a person wants to pay has no invoice, or is being paid already."""


def open_sheet(account: Account, person: Json, message_id: int) -> str:
    """Open a payment sheet; answer with its id."""
    entry = account.entry(person["id"], message_id)
    if entry is None or "invoice" not in entry["message"]:
        raise NotPayable("this message is no invoice")
    sheet_id = _new_id()
    account.store.put("sheet", sheet_id, {"person_id": person["id"], "message_id": message_id})
    return sheet_id


async def pay(account: Account, person: Json, sheet_id: str, *, declined: bool) -> Json:
    """Ask the bot whether the payment may go on, wait, and carry it out."""
    sheet: Json | None = account.store.get("sheet", sheet_id)
    if sheet is None or sheet["person_id"] != person["id"]:
        raise NotPayable("this payment sheet is closed")
    entry = account.entry(person["id"], sheet["message_id"])
    if entry is None:
        raise NotPayable("the invoice is gone")
    if sheet_id in account.paying:
        raise NotPayable("the payment is under way")
    account.paying.add(sheet_id)
    try:
        state, words = await _ask(account, person, entry, sheet_id)
    finally:
        account.paying.discard(sheet_id)
    if state == "paid" and declined:
        state = "declined"
    if state == "paid":
        _receive(account, person, sheet["message_id"], entry)
    extra = {"error_message": words} if words else {}
    show(account, person["id"], sheet["message_id"], sheet_id, state=state, **extra)
    return {"query_id": sheet_id, "state": state, **extra}


def show(
    account: Account, person_id: int, message_id: int, sheet_id: str, **fields: object
) -> None:
    """Tell the page how a payment stands."""
    ids = {"person_id": person_id, "message_id": message_id, "query_id": sheet_id}
    account.events.publish("checkout", **ids, **fields)


async def _ask(account: Account, person: Json, entry: Json, sheet_id: str) -> tuple[str, str]:
    """Send the pre-checkout query; say how it ended, with the bot's words if it refused."""
    seconds = account.options.checkout_seconds
    query_id, invoice = _new_id(), entry["message"]["invoice"]
    waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    account.checkouts[query_id] = waiting
    query = {
        "id": query_id,
        "from": as_user(person),
        "currency": invoice["currency"],
        "total_amount": invoice["total_amount"],
        "invoice_payload": entry["payload"],
        **_order_info(person, entry),
    }
    deadline = time.time() + seconds
    number = entry["message"]["message_id"]
    show(account, person["id"], number, sheet_id, state="asked", deadline=deadline)
    account.updates.add("pre_checkout_query", query, lane=f"payment:{person['id']}")
    account.store.commit()
    try:
        words = await asyncio.wait_for(waiting, timeout=seconds)
    except TimeoutError:
        return "expired", ""
    finally:
        del account.checkouts[query_id]
    return ("refused", words) if words else ("paid", "")


def _receive(account: Account, person: Json, message_id: int, entry: Json) -> None:
    """Write the successful payment into the chat and mark the invoice."""
    invoice = entry["message"]["invoice"]
    payment = {
        "currency": invoice["currency"],
        "total_amount": invoice["total_amount"],
        "invoice_payload": entry["payload"],
        "telegram_payment_charge_id": f"playground_{_new_id()}",
        "provider_payment_charge_id": f"test_{_new_id()}",
        **_order_info(person, entry),
    }
    if (now := account.entry(person["id"], message_id)) is not None:
        account.change_entry(person["id"], now | {"invoice_paid": True})
    paid = account.add_message(person, {"successful_payment": payment}, out=True)
    account.updates.add("message", paid["message"], lane=f"chat:{person['id']}")


def _order_info(person: Json, entry: Json) -> Json:
    needs = entry.get("needs") or []
    info = {name: str(person.get(ORDER_INFO[name]) or "playground@example.org") for name in needs}
    return {"order_info": info} if info else {}


def _new_id() -> str:
    return str(10**17 + secrets.randbelow(9 * 10**17))


METHODS: Final[dict[str, Callable[[Account, Params], object]]] = {
    "sendinvoice": send_invoice,
    "answerprecheckoutquery": answer_pre_checkout,
}
