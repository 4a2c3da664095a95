"""From a meter's abnormal value to the customer's yes, in chat, for both services."""

import re
from datetime import timedelta
from typing import Any

import pytest

from core.accounts.models import Service
from core.monitoring.models import Quantity
from tests.chat import Message, Phone, buttons_of, text_of
from tests.e2e.conftest import Stage
from tests.e2e.gateway import open_gateway

LOW = {Service.WATER: "92", Service.ELECTRICITY: "185.2"}
NORMAL = {Service.WATER: "310", Service.ELECTRICITY: "221.0"}
QUANTITY = {Service.WATER: Quantity.PRESSURE, Service.ELECTRICITY: Quantity.VOLTAGE}
HAN = re.compile("[\u4e00-\u9fff]")
# What is pressed, typed and read in each language.
WORDS: dict[str, Any] = {
    "简体中文": {
        "nobody": "尚未接单",
        "claim": "我来接单",
        "steps": (("出发了", "正在赶来"), ("已到场", "已到场"), ("开始维修", "维修中")),
        "wait": "/wait R1001 +2小时 等配件",
        "waiting": "▶ 暂停等待",
        "reason": "等配件",
        "normal": "已恢复正常",
        "repaired": "换了减压阀",
        "is it?": "确实修好了吗",
        "not fixed": "没修好",
        "reopened": "▶ 未修好",
        "told": "没有修好",
        "fixed": "▶ 已修好",
        "closed": "▶ 已确认并结案",
    },
    "English": {
        "nobody": "Responsible: nobody yet",
        "claim": "I take it",
        "steps": (("On my way", "On the way"), ("Arrived", "Arrived"), ("Working", "Working")),
        "wait": "/wait R1001 +2 hours a part is missing",
        "waiting": "▶ Waiting",
        "reason": "a part is missing",
        "normal": "back to normal",
        "repaired": "replaced the valve",
        "is it?": "says it is fixed",
        "not fixed": "Not fixed",
        "reopened": "▶ Opened again",
        "told": "the customer says it is not fixed",
        "fixed": "▶ Fixed",
        "closed": "▶ Confirmed and closed",
    },
}


async def work(
    technician: Phone, customer: Phone, card: Message, service: Service, words: Any
) -> None:
    """Take the repair, go there and wait for a part; the customer's card tells every step."""
    await technician.press(await technician.expect("R1001"), words["claim"])
    job = await technician.expect(f"{service.value[0].upper()}-10001")
    await customer.changed(card, "Wang Qiang")
    for press, state in words["steps"]:
        await technician.press(await technician.refresh(job), press)
        await technician.changed(job, f"▶ {state}")
        await customer.changed(card, f"▶ {state}")
    assert "R1001" in text_of(await technician.say(words["wait"]))
    held = await customer.changed(card, words["waiting"])
    assert words["reason"] in text_of(held)


@pytest.mark.parametrize("language", list(WORDS), ids=["zh_CN", "en"])
@pytest.mark.parametrize("service", list(Service))
async def test_abnormal_value_becomes_a_repair_that_the_customer_closes(
    stage: Stage, service: Service, language: str
) -> None:
    words = WORDS[language]
    customer, neighbour = stage.phone(1001), stage.phone(1002)
    technician, manager = stage.phone(2001), stage.phone(3001)
    await neighbour.say("/start")
    for phone in (customer, technician, manager):
        await phone.speak(language)
    gateway = await open_gateway(stage)
    meter = stage.world.home.meters[service]

    normal, low = [NORMAL[service]] * 6, [LOW[service]] * 4
    await gateway.sample(meter, QUANTITY[service], normal, until=stage.clock.now())
    assert len(await customer.messages()) == 1
    stage.clock.shown_at += timedelta(hours=1)
    await gateway.sample(meter, QUANTITY[service], low, until=stage.clock.now())

    card = await customer.expect("R1001")
    told = await manager.expect("R1001")
    assert LOW[service].rstrip("0") in text_of(card)
    assert LOW[service].rstrip("0") in text_of(told)
    assert words["nobody"] in text_of(told)
    assert len(await neighbour.messages()) == 1

    await work(technician, customer, card, service, words)
    stage.clock.shown_at += timedelta(hours=2)
    await gateway.sample(meter, QUANTITY[service], normal[:4], until=stage.clock.now())
    await customer.changed(card, words["normal"])
    await technician.say("/working R1001")
    await technician.say(f"/fixed R1001 {words['repaired']}")
    question = await customer.expect(words["is it?"])

    await customer.press(question, words["not fixed"])
    await manager.expect(words["told"])
    await customer.changed(card, words["reopened"])
    await technician.say("/take R1001")
    await technician.say("/fixed R1001")
    await customer.changed(card, words["fixed"])
    await customer.say("/confirm R1001")
    closed = await customer.changed(card, words["closed"])
    assert closed["message_id"] == card["message_id"]
    await manager.changed(told, words["closed"])

    await customer.post("say", text="/history R1001")
    wanted = ("Wang Qiang", words["reason"], words["repaired"])
    await customer.until(
        lambda all_: any(all(each in text_of(message) for each in wanted) for message in all_)
    )
    assert "R1001" in text_of(await manager.say("R1001"))
    refused = await neighbour.say("R1001")
    missing = await neighbour.say("R9999")
    assert text_of(refused).replace("1001", "") == text_of(missing).replace("9999", "")
    for phone in (customer, technician, manager):
        read = [str([text_of(each), buttons_of(each)]) for each in await phone.messages()]
        assert language != "English" or HAN.search("".join(read)) is None, read
