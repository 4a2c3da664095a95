"""The money loop in the chat: a bill comes, is looked at, explained and paid; both services."""

import itertools
from datetime import date, timedelta
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader
from sqlalchemy import select

from bot.api.auth import issue_token
from core.accounts.models import Service
from core.billing import payments
from core.billing.audit_checks import list_violations
from core.billing.correction_queries import list_proofs
from core.billing.models import Bill, PaymentState
from core.periods import month_of
from tests.billing.books import load_shipped, run_bills, show
from tests.chat import Phone, buttons_of, text_of
from tests.e2e.conftest import Stage
from tests.world import NOON

SEPTEMBER = {"service": "electricity", "period": "2026-09"}
RUNS = {
    "E1001": SEPTEMBER,
    "E1002": {"service": "electricity", "period": "2026-10"},
    "W1001": {"service": "water", "period": "2026-10"},
}
PRINTED = ("W1001", "Li Hua", "10001", "75.60", "2.20")
NOT_FOUND = "Не нахожу счёт W1001"  # noqa: RUF001 (Russian)
READ = {
    date(2026, 9, 1): "100",
    date(2026, 10, 1): "110",
    date(2026, 11, 1): "124",
}


@pytest.fixture
async def billed(stage: Stage) -> Stage:
    """Li Hua's two meters are read; electricity is billed for September, and all for October."""
    database = stage.service.database
    await load_shipped(database)
    for service in Service:
        await show(database, stage.world.home.meters[service], READ)
    for person in (1001, 1002, 3001):  # the bot may not write to people who never wrote
        await stage.phone(person).say("/start")
    for number, body in RUNS.items():
        await admin(stage, "POST", "billing-runs", json=body)
        await stage.phone(1001).expect(number)
    return stage


async def admin(stage: Stage, method: str, path: str, **request: Any) -> Any:
    async with stage.service.database.transaction() as session:
        token = await issue_token(session, name=f"desk {next(_names)}", scope="admin", now=NOON)
    headers = {"Authorization": f"Bearer {token}", **request.pop("headers", {})}
    url = f"{stage.web}/api/v1/{path}"
    async with stage.http.request(method, url, headers=headers, **request) as answer:
        if answer.content_type == "application/pdf":
            return await answer.read()
        return {"status": answer.status, **await answer.json()}


_names = itertools.count()


async def checkout(phone: Phone, message: dict[str, Any]) -> dict[str, Any]:
    """Open an invoice's sheet and pay."""
    number = message["message_id"]
    opened = await phone.post("checkout", message_id=number, action="open")
    paid: dict[str, Any] = await phone.post(
        "checkout", message_id=number, action="pay", query_id=opened["query_id"]
    )
    return paid


async def invoice(phone: Phone, words: str) -> dict[str, Any]:
    message = await phone.say(words)
    assert "invoice" in message, message
    return message


async def require_sound_books(stage: Stage) -> None:
    async with stage.service.database.transaction() as session:
        assert await list_violations(session) == []


class TestBill:
    async def test_comes_with_its_document_and_can_be_looked_at(self, billed: Stage) -> None:
        phone = billed.phone(1001)
        came = await phone.expect("W1001")

        assert came["document"]["file_name"] == "W1001.pdf"
        assert "24" in text_of(came)
        shown = await phone.say("/bills")
        assert {label[:9] for label in buttons_of(shown)} >= {
            "● 电 E1001",
            "● 电 E1002",
            "● 水 W1001",
        }
        await phone.press(shown, "E1002")
        bill = await phone.changed(shown, "E1002")
        assert all(words in text_of(bill) for words in ("110", "124", "0.5653", "7.91"))
        await phone.press(bill, "为什么")
        why = await phone.changed(shown, "E1001")
        assert "每天用" in text_of(why)

    async def test_counts_as_seen_from_the_first_button_pressed_below_it(
        self, billed: Stage
    ) -> None:
        phone = billed.phone(1001)
        came = await phone.expect("W1001")

        async def seen() -> list[bool]:
            async with billed.service.database.transaction() as session:
                bill = (await session.scalars(select(Bill).where(Bill.number == "W1001"))).one()
                proofs = await list_proofs(session, bill=bill)
                return [proof.seen_at is not None for proof in proofs]

        assert not any(await seen())
        await phone.press(came, "为什么")
        await phone.expect("第一张账单")
        assert any(await seen())

    async def test_has_one_number_in_message_self_service_and_document_at_once(
        self, billed: Stage
    ) -> None:
        database, world = billed.service.database, billed.world
        await show(
            database,
            world.neighbour.meters[Service.ELECTRICITY],
            {date(2026, 9, 1): "0", date(2026, 10, 1): "90"},
        )

        await run_bills(database, Service.ELECTRICITY, month_of(date(2026, 9, 1)))
        # Nothing has to be waited for: what one of the three has, the others have.
        pdf = await admin(billed, "GET", "bills/E1003/document.pdf")
        message = await billed.phone(1002).expect("E1003")
        listed = await billed.phone(1002).say("/bills")

        words = "".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)
        assert "E1003" in words
        assert "50.88" in words
        assert any("E1003" in label for label in buttons_of(listed))
        assert message["document"]["file_name"] == "E1003.pdf"
        assert "50,88" in text_of(message)
        assert text_of(message).count("E1003") == 1

    async def test_of_somebody_else_does_not_exist(self, billed: Stage) -> None:
        phone = billed.phone(1002)

        for words in ("/bill W1001", "W1001", "/why W1001", "/pay W1001"):
            assert NOT_FOUND in text_of(await phone.say(words))

    async def test_is_held_back_until_a_manager_sends_it(self, billed: Stage) -> None:
        database = billed.service.database
        await show(
            database,
            billed.world.neighbour.meters[Service.ELECTRICITY],
            {date(2026, 9, 1): "0", date(2026, 10, 1): "90000"},
        )
        dry = await admin(billed, "POST", "billing-runs", json={**SEPTEMBER, "dry_run": True})
        await admin(billed, "POST", "billing-runs", json=SEPTEMBER)
        manager = billed.phone(3001)

        assert (dry["bills"], dry["held"], dry["strangest"][0]["reason"]) == (1, 1, "absurd")
        list_ = await until_held(manager)
        await manager.press(list_, "E1003")
        held = await manager.changed(list_, "Held back")
        assert "E1003" not in str(await billed.phone(1002).messages())
        await manager.press(held, "Send it")
        await manager.changed(held, "To pay")
        assert (await billed.phone(1002).expect("E1003"))["document"]["file_name"] == "E1003.pdf"
        await require_sound_books(billed)


async def until_held(manager: Phone) -> dict[str, Any]:
    for _ in range(50):
        message = await manager.say("/bills")
        if any("E1003" in label for label in buttons_of(message)):
            return message
    raise AssertionError("nothing is held")


class TestPaying:
    async def test_in_the_chat_settles_the_bill_once(self, billed: Stage) -> None:
        phone = billed.phone(1001)
        asked = await invoice(phone, "/pay W1001")
        again = await invoice(phone, "/pay W1001")

        paid = await checkout(phone, asked)
        receipt = await phone.expect("P1001")
        refused = await checkout(phone, again)

        assert paid["state"] == "paid", paid
        assert receipt["document"]["file_name"] == "P1001.pdf"
        assert "已缴清" in text_of(receipt)
        assert refused["state"] != "paid"
        assert "已缴清" in str(refused)
        await require_sound_books(billed)

    async def test_warns_first_while_nobody_knows_of_an_earlier_payment(
        self, billed: Stage
    ) -> None:
        phone = billed.phone(1001)
        async with billed.service.database.transaction() as session:
            await payments.record_payment(
                session,
                provider="link",
                reference="pi_1",
                target=await payments.find_target_by_bill(session, number="W1001"),
                amount_minor=100,
                currency="CNY",
                received_at=NOON,
                now=NOON,
                state=PaymentState.UNKNOWN,
            )
        assert "P1001" in text_of(await phone.expect("是否到账尚不清楚"))

        warned = await phone.say("/pay W1001")
        assert "可能会重复付款" in text_of(warned)
        assert "invoice" not in warned
        await phone.press(warned, "仍然支付")
        assert (await phone.next())["invoice"]["currency"] == "CNY"

    async def test_takes_a_part(self, billed: Stage) -> None:
        phone = billed.phone(1001)
        asked = await invoice(phone, "/pay W1001 20.00")

        await checkout(phone, asked)

        assert "55.60" in text_of(await phone.expect("P1001"))
        assert "55.60" in text_of(await phone.say("W1001"))

    async def test_pays_all_that_is_overdue_at_once(self, billed: Stage) -> None:
        billed.clock.shown_at += timedelta(days=30)
        phone = billed.phone(1001)
        bill = await phone.say("/bills")
        await phone.post("press_data", message_id=bill["message_id"], data="paydue:E1001")
        messages = await phone.until(lambda all_: any("invoice" in each for each in all_))
        (asked,) = [each for each in messages if "invoice" in each]

        assert asked["invoice"]["total_amount"] == 565 + 791
        await checkout(phone, asked)
        receipt = text_of(await phone.expect("P1001"))
        assert "E1001" in receipt
        assert "E1002" in receipt
        assert "W1001" not in receipt
        await require_sound_books(billed)

    @pytest.mark.parametrize(
        "amount", ["abc", "-5", "0", "1e400", "999999", "0.001", "NaN", "<b>&", "१२", "9" * 300]
    )
    async def test_refuses_an_amount_that_cannot_be(self, billed: Stage, amount: str) -> None:
        answer = await billed.phone(1001).say(f"/pay W1001 {amount}")

        assert "invoice" not in answer
        assert "⚠" in text_of(answer)


class TestTheCashier:
    async def test_takes_money_once_per_key(self, billed: Stage) -> None:
        body = {"bill": "W1001", "amount": {"amount": "80.00", "currency": "CNY"}}
        key = {"Idempotency-Key": "desk-1"}

        first = await admin(billed, "POST", "payments", json=body, headers=key)
        again = await admin(billed, "POST", "payments", json=body, headers=key)
        other = await admin(
            billed,
            "POST",
            "payments",
            json={**body, "amount": {"amount": "81.00", "currency": "CNY"}},
            headers=key,
        )
        none = await admin(billed, "POST", "payments", json=body)

        assert (first["status"], first["number"], first["credit"]["amount"]) == (
            200,
            "P1001",
            "4.40",
        )
        assert again == first
        assert (other["status"], other["type"]) == (409, "/problems/payment.conflict")
        assert none["status"] == 422
        assert "80.00" in text_of(await billed.phone(1001).expect("P1001"))
        await require_sound_books(billed)

    async def test_pays_an_account_and_reads_the_bill_and_its_document(self, billed: Stage) -> None:
        body = {
            "account": "10001",
            "service": "electricity",
            "amount": {"amount": "5.65", "currency": "CNY"},
        }
        taken = await admin(
            billed, "POST", "payments", json=body, headers={"Idempotency-Key": "desk-2"}
        )
        bill = await admin(billed, "GET", "bills/e1001")
        pdf = await admin(
            billed, "GET", "bills/W1001/document.pdf", headers={"Accept-Language": "en"}
        )

        assert [paid["number"] for paid in taken["bills"]] == ["E1001"]
        assert (bill["state"], bill["left"]["amount"]) == ("settled", "0.00")
        words = "".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)
        assert [part for part in PRINTED if part not in words] == [], words


class TestDesk:
    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"amount": {"amount": "1.00", "currency": "USD"}}, 422),
            ({"received_at": "9999-12-31T23:59:59Z"}, 422),
            ({"received_at": "0001-01-01T00:00:00+14:00"}, 422),
            ({"received_at": "2099-01-01T00:00:00Z"}, 422),
            ({"bill": "W9999\0"}, 422),
        ],
    )
    async def test_refuses_money_that_cannot_be(
        self, billed: Stage, change: dict[str, Any], status: int
    ) -> None:
        body = {"bill": "W1001", "amount": {"amount": "1.00", "currency": "CNY"}, **change}

        answer = await admin(
            billed, "POST", "payments", json=body, headers={"Idempotency-Key": "desk-9"}
        )

        assert answer["status"] == status, answer
        assert "75.60" in text_of(await billed.phone(1001).say("W1001"))


class TestWayBack:
    async def test_is_offered_where_a_bill_is_chosen_and_from_a_button_out_of_date(
        self, billed: Stage
    ) -> None:
        phone = billed.phone(1001)

        chosen = await phone.say("/pay")

        assert "返回首页" in buttons_of(chosen)[-1]
        await phone.post("press_data", message_id=chosen["message_id"], data="nonsense:1")
        assert "返回首页" in buttons_of(await phone.expect("过期"))[-1]

    async def test_is_not_lost_in_a_long_number_written_back(self, billed: Stage) -> None:
        answer = await billed.phone(1001).say("/bill " + "9" * 3000)

        assert len(text_of(answer)) < 400
