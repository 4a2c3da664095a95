"""Both loops on the phones, in a real browser, with pictures of them in `screenshots/`."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, async_playwright, expect

from bot.api.auth import issue_token
from core.accounts.models import Service
from core.monitoring.models import Quantity
from tests.billing.books import load_shipped, show
from tests.e2e.gateway import open_gateway
from tests.stage import Stage

CHROMIUM = Path("/usr/bin/chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PICTURES = Path(__file__).parents[2] / "screenshots"
PATIENCE_MS = 20_000

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed"),
]


@pytest.fixture
async def page(stage: Stage) -> AsyncIterator[Page]:
    PICTURES.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        opened = await browser.new_page(viewport={"width": 1600, "height": 1000}, locale="en-US")
        opened.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        for person in (1001, 2001, 3001):
            await stage.phone(person).say("/start")
        await opened.goto(stage.base)
        yield opened
        await browser.close()


def phone(page: Page, person: int) -> Locator:
    return page.locator(f'[data-person="{person}"]')


async def say(on: Locator, words: str) -> None:
    await on.locator("[data-role=composer]").fill(words)
    await on.locator("[data-role=send]").click()


async def press(on: Locator, label: str) -> None:
    await on.get_by_role("button", name=label).last.click()


async def test_voltage_sag_becomes_a_repair_that_the_customer_closes(
    stage: Stage, page: Page
) -> None:
    customer, technician, manager = (phone(page, person) for person in (1001, 2001, 3001))
    gateway = await open_gateway(stage)
    meter = stage.world.home.meters[Service.ELECTRICITY]
    await gateway.sample(meter, Quantity.VOLTAGE, ["185.2"] * 4, until=stage.clock.now())

    for on in (customer, technician, manager):
        await expect(on).to_contain_text("R1001")
    await press(technician, "我来接单")
    await expect(customer).to_contain_text("Wang Qiang")
    await press(technician, "出发了")
    await expect(customer).to_contain_text("▶ 正在赶来")
    await page.screenshot(path=PICTURES / "repair.png")
    stage.clock.shown_at += timedelta(hours=2)
    await gateway.sample(meter, Quantity.VOLTAGE, ["221.0"] * 4, until=stage.clock.now())
    await expect(customer).to_contain_text("已恢复正常")
    await say(technician, "/fixed R1001")
    await press(customer, "修好了")
    await expect(customer).to_contain_text("▶ 已确认并结案")
    await page.screenshot(path=PICTURES / "repaired.png")


async def test_bill_is_paid_on_the_sheet(stage: Stage, page: Page) -> None:
    customer = phone(page, 1001)
    database = stage.service.database
    await load_shipped(database)
    readings = {date(2026, 10, 1): "100", date(2026, 11, 1): "110"}
    await show(database, stage.world.home.meters[Service.ELECTRICITY], readings)
    async with database.transaction() as session:
        token = await issue_token(session, name="desk", scope="admin", now=stage.clock.now())
    async with stage.http.post(
        f"{stage.web}/api/v1/billing-runs",
        json={"service": "electricity", "period": "2026-10"},
        headers={"Authorization": f"Bearer {token}"},
    ) as answer:
        assert answer.status == 202, await answer.text()

    await expect(customer).to_contain_text("E1001")
    await page.screenshot(path=PICTURES / "bill.png")
    await say(customer, "/pay E1001")
    invoice = customer.locator(".message:has([data-role=invoice])")
    await invoice.locator("[data-role=inline-button]").click()
    sheet = customer.locator("[data-role=sheet]")
    await expect(sheet).to_be_visible()
    await page.screenshot(path=PICTURES / "sheet.png")
    await sheet.locator("[data-role=sheet-pay]").click()
    await expect(customer).to_contain_text("P1001")
    await page.screenshot(path=PICTURES / "receipt.png")
