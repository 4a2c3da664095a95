"""A wrong bill in the chat: the customer objects, the manager answers, one message each."""

import re
from datetime import date
from decimal import Decimal

import pytest

from core.accounts.models import Service
from tests.billing.books import load_shipped, show
from tests.chat import Phone, buttons_of, text_of
from tests.e2e.conftest import Stage
from tests.e2e.test_bills import RUNS, admin, require_sound_books

READ = {date(2026, 9, 1): "100", date(2026, 10, 1): "110", date(2026, 11, 1): "124"}

NOT_FOUND = "Не нахожу такого возражения"  # noqa: RUF001 (Russian)
PAIR = "E1001（¥5.65）作废，由 E1003：¥3.39 代替"  # noqa: RUF001 (Chinese)


@pytest.fixture
async def billed(stage: Stage) -> Stage:
    """Li Hua has two bills of electricity and one of water."""
    await load_shipped(stage.service.database)
    for service in Service:
        await show(stage.service.database, stage.world.home.meters[service], READ)
    for person in (1001, 3001, 3002):
        await stage.phone(person).say("/start")
    for number, body in RUNS.items():
        await admin(stage, "POST", "billing-runs", json=body)
        await stage.phone(1001).expect(number)
    await stage.phone(3001).until(  # what is said after each run shall not come in between
        lambda all_: sum("Households" in text_of(each) for each in all_) == len(RUNS)
    )
    return stage


async def object_to(phone: Phone, number: str) -> None:
    bill = await phone.expect(number)
    await phone.mark()
    await phone.press(bill, "这不对")
    asked = await phone.next()
    await phone.press(asked, "我没用这么多")
    await phone.changed(asked, "还要补充吗")
    await phone.say("十月我不在家")
    await phone.expect("已收到您的异议")


class TestObjection:
    async def test_is_answered_by_a_credit_note(self, billed: Stage) -> None:
        customer, manager = billed.phone(1001), billed.phone(3001)

        await object_to(customer, "W1001")

        said = text_of(await customer.expect("已收到您的异议"))
        assert "Maya Stone 将在" in said
        assert "不会催缴" in said
        card = await manager.expect("An objection waits")
        assert "十月我不在家" in text_of(card)
        await manager.press(card, "Right: credit note")
        asked = await manager.changed(card, "How much is taken off")
        assert "CN¥75.60" in text_of(asked)
        await manager.say("20.6")
        whether = await manager.say("the meter was read upside down")
        assert "Objection D1001 to bill W1001 is open" in text_of(whether)
        await manager.press(whether, "Yes, it answers D1001")
        credit = await customer.expect("C1001")
        assert credit["document"]["file_name"] == "C1001.pdf"
        assert "55.00" in text_of(credit)
        assert "Maya Stone 据此确认您的异议 D1001 成立" in text_of(credit)
        assert "贷记单 C1001" in text_of(await customer.say("/bill W1001"))
        assert "贷记单 C1001" in text_of(await customer.say("/statement"))
        await require_sound_books(billed)

    async def test_is_declined_with_a_reason_and_then_final(self, billed: Stage) -> None:
        customer, manager = billed.phone(1001), billed.phone(3001)
        await object_to(customer, "E1002")
        list_ = await manager.say("/disputes")
        await manager.press(list_, "D1001")
        card = await manager.changed(list_, "I did not use so much")

        await manager.press(card, "The bill is right")
        await manager.changed(card, "What do you answer")
        await manager.say("the photo of the dial shows 124")

        answered = text_of(await customer.expect("您的异议已有答复"))
        assert "the photo of the dial shows 124" in answered
        assert "Maya Stone" in answered
        assert "已提出过异议" in text_of(await customer.say("/object E1002"))
        await require_sound_books(billed)

    async def test_can_be_put_off_with_a_reason(self, billed: Stage) -> None:
        customer, manager = billed.phone(1001), billed.phone(3001)
        await object_to(customer, "W1001")
        card = await manager.say("/objection D1001")
        await manager.press(card, "It takes longer")
        asked = await manager.changed(card, "How much longer")
        await manager.press(asked, "7 days")
        await manager.changed(asked, "Why?")
        await manager.say("the meter is at the laboratory")

        assert "the meter is at the laboratory" in text_of(await customer.expect("比承诺的要久"))

    async def test_is_taken_back_by_who_made_it(self, billed: Stage) -> None:
        customer = billed.phone(1001)
        await object_to(customer, "W1001")
        card = await customer.say("D1001")

        await customer.press(card, "撤回")
        await customer.press(await customer.changed(card, "不能再对这张账单提出异议"), "否")
        await customer.press(await customer.changed(card, "十月我不在家"), "撤回")
        await customer.press(await customer.changed(card, "不能再对这张账单提出异议"), "是")

        await customer.changed(card, "已由 Li Hua 撤回")

    async def test_takes_the_due_date_off_and_needs_no_words(self, billed: Stage) -> None:
        customer, manager = billed.phone(1001), billed.phone(3001)
        bill = await customer.expect("W1001")
        await customer.mark()
        await customer.press(bill, "这不对")
        asked = await customer.next()
        await customer.press(asked, "我没用这么多")
        await customer.press(await customer.changed(asked, "还要补充吗"), "直接提交")

        assert "我没用这么多，未另作说明" in text_of(  # noqa: RUF001 (Chinese)
            await customer.expect("已收到您的异议")
        )
        assert "在异议得到答复之前不算到期" in text_of(await customer.say("/bill W1001"))
        listed = buttons_of(await customer.say("/bills"))
        assert "✋ 水 W1001：¥75.60，异议处理中" in listed  # noqa: RUF001 (Chinese)
        assert any("前缴" in each for each in listed)
        seen = await manager.say("/bill W1001")
        assert "Objection D1001 waits for an answer by" in text_of(seen)
        assert "answers you" not in text_of(seen)
        assert not [each for each in buttons_of(seen) if "Pay" in each]
        assert [each for each in buttons_of(await customer.say("/bill W1001")) if "缴费" in each]
        await require_sound_books(billed)

    async def test_of_somebody_else_does_not_exist(self, billed: Stage) -> None:
        await object_to(billed.phone(1001), "W1001")
        stranger = billed.phone(1002)
        await stranger.say("/start")

        assert NOT_FOUND in text_of(await stranger.say("D1001"))
        for words in ("/disputes", "/rebill W1001", "/credit W1001"):
            assert "W1001" not in text_of(await stranger.say(words)).replace(words, "")


class TestBillingAgain:
    async def test_shows_what_follows_and_tells_the_customer_once(self, billed: Stage) -> None:
        customer, manager = billed.phone(1001), billed.phone(3001)
        asked = await manager.say("/rebill E1001")
        await manager.press(asked, "110 kWh")
        await manager.changed(asked, "What did the meter really show")
        await manager.say("106")
        preview = await manager.say("the clerk typed a wrong digit")
        assert "E1001: CN¥5.65 → CN¥3.39" in text_of(preview)
        assert "E1002: CN¥7.91 → CN¥10.18" in text_of(preview)

        await manager.press(preview, "Bill it so")

        await manager.changed(preview, "E1003, E1004")
        told = await customer.expect("已重新出账")
        assert "the clerk typed a wrong digit" in text_of(told)
        assert PAIR in text_of(told)
        assert told["document"]["file_name"] == "E1003.pdf"
        assert [each for each in buttons_of(told) if "E100" in each] == [
            "账单 E1003",
            "账单 E1004",
            "💳 缴费 E1003",
            "💳 缴费 E1004",
        ]
        assert "E1004：待缴 ¥10.18，请于 2026年11月17日 前缴清" in text_of(told)  # noqa: RUF001 (Chinese)
        assert "代替账单 E1001" in text_of(await customer.say("/bill E1003"))
        assert "已由账单 E1003 代替" in text_of(await customer.say("/bill E1001"))
        await require_sound_books(billed)

    async def test_is_done_once_and_says_so(self, billed: Stage) -> None:
        manager = billed.phone(3001)
        card = await manager.say("/bill E1002")
        again = await manager.say("/rebill E1002")
        await manager.press(again, "Number of people")
        await manager.changed(again, "How many people")
        assert "in whole numbers" in text_of(await manager.say("2.7"))
        await manager.say("6")
        await manager.press(await manager.say("they are six"), "Bill it so")
        await manager.expect("Billed again: E1003")

        await manager.press(card, "Put it right")

        await manager.changed(card, "This is done already")
        for words in ("/void E1002", "/rebill E1002", "/credit E1002"):
            assert "This is done already" in text_of(await manager.say(words))
        assert "代替" in text_of(await billed.phone(1001).say("/bill E1003"))

    async def test_says_what_becomes_of_credit_notes(self, billed: Stage) -> None:
        customer, manager = billed.phone(1001), billed.phone(3001)
        for words in ("/credit E1002", "1", "goodwill", "/rebill E1002"):
            asked = await manager.say(words)
        await manager.press(asked, "Number of people")
        await manager.changed(asked, "How many people")
        await manager.say("6")
        preview = await manager.say("they are six")
        assert "Credit note C1001 (CN¥1.00, goodwill) goes over" in text_of(preview)

        await manager.press(preview, "without the credit notes")

        told = text_of(await customer.expect("已重新出账"))
        assert "贷记单 C1001（¥1.00，goodwill）不再计入" in told  # noqa: RUF001 (Chinese)
        await require_sound_books(billed)

    async def test_names_credit_apart_and_leaves_an_objection_open(self, billed: Stage) -> None:
        customer, manager = billed.phone(1001), billed.phone(3001)
        for words in ("/credit E1002", "1", "goodwill"):
            await manager.say(words)
        await customer.expect("goodwill")
        await customer.say("/bill E1002")
        await object_to(customer, "E1002")
        asked = await manager.say("/rebill E1002")
        await manager.press(asked, "Number of people")
        await manager.changed(asked, "How many people")
        await manager.say("6")
        whether = await manager.say("they are six")
        await manager.press(whether, "No, D1001 stays open")
        await manager.press(await manager.expect("what would follow"), "Bill it so")

        told = text_of(await customer.expect("已重新出账"))
        ((asks, left),) = re.findall(r"E1002：其中 ¥1.00 已冲减，余 (¥)([\d.]+)", told)  # noqa: RUF001
        assert f"E1002（{asks}{Decimal(left) + 1}）" in told  # noqa: RUF001 (Chinese)
        assert "成立" not in told
        assert "Objection D1001 waits" in text_of(await manager.say("/bill E1003"))

    async def test_is_left_when_the_answer_is_not_yes(self, billed: Stage) -> None:
        manager = billed.phone(3001)
        asked = await manager.say("/rebill E1002")
        await manager.press(asked, "Number of people")
        await manager.changed(asked, "How many people")
        await manager.say("5")
        await manager.say("they are five")

        assert "stays as it is" in text_of(await manager.say("no"))
        await require_sound_books(billed)


class TestAReading:
    async def test_is_objected_to_from_its_answer(self, billed: Stage) -> None:
        customer, manager = billed.phone(1001), billed.phone(3001)
        asked = await customer.say("/reading")
        await customer.press(asked, "电 · Linden")
        await customer.changed(asked, "E-10001")
        answer = await customer.say("131")
        await customer.press(answer, "这不对")
        await customer.say("应该是 130")

        card = await manager.expect("An objection waits")
        assert "reading 131 kWh of meter E-10001" in text_of(card)
        await manager.press(card, "Correct the reading")
        await manager.changed(card, "number")
        await manager.say("130")
        await manager.say("as you say")

        answered = text_of(await customer.expect("您的异议已有答复"))
        assert "as you say" in answered
        assert "正确的读数为 130 千瓦时" in answered
