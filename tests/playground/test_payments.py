"""Paying an invoice: the sheet, the bot's ten seconds, and the receipt."""

import asyncio

import pytest
from telegram import Bot, LabeledPrice
from telegram.error import BadRequest

from tests.playground.conftest import Desk


async def bill(bot: Bot, person: int, **more) -> int:
    prices = [LabeledPrice("12 m³", 4000), LabeledPrice("discount", -544)]
    sent = await bot.send_invoice(
        person, "Water", "November", "bill-1", "CNY", prices, "1:TEST:abc", **more
    )
    assert (sent.invoice.total_amount, sent.invoice.currency) == (3456, "CNY")
    assert sent.reply_markup.inline_keyboard[0][0].pay
    return sent.message_id


async def open_sheet(desk: Desk, person: int, number: int) -> str:
    pressed = await desk.act(person, "press", message_id=number, row=0, col=0)
    return pressed["checkout"]


def using(desk: Desk, person: int, number: int, sheet: str, action: str) -> asyncio.Task:
    call = desk.act(person, "checkout", message_id=number, query_id=sheet, action=action)
    return asyncio.create_task(call)


class TestAPayment:
    async def test_is_asked_for_and_received(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person(phone="+8613800000000")
        number = await bill(bot, li, need_phone_number=True)
        await desk.updates()
        async with desk.events() as event:
            sheet = await open_sheet(desk, li, number)
            paying = using(desk, li, number, sheet, "pay")
            [update] = await bot.get_updates(timeout=5)
            query = update.pre_checkout_query
            assert (query.invoice_payload, query.total_amount) == ("bill-1", 3456)
            assert query.order_info.phone_number == "+8613800000000"
            assert await query.answer(ok=True)
            assert (await event("checkout", state="asked", query_id=sheet))["deadline"] > 0
            await event("checkout", state="paid", query_id=sheet)
        assert (await paying)["state"] == "paid"

        [update] = await bot.get_updates(update.update_id + 1)
        payment = update.message.successful_payment
        assert (payment.total_amount, payment.invoice_payload) == (3456, "bill-1")
        assert payment.telegram_payment_charge_id
        assert (await desk.chat(li))["messages"][1]["invoice_paid"] is True
        with pytest.raises(BadRequest, match=r"[qQ]uery is too old"):
            await query.answer(ok=True)

    @pytest.mark.parametrize(
        ("answer", "action", "state"),
        [
            ({"ok": False, "error_message": "Paid already"}, "pay", "refused"),
            ({"ok": True}, "decline", "declined"),
            (None, "pay", "expired"),
        ],
    )
    async def test_is_not_made(
        self, desk: Desk, bot: Bot, answer: dict | None, action: str, state: str
    ) -> None:
        li = await desk.person()
        number = await bill(bot, li)
        await desk.updates()
        sheet = await open_sheet(desk, li, number)
        paying = using(desk, li, number, sheet, action)
        [update] = await bot.get_updates(timeout=5)
        if answer:
            assert await update.pre_checkout_query.answer(**answer)

        ended = await paying

        assert ended["state"] == state
        assert ended.get("error_message") == (answer or {}).get("error_message")
        assert await desk.call("getUpdates", offset=update.update_id + 1) == []
        assert (await desk.chat(li))["messages"][-1]["invoice_paid"] is False
        if state == "expired":
            with pytest.raises(BadRequest, match=r"[qQ]uery is too old"):
                await update.pre_checkout_query.answer(ok=True)

    async def test_can_be_made_from_a_forwarded_invoice_but_not_twice_at_once(
        self, desk: Desk, bot: Bot
    ) -> None:
        li, wang = await desk.person("Li"), await desk.person("Wang")
        number = await bill(bot, li)
        forwarded = await bot.forward_message(wang, li, number)
        await desk.updates()
        sheet = await open_sheet(desk, wang, forwarded.message_id)
        paying = using(desk, wang, forwarded.message_id, sheet, "pay")
        [update] = await bot.get_updates(timeout=5)
        fields = {"message_id": forwarded.message_id, "query_id": sheet, "action": "pay"}
        refusal = await desk.act(wang, "checkout", status=409, **fields)
        assert update.pre_checkout_query.from_user.first_name == "Wang"
        assert update.pre_checkout_query.invoice_payload == "bill-1"
        assert refusal == {"error": "the payment is under way"}
        paying.cancel()

    async def test_shows_its_lines_on_the_page_only(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        await bill(bot, li)
        shown = (await desk.chat(li))["messages"][-1]
        assert [line["amount"] for line in shown["prices"]] == [4000, -544]
        pressed = await desk.act(li, "press_data", message_id=shown["message_id"], data="x")
        query = (await desk.call("getUpdates"))[-1]["callback_query"]
        assert query["id"] == pressed["query_id"]
        assert "prices" not in query["message"]

    async def test_is_not_made_from_a_forwarded_invoice_that_leads_back(
        self, desk: Desk, bot: Bot
    ) -> None:
        li, wang = await desk.person("Li"), await desk.person("Wang")
        number = await bill(bot, li, start_parameter="bill-1")
        forwarded = await bot.forward_message(wang, li, number)
        pressed = await desk.act(wang, "press", message_id=forwarded.message_id, row=0, col=0)
        assert pressed == {"url": "https://t.me/water_bot?start=bill-1"}

    async def test_needs_an_invoice_and_can_be_left(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        sent = await bot.send_message(li, "no invoice")
        number = await bill(bot, li)
        fields = {"message_id": sent.message_id, "action": "open"}
        assert "error" in await desk.act(li, "checkout", status=409, **fields)
        async with desk.events() as event:
            opened = await desk.act(li, "checkout", message_id=number, action="open")
            await using(desk, li, number, opened["query_id"], "close")
            await event("checkout", state="closed", query_id=opened["query_id"])
