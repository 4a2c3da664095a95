"""The quality loop through the chat: customer, technician and manager, from report to yes."""

import asyncio
from decimal import Decimal

import aiohttp
import pytest
from sqlalchemy import select

from core.accounts.models import Service
from core.monitoring.models import Alarm, Quantity, Side
from core.repairs.models import Repair, RepairEvent
from core.repairs.workflow import State
from tests.chat import Phone, buttons_of, text_of
from tests.e2e.conftest import Stage
from tests.world import NOON

CUSTOMER, NEIGHBOUR, TECHNICIAN, MANAGER = 1001, 1002, 2001, 3001
ALARMS = {
    Service.WATER: (Quantity.PRESSURE, "140", "92", "水压 92 kPa", "140 kPa"),
    Service.ELECTRICITY: (Quantity.VOLTAGE, "198.0", "181.5", "电压 181.5", "198"),
}


async def raise_alarm(stage: Stage, service: Service) -> int:
    quantity, limit, value, _, _ = ALARMS[service]
    async with stage.service.database.transaction() as session:
        alarm = Alarm(
            meter_id=stage.world.home.meters[service],
            quantity=quantity,
            side=Side.LOW,
            limit=Decimal(limit),
            worst=Decimal(value),
            began_at=NOON,
            raised_at=NOON,
        )
        session.add(alarm)
        await session.flush()
        return alarm.id


async def end_alarm(stage: Stage, alarm_id: int, value: str) -> None:
    async with stage.service.database.transaction() as session:
        alarm = await session.get_one(Alarm, alarm_id)
        alarm.ended_at = stage.clock.now()
        alarm.end_value = Decimal(value)


async def start(stage: Stage, *people: int) -> list[Phone]:
    phones = [stage.phone(person) for person in people]
    for phone in phones:
        await phone.say("/start")
        await phone.mark()
    return phones


@pytest.mark.parametrize("service", [Service.WATER, Service.ELECTRICITY])
async def test_from_alarm_to_the_customers_yes(stage: Stage, service: Service) -> None:
    customer, technician, manager = await start(stage, CUSTOMER, TECHNICIAN, MANAGER)
    _, _, _, wrong, limit = ALARMS[service]
    alarm_id = await raise_alarm(stage, service)

    card = await customer.expect("R1001")
    offer = await technician.expect("R1001")
    overview = await manager.expect("R1001")
    assert wrong in text_of(card)
    assert limit in text_of(card)
    assert "Responsible: nobody yet" in text_of(overview)

    await technician.press(offer, "接单")
    assert "Wang Qiang" in text_of(await customer.expect("承诺"))
    await customer.changed(card, "已接单\uff08")
    job = await technician.changed(offer, "已接单")
    await technician.press(job, "出发")
    await customer.changed(card, "正在赶来\uff08")
    assert "开始维修" in str(buttons_of(await technician.say("/arrived")))
    await technician.say("/working R1001")
    await customer.changed(card, "维修中\uff08")

    asked = await technician.say("/wait R1001")
    await technician.press(asked, "等配件")
    times = await technician.changed(asked, "15:30")
    await technician.press(times, "明天 09:00")
    assert "等配件" in text_of(await customer.expect("维修暂停"))
    waiting = await customer.changed(card, "改期 1 次")
    assert any(entity["type"] == "strikethrough" for entity in waiting["entities"])

    refused = await technician.say("/fixed R1001")
    assert "/fixed_anyway" in text_of(refused)
    await end_alarm(stage, alarm_id, "231")
    await customer.changed(card, "已恢复正常")
    await technician.say("/fixed R1001 换了阀门")
    question = await customer.expect("确实修好了吗")
    await customer.press(question, "没修好")
    assert "not fixed" in text_of(await manager.expect("not fixed"))
    await customer.say("还是没有水")
    again = await technician.expect("重新待接单")
    await technician.press(again, "我来接单")
    await technician.expect("还是没有水")
    await technician.say("/fixed")
    await customer.press(await customer.expect("确实修好了吗"), "是的")

    await customer.changed(card, "已确认并结案")
    await technician.expect("已结束此单")
    history = await customer.say("/history R1001")
    for what in ("Wang Qiang 接单", "等配件", "没有修好", "确认一切正常"):
        assert what in text_of(history)
    assert await _numbers(stage) == ["R1001"]


async def _numbers(stage: Stage) -> list[str]:
    async with stage.service.database.transaction() as session:
        return list(await session.scalars(select(Repair.number)))


async def test_report_in_words_then_a_photo_and_staff_answer(stage: Stage) -> None:
    customer, technician, manager = await start(stage, CUSTOMER, TECHNICIAN, MANAGER)

    places = await customer.say("/report")
    await customer.press(places, "1.")
    await customer.changed(places, "出了什么问题")
    reported = await customer.say("厨房 <b>没水</b> & 漏水")
    assert "R1001" in text_of(reported)
    assert "<b>没水</b>" in text_of(await technician.expect("厨房"))

    await customer.say("/report 卫生间也没有水")
    await customer.say("1")
    await customer.expect("已有未完成的维修单")
    assert await _numbers(stage) == ["R1001"]

    await manager.say("/comment R1001 Which floor?")
    assert "Which floor?" in text_of(await customer.expect("留言"))
    listed = await manager.say("/open")
    assert "R1001" in text_of(listed)
    choice = await manager.say("/assign R1001")
    await manager.press(choice, "Wang Qiang")
    await technician.expect("此工单已派给您")
    await customer.expect("Wang Qiang 负责处理")


async def test_office_opens_from_the_chat_once(stage: Stage) -> None:
    (manager,) = await start(stage, MANAGER)
    await raise_alarm(stage, Service.WATER)
    await manager.expect("R1001")
    message = await manager.say("/office")
    link = next(word for word in text_of(message).split() if word.startswith(stage.web))

    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        async with browser.get(link) as page:
            assert "Maya Stone" in await page.text()
        token = link.partition("token=")[2]
        form = {"url": f"{stage.web}/office/enter", "data": {"token": token}}
        async with browser.post(**form, headers={"Origin": stage.web}) as page:
            assert "R1001" in await page.text()
        async with browser.post(**form, headers={"Origin": stage.web}) as page:
            assert page.status == 410


async def test_foreign_hands_get_nothing(stage: Stage) -> None:
    customer, neighbour, technician = await start(stage, CUSTOMER, NEIGHBOUR, TECHNICIAN)
    await raise_alarm(stage, Service.WATER)
    await customer.expect("R1001")
    before = len(await neighbour.messages())

    for command in ("/repair R1001", "/history R1001", "/confirm R1001", "/comment R1001 x"):
        assert "R1001" not in text_of(await neighbour.say(command))
    for command in ("/take R1001", "/fixed R1001", "/open", "/assign R1001", "/office"):
        await neighbour.say(command)
    assert len(await neighbour.messages()) == before + 9
    assert "92" in text_of(await technician.say("/repair \uff32\uff11\uff10\uff10\uff11"))


async def test_waiting_takes_a_typed_time_and_survives_nonsense(stage: Stage) -> None:
    customer, technician = await start(stage, CUSTOMER, TECHNICIAN)
    await raise_alarm(stage, Service.WATER)
    await technician.expect("R1001")
    await technician.say("/take R1001")
    asked = await technician.say("/wait")
    await technician.press(asked, "其他原因")
    await technician.changed(asked, "请输入原因")
    await technician.say("地下室进水")
    for nonsense in ("x" * 4000, "1e400", "<b>&", "🙂", "昨天10点"):
        assert "R1001" not in text_of(await technician.say(nonsense))
    await technician.say("明天10点")
    told = await customer.expect("维修暂停")
    assert "地下室进水" in text_of(told)
    assert "11月3日 10:00" in text_of(told)


@pytest.mark.parametrize(
    ("language", "reason", "kept"),
    [
        ("简体中文", "等配件", {"reason": "part"}),
        ("English", "No access", {"reason": "access"}),
        ("English", "cellar is under water", {"reason": "other", "text": "cellar is under water"}),
    ],
    ids=["offered-zh_CN", "offered-en", "other"],
)
async def test_waiting_takes_a_typed_reason_and_then_a_typed_time(
    stage: Stage, language: str, reason: str, kept: dict[str, str]
) -> None:
    customer, technician = await start(stage, CUSTOMER, TECHNICIAN)
    await technician.speak(language)
    await raise_alarm(stage, Service.WATER)
    await technician.expect("R1001")
    await technician.say("/take R1001")

    await technician.say("/wait R1001")
    await technician.say(reason)
    await technician.expect("15:30")
    await technician.say("15:30")

    assert "15:30" in text_of(await customer.expect("维修暂停"))
    async with stage.service.database.transaction() as session:
        events = await session.scalars(
            select(RepairEvent.details).where(RepairEvent.kind == "wait")
        )
        assert [{name: was[name] for name in was if was[name]} for was in events] == [kept]


async def test_waiting_can_be_left_while_the_reason_is_asked_for(stage: Stage) -> None:
    (technician,) = await start(stage, TECHNICIAN)
    await raise_alarm(stage, Service.WATER)
    await technician.expect("R1001")
    await technician.say("/take R1001")
    await technician.say("/wait R1001")

    await technician.say("/cancel")
    await technician.expect("已取消")
    await technician.say("等配件")
    await technician.expect("/help")

    assert "15:30" not in str(await technician.messages())


async def test_number_that_is_mistyped_closes_no_other_repair(stage: Stage) -> None:
    customer, technician = await start(stage, CUSTOMER, TECHNICIAN)
    await customer.say("/report no water")
    await customer.say("1")
    await technician.expect("R1001")
    await technician.say("/take R1001")

    mistyped = ("R10o1", "r1OO1", "#R1001x", "\u0420100\u043e")
    for number in mistyped:
        await technician.say(f"/fixed {number}")
    await technician.until(
        lambda all_: sum("/fixed R1001" in text_of(each) for each in all_) == len(mistyped)
    )
    async with stage.service.database.transaction() as session:
        assert await session.scalar(select(Repair.state)) is State.ACCEPTED

    await technician.say("/fixed replaced the valve")
    await customer.expect("确实修好了吗")
    assert "replaced the valve" in text_of(await customer.say("/history R1001"))


async def test_old_twice_pressed_and_forged_buttons_change_nothing(stage: Stage) -> None:
    customer, neighbour, technician = await start(stage, CUSTOMER, NEIGHBOUR, TECHNICIAN)
    await raise_alarm(stage, Service.WATER)
    card = await customer.expect("R1001")
    offer = await technician.expect("R1001")
    await asyncio.gather(*(technician.press(offer, "接单") for _ in range(3)))
    await technician.changed(offer, "负责人")
    await technician.say("/working R1001")
    await customer.changed(card, "维修中\uff08")

    number = offer["message_id"]
    for forged in ("ract:arrived:1:2", "ract:fixed:1:3", "ract:lapse:1:3", "ract:x", "rtime:1h"):
        await technician.post("press_data", message_id=number, data=forged)
    for forged in ("ract:confirm:1:3", "ract:cancel:1:3", "rgive:1:3:3", "repair:1", "ropen:0"):
        await neighbour.post("press_data", message_id=1, data=forged)
    await customer.say("/help")
    history = text_of(await customer.say("/history R1001"))

    assert history.count("接单") == 1
    assert "已到场" not in history
    assert not any("R1001" in text_of(message) for message in await neighbour.messages())


async def test_place_of_somebody_else_is_refused_before_anything_is_asked(stage: Stage) -> None:
    phone = stage.phone(NEIGHBOUR)
    asked = await phone.say("/start")
    point = stage.world.home.points[Service.WATER]

    await phone.post("press_data", message_id=asked["message_id"], data=f"rplace:{point}")

    assert "/help" in text_of(await phone.say("water everywhere"))
