"""The end of the money loop in the chat: reminded, warned, cut by a manager, paid, restored."""

import asyncio
from dataclasses import dataclass
from datetime import date, timedelta

import pytest
from sqlalchemy import select, text

from bot.api.auth import issue_token
from bot.due import OPEN
from core.accounts.models import Service
from core.db import Database
from core.notices.models import Delivery, Outcome
from tests.billing.books import OCTOBER, load_shipped, show
from tests.chat import Message, Phone, buttons_of, text_of
from tests.e2e.conftest import Stage, move_clock
from tests.e2e.gateway import Gateway, open_gateway
from tests.e2e.test_bills import admin, checkout
from tests.supply.debt import BILL, MONDAY, NOTICED, OWED, REMINDED, at, begin_debt, set_reachable

OPENS = {Service.ELECTRICITY: (OCTOBER.starts, "200"), Service.WATER: (date(2026, 9, 1), "112")}
# What is pressed and read in each language.
WORDS: dict[str, dict[str, str]] = {
    "简体中文": {
        "reminder": "温馨提醒",
        "notice": "停供通知",
        "waits": "等待管理员决定",
        "facts": "{owed}|已逾期 41 天|停供通知已于12月{day}日",
        "approve": "✅ 批准",
        "serial?": "最后 4 位",
        "approved": "S1001 已批准",
        "last warning": "最后提醒",
        "not sent": "尚未发出",
        "today": "今天将停供",
        "how to pay": "缴费方式",
        "confirmed": "表计已确认",
        "because": "因欠费",
        "pay": "缴费",
        "coming": "正在为",
        "back": "如果您家仍然没有",
        "on": "供应正常",
        "electricity": "电",
        "paid": "欠费已缴清",
    },
    "English": {
        "reminder": "A friendly reminder",
        "notice": "Notice of cut-off",
        "waits": "Waiting for a manager",
        "facts": "{owed}|41 days|Notice of cut-off delivered {day} Dec",
        "approve": "Approve",
        "serial?": "last 4 characters",
        "approved": "S1001 is approved",
        "last warning": "Last warning",
        "not sent": "not sent yet",
        "today": "will be cut off today",
        "how to pay": "How to pay",
        "confirmed": "confirmed by the meter",
        "because": "is overdue",
        "pay": "Pay",
        "coming": "is being switched on again",
        "back": "If yours is still off",
        "on": "your supply is on",
        "electricity": "Electricity",
        "water": "Water",
        "paid": "what was overdue is paid",
    },
}


async def until_recorded(stage: Stage) -> None:
    """Wait until it stands when each message was sent: what follows counts from that day."""
    async with asyncio.timeout(20), stage.database() as database:
        while True:
            async with database.transaction() as session:
                open_ = select(Delivery.id).where(Delivery.outcome.in_((*OPEN, Outcome.SENDING)))
                if await session.scalar(open_.limit(1)) is None:
                    return
            await asyncio.sleep(0.05)


@dataclass
class Debtor:
    """Li Hua, who owes for one service, and whoever has to do with that in one language."""

    stage: Stage
    gateway: Gateway
    kind: Service
    words: dict[str, str]

    @property
    def serial(self) -> str:
        return f"{self.kind.value[0].upper()}-10001"

    @property
    def owed(self) -> str:
        return f"{OWED[self.kind] // 100}.{OWED[self.kind] % 100:02}"

    @property
    def customer(self) -> Phone:
        return self.stage.phone(1001)

    @property
    def manager(self) -> Phone:
        return self.stage.phone(3001)

    async def expect_card(self) -> Message:
        return await self.manager.expect(self.words["waits"], seconds=60)

    async def approve(self) -> Message:
        card = await self.expect_card()
        told = self.words["facts"].format(owed=self.owed, day=NOTICED[self.kind].day)
        for fact in ("S1001", "10001", self.serial, *told.split("|")):
            assert fact in text_of(card)
        await self.manager.press(card, self.words["approve"])
        await self.manager.expect(self.words["serial?"])
        await self.manager.say("0001")
        await self.manager.expect(self.words["approved"])
        await self.customer.expect(self.words["last warning"])
        return await self.manager.changed(card, self.words["not sent"])

    async def say_state(self, state: str) -> None:
        """Let a minute pass and the meter say what its switch does."""
        move_clock(self.stage, self.stage.clock.now() + timedelta(minutes=1))
        moment = self.stage.clock.now().isoformat()
        body = {"meter": self.serial, "state": state, "taken_at": moment}
        answer = await self.gateway.post("/api/v1/device-states", {"states": [body]})
        assert answer == {"fates": ["taken"]}

    async def cut(self) -> None:
        assert await self.gateway.get("/api/v1/commands") == []
        move_clock(self.stage, self.stage.clock.now() + timedelta(minutes=31))
        (command,) = await self.gateway.get("/api/v1/commands?wait=10")
        assert (command["meter"], command["wanted"]) == (self.serial, "cut")
        path = f"/api/v1/commands/{command['nonce']}/accepted"
        assert await self.gateway.post(path, {}) == {"state": "accepted"}
        await self.say_state("cut")


@pytest.fixture
async def debtor(stage: Stage, request: pytest.FixtureRequest) -> Debtor:
    """Li Hua does not pay for a service until a cut waits for a manager."""
    kind, language = getattr(request, "param", (Service.ELECTRICITY, "English"))
    words = WORDS[language]
    gateway = await open_gateway(stage)
    database = stage.service.database
    await load_shipped(database)
    opens, used = OPENS[kind]
    await show(database, stage.world.home.meters[kind], {opens: "100", OCTOBER.ends: used})
    customer, neighbour, manager = (stage.phone(person) for person in (1001, 1002, 3001))
    await neighbour.say("/start")
    for phone in (customer, manager):
        await phone.speak(language)
    await admin(stage, "POST", "billing-runs", json={"service": kind.value, "period": "2026-10"})
    await customer.expect(BILL[kind])
    move_clock(stage, at(REMINDED))
    await customer.expect(words["reminder"], seconds=60)
    await until_recorded(stage)
    move_clock(stage, at(NOTICED[kind]))
    made = Debtor(stage, gateway, kind, words)
    notice = await customer.expect(words["notice"], seconds=60)
    assert any(made.owed in label for label in buttons_of(notice))
    await until_recorded(stage)
    move_clock(stage, at(MONDAY))
    return made


@pytest.mark.parametrize(
    "debtor",
    [(Service.ELECTRICITY, "简体中文"), (Service.WATER, "English")],
    ids=["electricity-zh_CN", "water-en"],
    indirect=True,
)
async def test_cut_is_approved_told_paid_and_undone(stage: Stage, debtor: Debtor) -> None:
    customer, words = debtor.customer, debtor.words
    card = await debtor.approve()
    assert words["today"] in text_of(await customer.say("/supply"))

    await debtor.cut()
    told = await customer.expect(words["how to pay"])
    for fact in ("S1001", debtor.owed, BILL[debtor.kind], "10001"):
        assert fact in text_of(told)
    await debtor.manager.changed(card, words["confirmed"])
    why = await customer.say("/supply")
    assert words["because"] in text_of(why)
    assert any(words["pay"] in label for label in buttons_of(why))

    await checkout(customer, await customer.say(f"/pay {BILL[debtor.kind]}"))
    await customer.expect(words["coming"])
    (command,) = await debtor.gateway.get("/api/v1/commands?wait=10")
    assert (command["wanted"], command["valid_until"]) == ("connected", None)
    await debtor.say_state("connected")
    await customer.expect(words["back"])
    undone = text_of(await debtor.manager.changed(card, "S1002"))
    assert words["paid"] in undone

    why = await customer.say("/supply")
    assert words["on"] in text_of(why)
    await customer.press(why, words[debtor.kind])
    history = await customer.changed(why, "S1002")
    for fact in ("S1001", debtor.owed, "Maya Stone", words["paid"]):
        assert fact in text_of(history)
    assert "S1001" in text_of(await customer.say("S1001"))
    assert "Maya" not in text_of(await stage.phone(1002).say("/order S1001"))


async def test_wrongful_cut_is_undone_with_one_press(debtor: Debtor) -> None:
    card = await debtor.approve()
    await debtor.cut()
    done = await debtor.manager.changed(card, "confirmed by the meter")

    await debtor.manager.press(done, "Take back")
    await debtor.manager.expect("taken back")
    (command,) = await debtor.gateway.get("/api/v1/commands?wait=10")
    assert command["wanted"] == "connected"


async def test_cut_outside_hours_is_refused_before_the_serial_is_asked_for(
    stage: Stage, debtor: Debtor
) -> None:
    manager = debtor.manager
    card = await debtor.expect_card()
    move_clock(stage, at(MONDAY, 14))

    await manager.press(card, "Approve")
    assert "Monday to Thursday" in text_of(await manager.expect("cannot be approved now"))
    await manager.say("/approve S1001")
    await manager.until(
        lambda all_: sum("cannot be approved now" in text_of(each) for each in all_) == 2
    )
    await manager.say("0001")
    await manager.expect("/help")

    assert "Waiting" in text_of(await manager.refresh(card))
    assert not any("last 4" in text_of(message) for message in await manager.messages())


async def test_the_card_of_the_list_shows_what_was_decided(debtor: Debtor) -> None:
    manager = debtor.manager
    await debtor.expect_card()
    listed = await manager.say("/cuts")
    await manager.press(listed, "S1001")
    card = await manager.changed(listed, "Waiting")

    await manager.press(card, "Approve")
    await manager.expect("last 4 characters")
    await manager.say("0001")

    shown = await manager.changed(listed, debtor.words["not sent"])
    assert not [label for label in buttons_of(shown) if "Approve" in label]


async def test_approval_needs_the_meters_serial(debtor: Debtor) -> None:
    manager = debtor.manager
    card = await debtor.expect_card()
    await manager.press(card, "Approve")
    await manager.expect("last 4 characters")
    await manager.mark()
    for typed in ("0002", "\u202e", "🙂", "<b>&", "9" * 4000):
        assert "⚠" in text_of(await manager.say(typed))

    assert "Waiting" in text_of(await manager.refresh(card))
    await manager.press(card, "Decline")
    await manager.expect("Why is S1001 declined")
    await manager.say("in hospital")
    await manager.changed(card, "in hospital")
    assert await debtor.gateway.get("/api/v1/commands") == []


@pytest.mark.usefixtures("debtor")
async def test_customers_and_other_gateways_get_nothing(stage: Stage) -> None:
    customer = stage.phone(1001)
    commands = ("/cuts", "/approve S1001 0001", "/restore S1001", "/unreached")
    for words in commands:
        await customer.say(words)  # the next month's bill may come between
    await customer.until(
        lambda all_: sum("You may not do this" in text_of(each) for each in all_) == len(commands)
    )
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


# Fifty more accounts, each with its own bill at the same step of the ladder.
MORE_DEBTORS = (
    """
    INSERT INTO shuidian.accounts (number, premise_id, holder_name)
    SELECT 'D' || added, premise_id, holder_name FROM shuidian.accounts account
    JOIN shuidian.agreements agreement ON account_id = account.id, generate_series(1, 50) added
    WHERE agreement.id = :agreement
    """,
    """
    INSERT INTO shuidian.agreements
        (account_id, service_point_id, tariff_code, starts_date, ends_date)
    SELECT added.id, service_point_id, tariff_code, starts_date, '2027-01-01'
    FROM shuidian.agreements agreement, shuidian.accounts added
    WHERE agreement.id = :agreement AND added.number LIKE 'D%'
    """,
    """
    INSERT INTO shuidian.bills
        (number, agreement_id, tariff_version_id, starts_date, ends_date, consumption, currency,
         total_minor, state, issued_at, due_date, inputs)
    SELECT 'E2' || added.id, added.id, tariff_version_id, bill.starts_date, bill.ends_date,
        consumption, currency, total_minor, state, issued_at, due_date, inputs
    FROM shuidian.bills bill, shuidian.agreements added WHERE added.ends_date IS NOT NULL
    """,
    """
    INSERT INTO shuidian.dunning_steps
        (agreement_id, bill_id, kind, round, at, owed_minor, dedupe_key, unreached_at)
    SELECT bill.agreement_id, bill.id, kind, round, at, owed_minor, dedupe_key, unreached_at
    FROM shuidian.dunning_steps, shuidian.bills bill WHERE bill.agreement_id <> :agreement
    """,
)


async def test_all_whom_no_message_reaches_are_counted(
    empty_stage: Stage, database: Database
) -> None:
    debt = await begin_debt(database, empty_stage.world, Service.ELECTRICITY)
    await set_reachable(database, empty_stage.world.home.holder_contact, since=debt.now)
    day_after = REMINDED + timedelta(days=1)
    await debt.live_until(day_after, outcome=Outcome.BLOCKED, daily=True)
    async with database.transaction() as session:
        for query in MORE_DEBTORS:
            await session.execute(text(query), {"agreement": debt.agreement})

    move_clock(empty_stage, debt.now)
    async with empty_stage.serving(roles=frozenset({"chat"})):
        manager = empty_stage.phone(3001)
        shown = await manager.say("/unreached")
        pages = [text_of(shown)]
        for _ in range(2):
            await manager.press(await manager.refresh(shown), "More")
            await manager.until(lambda all_: text_of(all_[-1]) not in pages)
            pages.append(text_of(await manager.refresh(shown)))

    assert all("51 households" in page for page in pages)
    assert [page.count("account") for page in pages] == [20, 20, 11]
