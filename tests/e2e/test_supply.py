"""The end of the money loop in the chat: reminded, warned, cut by a manager, paid, restored."""

from datetime import date, datetime, timedelta

import pytest

from bot.api.auth import issue_token
from bot.clock import SystemClock
from core.accounts.models import Service
from tests.billing.books import OCTOBER, load_shipped, show
from tests.chat import Message, Phone, buttons_of, text_of
from tests.e2e.conftest import Stage
from tests.e2e.gateway import Gateway, open_gateway
from tests.e2e.test_bills import admin, checkout
from tests.supply.debt import at

REMINDED, NOTICED, MONDAY = date(2026, 11, 20), date(2026, 12, 18), date(2026, 12, 28)


def move_clock(stage: Stage, moment: datetime) -> None:
    stage.clock.set_at = SystemClock().now()
    stage.clock.shown_at = moment


async def say_state(stage: Stage, gateway: Gateway, state: str) -> None:
    """Let a minute pass and the meter say what its switch does."""
    move_clock(stage, stage.clock.now() + timedelta(minutes=1))
    body = {"meter": "E-10001", "state": state, "taken_at": stage.clock.now().isoformat()}
    answer = await gateway.post("/api/v1/device-states", {"states": [body]})
    assert answer == {"fates": ["taken"]}


@pytest.fixture
async def gateway(stage: Stage) -> Gateway:
    """Li Hua does not pay for electricity until a cut waits for a manager."""
    gateway = await open_gateway(stage)
    database = stage.service.database
    await load_shipped(database)
    meter = stage.world.home.meters[Service.ELECTRICITY]
    await show(database, meter, {OCTOBER.starts: "100", OCTOBER.ends: "200"})
    for person in (1001, 1002, 3001):
        await stage.phone(person).say("/start")
    await admin(stage, "POST", "billing-runs", json={"service": "electricity", "period": "2026-10"})
    customer = stage.phone(1001)
    await customer.expect("E1001")
    move_clock(stage, at(REMINDED))
    await customer.expect("温馨提醒")
    move_clock(stage, at(NOTICED))
    notice = await customer.expect("停供通知")
    assert any("56.53" in label for label in buttons_of(notice))
    move_clock(stage, at(MONDAY))
    return gateway


async def approve(stage: Stage, manager: Phone) -> Message:
    card = await manager.expect("Waiting for a manager")
    for fact in ("S1001", "10001", "56.53", "41 days", "E-10001", "delivered 18 Dec"):
        assert fact in text_of(card)
    await manager.press(card, "Approve")
    await manager.expect("last 4 characters")
    assert "does not" not in text_of(await manager.say("0001"))
    await stage.phone(1001).expect("最后提醒")
    return await manager.changed(card, "not sent yet")


async def cut(stage: Stage, gateway: Gateway) -> None:
    assert await gateway.get("/api/v1/commands") == []
    move_clock(stage, stage.clock.now() + timedelta(minutes=31))
    (command,) = await gateway.get("/api/v1/commands?wait=10")
    assert (command["meter"], command["wanted"]) == ("E-10001", "cut")
    accepted = await gateway.post(f"/api/v1/commands/{command['nonce']}/accepted", {})
    assert accepted == {"state": "accepted"}
    await say_state(stage, gateway, "cut")


async def test_cut_is_approved_told_paid_and_undone(stage: Stage, gateway: Gateway) -> None:
    customer, manager = stage.phone(1001), stage.phone(3001)
    card = await approve(stage, manager)
    assert "今天将停供" in text_of(await customer.say("/supply"))

    await cut(stage, gateway)
    told = await customer.expect("缴费方式")
    for words in ("S1001", "56.53", "E1001", "10001"):
        assert words in text_of(told)
    await manager.changed(card, "confirmed by the meter")
    why = await customer.say("/supply")
    assert "因欠费" in text_of(why)
    assert any("缴费" in label for label in buttons_of(why))

    await checkout(customer, await customer.say("/pay E1001"))
    await customer.expect("正在为")
    (command,) = await gateway.get("/api/v1/commands?wait=10")
    assert (command["wanted"], command["valid_until"]) == ("connected", None)
    await say_state(stage, gateway, "connected")
    await customer.expect("恢复供电")

    why = await customer.say("/supply")
    assert "供应正常" in text_of(why)
    await customer.press(why, "电")
    history = await customer.changed(why, "S1002")
    for words in ("S1001", "56.53", "Maya Stone", "欠费已缴清"):
        assert words in text_of(history)
    assert "S1001" in text_of(await customer.say("S1001"))
    assert "Maya" not in text_of(await stage.phone(1002).say("/order S1001"))


async def test_wrongful_cut_is_undone_with_one_press(stage: Stage, gateway: Gateway) -> None:
    manager = stage.phone(3001)
    card = await approve(stage, manager)
    await cut(stage, gateway)
    done = await manager.changed(card, "confirmed by the meter")

    await manager.press(done, "Take back")
    await manager.expect("taken back")
    (command,) = await gateway.get("/api/v1/commands?wait=10")
    assert command["wanted"] == "connected"


@pytest.mark.parametrize("typed", ["0002", "", "\u202e", "🙂", "<b>&", "9" * 4000])
async def test_approval_needs_the_meters_serial(stage: Stage, gateway: Gateway, typed: str) -> None:
    manager = stage.phone(3001)
    card = await manager.expect("Waiting for a manager")
    await manager.press(card, "Approve")
    await manager.expect("last 4 characters")
    if typed:
        assert "⚠" in text_of(await manager.say(typed))

    assert "Waiting" in text_of(await manager.refresh(card))
    await manager.press(card, "Decline")
    await manager.expect("Why is S1001 declined")
    await manager.say("in hospital")
    await manager.changed(card, "in hospital")
    assert await gateway.get("/api/v1/commands") == []


@pytest.mark.usefixtures("gateway")
async def test_customers_and_other_gateways_get_nothing(stage: Stage) -> None:
    customer = stage.phone(1001)
    for words in ("/cuts", "/approve S1001 0001", "/restore S1001", "/unreached"):
        assert "没有权限" in text_of(await customer.say(words))
    async with stage.service.database.transaction() as session:
        token = await issue_token(session, name="other", scope="gateway", now=stage.clock.now())
    other = Gateway(stage.http, stage.web, token, {})
    state = {"meter": "E-10001", "state": "cut", "taken_at": stage.clock.now().isoformat()}
    assert await other.post("/api/v1/device-states", {"states": [state]}) == {
        "fates": ["unknown_meter"]
    }
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{stage.web}/api/v1/commands/abc/accepted"
    async with stage.http.post(url, headers=headers) as answer:
        assert (answer.status, (await answer.json())["type"]) == (
            404,
            "/problems/supply.command_not_found",
        )
    async with stage.http.post(url.replace("abc", "%00"), headers=headers) as answer:
        assert answer.status == 422
    body = {"states": [{**state, "meter": "\x00"}]}
    async with stage.http.post(
        f"{stage.web}/api/v1/device-states", json=body, headers=headers
    ) as answer:
        assert answer.status == 422
