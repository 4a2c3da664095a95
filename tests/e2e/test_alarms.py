"""Silence and danger in chat: told to whom they concern, taken, decided, undone by one press."""

import asyncio
from datetime import timedelta
from functools import partial

from sqlalchemy import delete

from core.accounts.models import Service
from core.monitoring.models import LeakLook, Quantity
from core.monitoring.silence import look_for_silence
from tests.chat import Message, Phone, buttons_of, text_of
from tests.e2e.conftest import Stage, move_clock
from tests.e2e.gateway import Gateway, open_gateway
from tests.world import Home

HOUR = timedelta(hours=1)
VALUES = {
    Service.WATER: (Quantity.PRESSURE, "300"),
    Service.ELECTRICITY: (Quantity.VOLTAGE, "225"),
}


async def live(
    stage: Stage, gateway: Gateway, *, hours: int, silent: tuple[Home, ...] = ()
) -> None:
    """Let hours pass in which the homes measure, but the silent ones, and silence is looked for."""
    for _ in range(2 * hours):
        move_clock(stage, stage.clock.now() + HOUR / 2)
        for home in (stage.world.home, stage.world.neighbour):
            for service, (quantity, value) in VALUES.items():
                if home not in silent:
                    meter = home.meters[service]
                    await gateway.sample(meter, quantity, [value], until=stage.clock.now())
        async with stage.service.database.transaction() as session:
            await look_for_silence(session, now=stage.clock.now())


async def begin(stage: Stage, gateway: Gateway) -> None:
    """Let all meters have spoken for two days, so that they are known."""
    for home in (stage.world.home, stage.world.neighbour):
        for service, (quantity, value) in VALUES.items():
            meter = home.meters[service]
            await gateway.sample(meter, quantity, [value] * 300, until=stage.clock.now())
    await live(stage, gateway, hours=1)


def key_of(message: Message, mark: str) -> str:
    """Return the button that begins with a mark."""
    return next(label for label in buttons_of(message) if label.startswith(mark))


async def gather(stage: Stage) -> tuple[Phone, Phone, Phone, Phone]:
    """Let a customer, a technician and two managers meet the bot."""
    phones = tuple(stage.phone(person) for person in (1001, 2001, 3001, 3002))
    for phone in phones:
        await phone.say("/start")
    return phones


async def test_a_silent_gateway_is_told_until_somebody_takes_it(stage: Stage) -> None:
    customer, technician, manager, second = await gather(stage)
    gateway = await open_gateway(stage)
    world = stage.world
    await begin(stage, gateway)
    await live(stage, gateway, hours=7, silent=(world.home, world.neighbour))

    told = await manager.expect("Gateway cabinet has been silent since")
    assert "4 meters" in text_of(told)
    card = await second.expect("閘道器 cabinet")
    assert "❔ 目前水压未知" in text_of(await customer.say("/pressure"))

    await live(stage, gateway, hours=4, silent=(world.home, world.neighbour))
    again = await manager.expect("Nobody takes care of this yet")
    await manager.press(again, "🙋 I take it")
    await second.changed(card, "Maya Stone")
    assert buttons_of(await second.changed(card, "接手處理")) == []
    await live(stage, gateway, hours=1)
    await manager.expect("Gateway cabinet sends data again")
    await second.expect("已恢復回報")
    assert "Every gateway" in text_of(await manager.say("/silence"))
    for phone in (customer, technician):
        assert not [each for each in await phone.messages() if "cabinet" in text_of(each)]


async def test_a_silent_meter_is_a_repair_until_it_speaks(stage: Stage) -> None:
    customer, technician, manager, _ = await gather(stage)
    gateway = await open_gateway(stage)
    world = stage.world
    await begin(stage, gateway)
    quantity, value = VALUES[Service.ELECTRICITY]
    for _ in range(8):
        await live(stage, gateway, hours=1, silent=(world.home,))
        meter = world.home.meters[Service.ELECTRICITY]
        await gateway.sample(meter, quantity, [value], until=stage.clock.now())

    card = await customer.expect("R1001")
    assert "没有上报数据" in text_of(card)
    told = await manager.expect("R1001")
    assert "The meter has sent nothing since" in text_of(told)
    offer = await technician.expect("R1001")
    await technician.press(offer, "我来接单")
    await technician.say("/fixed R1001")
    assert "无法证实" in text_of((await technician.messages())[-1])
    await live(stage, gateway, hours=1)
    await manager.changed(told, "The meter reports again since")


async def report(stage: Stage, gateway: Gateway, state: str) -> None:
    """Let the gateway fetch its command, pass it on, and the valve obey."""
    (command,) = await gateway.get("/api/v1/commands?wait=10")
    assert command["wanted"] == state
    await gateway.post(f"/api/v1/commands/{command['nonce']}/accepted", {})
    move_clock(stage, stage.clock.now() + timedelta(minutes=3))
    moment = stage.clock.now().isoformat()
    body = {"meter": command["meter"], "state": state, "taken_at": moment}
    assert await gateway.post("/api/v1/device-states", {"states": [body]}) == {"fates": ["taken"]}


async def let_burst(stage: Stage, gateway: Gateway) -> None:
    """Let 900 litres an hour run, and the hourly look come now, whenever the last one was."""
    meter = stage.world.home.meters[Service.WATER]
    for hours, value in enumerate(("100", "100.9", "101.8", "102.7")):
        await gateway.read(meter, value, stage.clock.now() - (3 - hours) * HOUR)
    async with stage.database() as database, database.transaction() as session:
        await session.execute(delete(LeakLook))


async def test_a_burst_asks_a_manager_whether_to_close_the_valve(stage: Stage) -> None:
    customer, _, manager, second = await gather(stage)
    gateway = await open_gateway(stage)
    await let_burst(stage, gateway)
    found = await customer.expect("🚨")
    await customer.press(found, key_of(found, "🛠"))
    found = await customer.changed(found, "R1001")
    assert key_of(found, "👍")
    filed = text_of(await manager.expect("R1001"))
    assert "A burst is suspected" in filed
    assert "900 litres an hour" in filed
    assert "Critical" in filed
    own = await customer.expect("疑似爆管")
    assert key_of(own, "👍")

    card = await manager.expect("Close this home's valve?")
    other = await second.expect("關閉這戶的水閥嗎")
    assert "900 litres an hour" in text_of(card)
    await manager.press(card, "🛡 Close the valve")
    undo = await manager.expect("One press takes it back")
    told = text_of(await customer.expect("我们正在关闭"))
    assert "Maya Stone" in told
    assert "无需缴费" in told
    await second.changed(other, "Maya Stone")
    await report(stage, gateway, "cut")
    closed = await customer.expect("以保护您家")
    assert "缴费方式" not in text_of(closed)
    assert key_of(closed, "👍")
    told = await customer.say("/supply")
    assert "疑似爆管" in text_of(told)
    assert "危险解除" not in text_of(told)
    assert key_of(told, "👍")

    before = len(await manager.messages())
    take_back = partial(manager.press, undo, "↩ Take back and restore")
    await asyncio.gather(take_back(), take_back())  # the finger bounced
    shown = await manager.changed(undo, "restoration ordered")
    assert not [label for label in buttons_of(shown) if label.startswith("↩")]
    await report(stage, gateway, "connected")
    await customer.expect("如果您家仍然没有", seconds=20)
    assert "R1001" in text_of(await customer.say("/supply"))
    assert len(await manager.messages()) == before


async def test_water_comes_back_to_who_says_that_it_was_theirs(stage: Stage) -> None:
    customer, _, manager, _ = await gather(stage)
    gateway = await open_gateway(stage)
    await let_burst(stage, gateway)
    found = await customer.expect("🚨")
    await manager.expect("Close this home's valve?")
    await manager.say("/approve S1001")
    await report(stage, gateway, "cut")
    await customer.expect("以保护您家")

    await customer.press(found, key_of(found, "👍"))
    await customer.expect("S1002")
    await report(stage, gateway, "connected")
