"""From a meter's abnormal value to the customer's yes, in chat, for both services."""

from datetime import timedelta

import pytest

from core.accounts.models import Service
from core.monitoring.models import Quantity
from tests.chat import Phone, buttons_of, text_of
from tests.e2e.conftest import Stage
from tests.e2e.gateway import Gateway, open_gateway

LOW = {Service.WATER: "92", Service.ELECTRICITY: "185.2"}
NORMAL = {Service.WATER: "310", Service.ELECTRICITY: "221.0"}
QUANTITY = {Service.WATER: Quantity.PRESSURE, Service.ELECTRICITY: Quantity.VOLTAGE}


async def greet(*phones: Phone) -> None:
    for phone in phones:
        await phone.say("/start")


async def drop(stage: Stage, gateway: Gateway, service: Service) -> None:
    """Let the first home's value lie below its range for half an hour."""
    meter = stage.world.home.meters[service]
    now = stage.clock.now()
    await gateway.sample(meter, QUANTITY[service], [LOW[service]] * 4, until=now)


@pytest.mark.parametrize("service", list(Service))
async def test_abnormal_value_becomes_a_repair_that_the_customer_closes(
    stage: Stage, service: Service
) -> None:
    customer, neighbour = stage.phone(1001), stage.phone(1002)
    technician, manager = stage.phone(2001), stage.phone(3001)
    await greet(customer, neighbour, technician, manager)
    gateway = await open_gateway(stage)
    meter = stage.world.home.meters[service]

    await gateway.sample(meter, QUANTITY[service], [NORMAL[service]] * 6, until=stage.clock.now())
    assert len(await customer.messages()) == 1
    stage.clock.shown_at += timedelta(hours=1)
    await drop(stage, gateway, service)

    card = await customer.expect("R1001")
    told = await manager.expect("R1001")
    offer = await technician.expect("R1001")
    assert LOW[service].rstrip("0") in text_of(card)
    assert LOW[service].rstrip("0") in text_of(told)
    assert len(await neighbour.messages()) == 1

    await technician.press(offer, "我来接单")
    job = await technician.expect("W-10001" if service is Service.WATER else "E-10001")
    await customer.changed(card, "Wang Qiang")
    for press, state in (("出发了", "正在赶来"), ("已到场", "已到场"), ("开始维修", "维修中")):
        await technician.press(await technician.refresh(job), press)
        await technician.changed(job, f"▶ {state}")
        await customer.changed(card, f"▶ {state}")
    waiting = await technician.say("/wait R1001 +2小时 等配件")
    assert "R1001" in text_of(waiting)
    held = await customer.changed(card, "暂停等待")
    assert "等配件" in text_of(held)

    stage.clock.shown_at += timedelta(hours=2)
    await gateway.sample(meter, QUANTITY[service], [NORMAL[service]] * 4, until=stage.clock.now())
    await customer.changed(card, "已恢复正常")
    await technician.say("/working R1001")
    await technician.say("/fixed R1001 换了减压阀")
    question = await customer.expect("修好了吗")
    assert any("没修好" in label for label in buttons_of(question))

    await customer.press(question, "没修好")
    await manager.expect("R1001")
    await customer.changed(card, "未修好")
    await technician.say("/take R1001")
    await technician.say("/fixed R1001")
    await customer.changed(card, "已修好")
    await customer.say("/confirm R1001")
    closed = await customer.changed(card, "结案")
    assert closed["message_id"] == card["message_id"]

    await customer.post("say", text="/history R1001")
    await customer.until(
        lambda all_: any(
            all(words in text_of(each) for words in ("Wang Qiang", "等配件", "换了减压阀"))
            for each in all_
        )
    )
    assert "R1001" in text_of(await manager.say("R1001"))
    refused = await neighbour.say("R1001")
    missing = await neighbour.say("R9999")
    assert text_of(refused).replace("1001", "") == text_of(missing).replace("9999", "")


async def test_customer_reports_in_words_with_a_photo(stage: Stage) -> None:
    customer, technician = stage.phone(1001), stage.phone(2001)
    await greet(customer, technician)

    asked = await customer.say("/report")
    place = next(label for label in buttons_of(asked) if "水" in label)
    await customer.press(asked, place)
    await customer.until(lambda all_: len(all_) > 1)
    answer = await customer.say("厨房水龙头 <b>&漏水 🙂")
    assert buttons_of(answer) or "R1001" in text_of(answer)
