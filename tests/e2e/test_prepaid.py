"""A prepaid home in the chat: topped up, used, told, cut by a person in working hours, back."""

from datetime import date, timedelta

import pytest

from core.accounts.models import Service
from tests.billing.books import OCTOBER, ask, load_shipped, show
from tests.chat import Message, Phone, buttons_of, text_of
from tests.e2e.conftest import Stage, move_clock
from tests.e2e.gateway import Gateway, open_gateway
from tests.e2e.test_bills import admin, checkout
from tests.e2e.test_supply import Debtor, until_recorded
from tests.supply.debt import at

POWER = Service.ELECTRICITY
MONDAY = date(2026, 11, 9)
WORDS: dict[str, dict[str, str]] = {
    "简体中文": {
        "switched": "改为预付费",
        "none": "没有需要充值的余额",
        "top up": "充值\uff1a电",
        "amount?": "要充值多少",
        "kept": "记入您的账户\uff1a¥60.00",
        "left": "余额\uff1a¥60.00",
        "when": "何时提醒",
        "steps?": "余额降到多少时提醒您",
        "picked": "余额降到 ¥100.00, ¥50.00",
        "step": "降到 ¥50.00 或以下\uff1a还剩 ¥37.39",
        "zero": "您的余额已用完\uff1a-¥2.18",
        "rest": "¥20.00 中还剩 ¥17.82",
        "used up": "余额和额度已用完\uff1a-¥24.80",
        "waits": "等待管理员决定",
        "approve": "批准",
        "serial?": "最后 4 位",
        "approved": "S1001 已批准",
        "last warning": "最后提醒",
        "cut": "请按下面的按钮充值",
        "nothing owed": "已无欠费",
        "why": "因预付余额和应急额度已用完",
        "coming": "正在为",
        "back": "如果您家仍然没有",
        "topped up": "已充值",
    },
    "English": {
        "switched": "paid ahead",
        "none": "no balance to top up",
        "top up": "Top up: Electricity",
        "amount?": "How much do you want to top up",
        "kept": "kept as your credit: CN¥60.00",
        "left": "Balance: CN¥60.00",
        "when": "When to tell me",
        "steps?": "At which balances shall I tell you",
        "picked": "falls to CN¥100.00, CN¥50.00, and at zero",
        "step": "fallen to CN¥50.00 or below: CN¥37.39",
        "zero": "Your balance is used up: -CN¥2.18",
        "rest": "CN¥17.82 of CN¥20.00 is left",
        "used up": "Nothing is left: -CN¥24.80",
        "waits": "Waiting for a manager",
        "approve": "Approve",
        "serial?": "last 4 characters",
        "approved": "S1001 is approved",
        "last warning": "Last warning",
        "cut": "Top up with the button",
        "nothing owed": "Nothing more is owed",
        "why": "because prepaid and emergency credit are used up",
        "coming": "is being switched on again",
        "back": "If yours is still off",
        "topped up": "the balance was topped up",
    },
}


def are_picked(message: Message, steps: set[str]) -> bool:
    """Tell whether exactly these steps are marked on the buttons."""
    marked = {label for label in buttons_of(message) if label.startswith("☑")}
    return {label.rpartition("\u00a5")[2] for label in marked} == {f"{each}.00" for each in steps}


class Home:
    """Li Hua, whose electricity is paid ahead, and whoever has to do with that."""

    def __init__(self, stage: Stage, gateway: Gateway, words: dict[str, str]) -> None:
        self.stage = stage
        self.gateway = gateway
        self.words = words
        self.register = 200
        self.debtor = Debtor(stage, gateway, POWER, words)

    @property
    def phone(self) -> Phone:
        return self.stage.phone(1001)

    async def use(self, kwh: int) -> None:
        """Let hours pass in which so much is used, and somebody looks."""
        self.register += kwh
        move_clock(self.stage, self.stage.clock.now() + timedelta(hours=2))
        meter = self.stage.world.home.meters[POWER]
        await self.gateway.read(meter, str(self.register), self.stage.clock.now())

    async def top_up(self, typed: str) -> None:
        """Top up as the buttons lead."""
        shown = await self.phone.say("/balance")
        await self.phone.press(shown, self.words["top up"])
        await self.phone.changed(shown, self.words["amount?"])
        await checkout(self.phone, await self.phone.say(typed))

    async def approve(self) -> Message:
        manager = self.debtor.manager
        card = await self.debtor.expect_card()
        for fact in ("S1001", "10001", "24.80"):
            assert fact in text_of(card)
        await manager.press(card, self.words["approve"])
        await manager.expect(self.words["serial?"])
        await manager.say("0001")
        await manager.expect(self.words["approved"])
        warned = text_of(await self.phone.expect(self.words["last warning"]))
        assert "24.80" in warned
        assert "\u00a54.81" in warned  # what is missing to be above -20.00
        return card


@pytest.fixture
async def home(stage: Stage, request: pytest.FixtureRequest) -> Home:
    """October was read and nothing used; from now on Li Hua pays ahead."""
    gateway = await open_gateway(stage)
    database = stage.service.database
    await load_shipped(database)
    meter = stage.world.home.meters[POWER]
    await show(database, meter, {OCTOBER.starts: "200", OCTOBER.ends: "200"})
    made = Home(stage, gateway, WORDS[request.param])
    await stage.phone(1002).say("/start")
    for phone in (made.phone, made.debtor.manager):
        await phone.speak(request.param)
    assert made.words["none"] in text_of(await made.phone.say("/balance"))
    path = "accounts/10001/electricity/payment"
    for _ in range(2):
        answer = await admin(stage, "PUT", path, json={"prepaid": True})
        assert (answer["status"], answer["prepaid"]) == (200, True)
    assert answer["balance"] == {"amount": "0.00", "currency": "CNY"}
    await made.phone.expect(made.words["switched"])
    return made


@pytest.mark.parametrize("home", ["简体中文", "English"], ids=["zh_CN", "en"], indirect=True)
async def test_prepaid_home_is_told_cut_and_restored(stage: Stage, home: Home) -> None:
    phone, words = home.phone, home.words
    await home.top_up("60")
    await phone.expect(words["kept"])
    shown = await phone.say("/balance")
    assert words["left"] in text_of(shown)

    await phone.press(shown, words["when"])
    steps = await phone.changed(shown, words["steps?"])
    for pressed, picked in (("10.00", {"30"}), ("50.00", {"30", "50"})):
        label = next(each for each in buttons_of(steps) if each.endswith(f"\u00a5{pressed}"))
        await phone.press(steps, label)
        await phone.until(lambda all_, picked=picked: are_picked(all_[-1], picked))
        steps = await phone.refresh(steps)
    await phone.say("100 50")
    assert words["picked"] in text_of(await phone.say("/balance"))

    await home.use(40)
    told = await phone.expect(words["step"], seconds=60)
    assert any(words["top up"] in label for label in buttons_of(told))
    await home.use(70)
    assert words["rest"] in text_of(await phone.expect(words["zero"], seconds=60))
    await home.use(40)
    await phone.expect(words["used up"], seconds=60)
    await until_recorded(stage)

    move_clock(stage, at(MONDAY))
    await home.use(0)
    card = await home.approve()
    await home.top_up("1")
    receipt = text_of(await phone.expect("P1002"))
    assert "-CN¥23.80" in receipt or "-¥23.80" in receipt
    assert "\u00a53.81" in receipt
    assert words["nothing owed"] not in receipt
    await home.debtor.cut()
    cut = text_of(await phone.expect(words["cut"]))
    assert "23.80" in cut
    assert "\u00a53.81" in cut
    supply = text_of(await phone.say("/supply"))
    assert words["why"] in supply
    assert "\u00a53.81" in supply

    await home.top_up("50")
    await phone.expect(words["coming"])
    (command,) = await home.gateway.get("/api/v1/commands?wait=10")
    assert command["wanted"] == "connected"
    await home.debtor.say_state("connected")
    await phone.expect(words["back"])
    assert words["topped up"] in text_of(await home.debtor.manager.changed(card, "S1002"))
    async with stage.database() as database:
        ((bills,),) = await ask(
            database, "SELECT count(*) FROM shuidian.deliveries WHERE kind LIKE 'dunning%'"
        )
    assert bills == 0
