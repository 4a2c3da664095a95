"""A bill paid in parts in the chat: asked for, agreed, each part paid by its own invoice, kept."""

import re
from datetime import date

import pytest

from tests.chat import Message, Phone, buttons_of, text_of
from tests.e2e.conftest import Stage, move_clock
from tests.e2e.test_bills import checkout, require_sound_books
from tests.e2e.test_corrections import billed
from tests.supply.debt import at

__all__ = ["billed"]  # a fixture


async def ask_for_plan(phone: Phone) -> Message:
    """Press through to the plan of two parts for the open bill of water."""
    card = await phone.say("/bill W1001")
    await phone.press(card, "分期缴费")
    asked = await phone.changed(card, "分几期")
    assert "¥75.60" in text_of(asked)
    await phone.press(asked, "分 2 期")
    sure = await phone.changed(asked, "不会催缴")
    assert "1. ¥37.80" in text_of(sure)
    await phone.press(sure, "申请此计划")
    return await phone.changed(sure, "等待管理员答复")


async def pay_part(phone: Phone, message: Message, position: int) -> Message:
    await phone.mark()
    await phone.press(message, f"缴第 {position} 期")
    invoice = await phone.next()
    assert invoice["invoice"]["total_amount"] == 37_80
    assert invoice["invoice"]["title"] == f"分期计划 A1001 第 {position} 期"
    await checkout(phone, invoice)
    return invoice


class TestAPlan:
    async def test_is_asked_for_agreed_and_kept(self, billed: Stage) -> None:
        customer, manager = billed.phone(1001), billed.phone(3001)
        await ask_for_plan(customer)
        card = await manager.expect("Somebody asks to pay in parts")
        assert "A1001: " in "".join(buttons_of(await manager.say("/plans")))
        await manager.press(card, "Agree")
        agreed = await customer.expect("您的分期计划已商定")

        await pay_part(customer, agreed, 1)
        await customer.expect("P1001")
        assert "✅ 1. ¥37.80" in text_of(await customer.say("A1001"))
        again = await customer.say("/plan A1001")
        await pay_part(customer, again, 2)

        kept = await customer.expect("已按计划全部缴清")
        assert "✅ 2. ¥37.80" in text_of(kept)
        assert "分期计划 A1001 已履行" in text_of(await customer.say("/bill W1001"))
        await require_sound_books(billed)

    async def test_is_announced_missed_and_broken(self, billed: Stage) -> None:
        customer, manager = billed.phone(1001), billed.phone(3001)
        await ask_for_plan(customer)
        await manager.press(await manager.expect("Somebody asks to pay in parts"), "Agree")
        agreed = text_of(await customer.expect("您的分期计划已商定"))
        month, day = map(int, re.findall(r"(\d+)月(\d+)日", agreed)[0])
        due = date(2026, month, day)

        for days, words in ((-2, "即将到期"), (1, "有一期未按时缴纳"), (4, "已终止")):
            move_clock(billed, at(date.fromordinal(due.toordinal() + days)))
            told = await customer.expect(words)
        assert any("缴费" in label for label in buttons_of(told))
        await manager.expect("A plan was not kept")
        assert "已有分期计划 A1001" in text_of(await customer.say("/parts W1001"))
        await require_sound_books(billed)

    async def test_is_declined_with_a_reason(self, billed: Stage) -> None:
        customer, manager = billed.phone(1001), billed.phone(3001)
        await ask_for_plan(customer)
        card = await manager.expect("Somebody asks to pay in parts")
        await manager.press(card, "Decline")
        await manager.changed(card, "Why is plan A1001 declined")
        await manager.say("please pay the small bill at once")

        assert "please pay the small bill at once" in text_of(
            await customer.expect("您的分期申请未获同意")
        )

    async def test_is_offered_by_a_manager_and_taken_up(self, billed: Stage) -> None:
        customer, manager = billed.phone(1001), billed.phone(3001)
        sure = await manager.say("/parts W1001 3")
        assert "3. CN¥25.20" in text_of(sure)
        await manager.press(sure, "Offer this plan")

        offer = await customer.expect("您可以分期缴费")
        await customer.press(offer, "同意")

        await customer.expect("您的分期计划已商定")
        await manager.expect("The offer was accepted")
        assert "A1001" in text_of(await billed.phone(3002).expect("客戶已接受分期計畫"))

    @pytest.mark.parametrize("words", ["A1001", "/plan A1001", "/parts W1001"])
    async def test_of_somebody_else_does_not_exist(self, billed: Stage, words: str) -> None:
        await ask_for_plan(billed.phone(1001))
        stranger = billed.phone(1002)
        await stranger.say("/start")

        assert "¥" not in text_of(await stranger.say(words))
