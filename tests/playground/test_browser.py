"""The page in a real browser, against the real server and a scripted python-telegram-bot."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, async_playwright, expect
from telegram import (
    ForceReply,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    KeyboardButton,
    LabeledPrice,
    ReplyKeyboardMarkup,
    Update,
)
from telegram.ext import (
    Application,
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    MessageHandler,
    PreCheckoutQueryHandler,
    filters,
)

from tests.playground.conftest import TOKEN, Desk, open_desk

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIXTY_TIMES = "\N{MULTIPLICATION SIGN}60"
STATIC = Path(__file__).parents[2] / "bot" / "playground" / "static"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed"),
]
Context = ContextTypes.DEFAULT_TYPE


async def start(update: Update, context: Context) -> None:
    keys = [[InlineKeyboardButton(word, callback_data=word) for word in ("Yes", "Wait")]]
    await update.message.reply_html(
        f"Hello <b>there</b> {' '.join(context.args)}", reply_markup=InlineKeyboardMarkup(keys)
    )


async def echo(update: Update, _: Context) -> None:
    await update.message.reply_text(f"You said: {update.message.text}")


async def correct(update: Update, _: Context) -> None:
    await update.edited_message.reply_text(f"Now it is: {update.edited_message.text}")


async def keys(update: Update, _: Context) -> None:
    rows = [["Plain"], [KeyboardButton("My number", request_contact=True)]]
    await update.message.reply_text(
        "Choose", reply_markup=ReplyKeyboardMarkup(rows, one_time_keyboard=True)
    )


async def ask(update: Update, _: Context) -> None:
    await update.message.reply_text("How much?", reply_markup=ForceReply())


async def contact(update: Update, _: Context) -> None:
    await update.message.reply_text(f"Noted {update.message.contact.phone_number}")


async def pressed(update: Update, _: Context) -> None:
    if update.callback_query.data == "Wait":
        await asyncio.sleep(1)
        await update.callback_query.answer("I waited", show_alert=True)
        return
    await update.callback_query.answer("Done")
    await update.callback_query.edit_message_text("Thank you")


async def bill(update: Update, context: Context) -> None:
    prices = [LabeledPrice("First tier", 3180), LabeledPrice("Second tier", 948)]
    provider = "1:TEST:x"
    await update.message.reply_invoice(
        "Water", "October", " ".join(context.args), "CNY", prices, provider_token=provider
    )


async def check(update: Update, _: Context) -> None:
    query = update.pre_checkout_query
    if query.invoice_payload == "refuse":
        await query.answer(ok=False, error_message="Already paid")
    elif query.invoice_payload == "pay":
        await query.answer(ok=True)


async def receipt(update: Update, _: Context) -> None:
    await update.message.reply_text("Receipt 1")


def add_handlers(application: Application) -> None:
    for name, handler in {"start": start, "keys": keys, "ask": ask, "bill": bill}.items():
        application.add_handler(CommandHandler(name, handler, filters.UpdateType.MESSAGE))
    application.add_handler(MessageHandler(filters.SUCCESSFUL_PAYMENT, receipt))
    application.add_handler(MessageHandler(filters.CONTACT, contact))
    application.add_handler(MessageHandler(filters.UpdateType.EDITED_MESSAGE, correct))
    application.add_handler(MessageHandler(filters.TEXT, echo))
    application.add_handler(CallbackQueryHandler(pressed))
    application.add_handler(PreCheckoutQueryHandler(check))


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield started
        await started.close()


@pytest.fixture
async def talking(desk: Desk) -> AsyncIterator[Desk]:
    """A playground in which the scripted bot polls."""
    application = (
        Application.builder()
        .token(TOKEN)
        .base_url(f"{desk.url}/bot")
        .base_file_url(f"{desk.url}/file/bot")
        .build()
    )
    add_handlers(application)
    async with application:
        await application.bot.set_my_commands([("bill", "My bill"), ("keys", "Some keys")])
        await application.start()
        await application.updater.start_polling(poll_interval=0)
        yield desk
        await application.updater.stop()
        await application.stop()


@pytest.fixture
async def page(browser: Browser, talking: Desk) -> AsyncIterator[Page]:
    """The page with two people, watched for errors and for requests that leave the machine."""
    for name in ("Li", "Anna"):
        await talking.person(name, started=False, language_code="en", phone="+86138")
    context = await browser.new_context(locale="en-GB", viewport={"width": 1440, "height": 900})
    context.set_default_timeout(10_000)
    opened = await context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on(
        "request",
        lambda request: (
            None if request.url.startswith(talking.url) else problems.append(request.url)
        ),
    )
    await opened.goto(talking.url)
    yield opened
    await context.close()
    assert problems == []


async def begun(page: Page, *, at: int = 0) -> Locator:
    """Press START on a phone."""
    phone = page.locator(".phone").nth(at)
    await phone.locator("[data-role=start]").click()
    await expect(bubbles(phone).last).to_contain_text("Hello")
    return phone


def bubbles(phone: Locator) -> Locator:
    return phone.locator("[data-message] [data-role=text]")


async def write(phone: Locator, text: str) -> None:
    await phone.locator("[data-role=composer]").fill(text)
    await phone.locator("[data-role=composer]").press("Enter")


async def open_sheet(phone: Locator, payload: str) -> Locator:
    await write(phone, f"/bill {payload}")
    invoice = phone.locator(".message:has([data-role=invoice])")
    await invoice.locator("[data-role=inline-button]").click()
    sheet = phone.locator("[data-role=sheet]")
    await expect(sheet).to_contain_text("First tier")
    await expect(sheet).to_contain_text("41.28")
    return sheet


class TestAConversation:
    async def test_shows_what_people_write_as_text_and_never_as_markup(self, page):
        phone = await begun(page)

        await write(phone, "<b>&</b> <img src=x onerror=alert(1)>")

        said = "<b>&</b> <img src=x onerror=alert(1)>"
        await expect(bubbles(phone).nth(-2)).to_have_text(said)
        await expect(bubbles(phone).last).to_have_text(f"You said: {said}")
        assert await bubbles(phone).last.locator("b, img").count() == 0

    async def test_shows_the_bots_entities(self, page):
        phone = await begun(page)

        await expect(bubbles(phone).last.locator("strong")).to_have_text("there")

    async def test_spins_a_pressed_key_until_the_bot_answers_it(self, page):
        phone = await begun(page)
        key = phone.locator("[data-role=inline-button]").last

        await key.click()

        await expect(key).to_have_class(re.compile("busy"))
        await expect(phone.locator("[role=alertdialog]")).to_contain_text("I waited")
        await expect(key).not_to_have_class(re.compile("busy"))
        await phone.locator("[data-role=dialog-ok]").click()
        await expect(phone.locator("[role=alertdialog]")).to_have_count(0)

    async def test_shows_the_toast_and_edits_the_message_in_place(self, page):
        phone = await begun(page)
        message = phone.locator("[data-message]").last
        number = await message.get_attribute("data-message")

        await phone.locator("[data-role=inline-button]").first.click()

        await expect(phone.locator("[data-role=toast]")).to_have_text("Done")
        edited = phone.locator(f"[data-message='{number}']")
        await expect(edited.locator("[data-role=text]")).to_have_text("Thank you")
        await expect(edited.locator("[data-role=edited]")).to_be_visible()
        await expect(edited.locator("[data-role=inline-button]")).to_have_count(0)

    async def test_stays_on_its_own_phone_and_marks_it_unread_elsewhere(self, page, talking):
        first, second = await begun(page), page.locator(".phone").nth(1)

        number = int(await second.get_attribute("data-person"))
        await talking.act(number, "start", payload="AB-1")

        await expect(bubbles(second).last).to_have_text("Hello there AB-1")
        assert await bubbles(first).count() == 2
        await expect(second).to_have_attribute("data-unread", "1")
        await expect(page).to_have_title(re.compile(r"^\(1\) "))
        await second.locator("[data-role=composer]").focus()
        await expect(second).to_have_attribute("data-unread", "0")

    async def test_lets_a_person_edit_their_words(self, page):
        phone = await begun(page)
        await write(phone, "12")
        await expect(bubbles(phone).last).to_have_text("You said: 12")
        mine = phone.locator(".message.out").last

        await mine.hover()
        await mine.locator("[data-role=message-menu]").click()
        await page.locator("[data-role=edit]:visible").click()
        await write(phone, "13")

        await expect(bubbles(phone).last).to_have_text("Now it is: 13")
        await expect(mine.locator("[data-role=text]")).to_have_text("13")

    async def test_offers_commands_by_menu_and_while_typing(self, page):
        phone = await begun(page)
        await phone.locator("[data-role=composer]").fill("/k")
        await expect(phone.locator("[data-role=suggestion]")).to_have_text("/keysSome keys")

        await phone.locator("[data-role=composer]").press("ArrowDown")
        await phone.locator("[data-role=composer]").press("Enter")

        await expect(bubbles(phone).last).to_have_text("Choose")
        await phone.locator("[data-role=menu]").click()
        await expect(page.locator("[data-role=command]:visible")).to_have_count(2)

    async def test_shares_the_number_only_after_asking_and_folds_one_time_keys(self, page):
        phone = await begun(page)
        await write(phone, "/keys")

        await phone.locator("[data-role=reply-button]").last.click()
        await expect(phone.locator("[role=alertdialog]")).to_contain_text("Share your phone")
        await phone.locator("[data-role=dialog-ok]").click()

        await expect(bubbles(phone).last).to_have_text("Noted +86138")
        await expect(phone.locator("[data-role=reply-keys]")).to_be_hidden()
        await write(phone, "/keys")
        await expect(phone.locator("[data-role=reply-keys]")).to_be_visible()

    async def test_quotes_the_question_when_an_answer_is_forced(self, page):
        phone = await begun(page)
        await write(phone, "/ask")
        await expect(phone.locator(".reply-bar")).to_contain_text("How much?")

        await write(phone, "5")

        quote = phone.locator(".message.out").last.locator("[data-role=quote]")
        await expect(quote).to_contain_text("How much?")

    async def test_sends_a_document_that_can_be_downloaded(self, page, tmp_path):
        phone = await begun(page)
        file = {"name": "账单.txt", "mimeType": "text/plain", "buffer": b"12 m3"}

        await phone.locator("[data-role=file-document]").set_input_files([file])

        link = phone.locator("a[data-role=document]")
        await expect(link).to_contain_text("账单.txt")
        async with page.expect_download() as download:
            await link.click()
        target = tmp_path / "file"
        await (await download.value).save_as(target)
        assert target.read_bytes() == b"12 m3"


class TestAPayment:
    async def test_is_made_on_the_sheet(self, page):
        phone = await begun(page)
        sheet = await open_sheet(phone, "pay")

        await sheet.locator("[data-role=sheet-pay]").click()

        await expect(bubbles(phone).last).to_have_text("Receipt 1")
        await expect(phone.locator("[data-role=paid]")).to_be_visible()
        await expect(phone.locator(".service")).to_contain_text("41.28")
        await expect(sheet).to_have_count(0)

    async def test_shows_the_bots_refusal(self, page):
        phone = await begun(page)
        sheet = await open_sheet(phone, "refuse")

        await sheet.locator("[data-role=sheet-pay]").click()

        await expect(sheet.locator("[data-role=sheet-status]")).to_contain_text("Already paid")
        await sheet.locator("[data-role=sheet-close]").click()
        await expect(phone.locator("[data-role=paid]")).to_have_count(0)

    async def test_can_be_declined_by_the_bank(self, page):
        phone = await begun(page)
        sheet = await open_sheet(phone, "pay")

        await sheet.locator("[data-role=sheet-decline]").click()

        status = sheet.locator("[data-role=sheet-status]")
        await expect(status).to_contain_text("Nothing was paid")
        await expect(phone.locator("[data-role=paid]")).to_have_count(0)

    async def test_shows_the_clock_and_expires_without_an_answer(self, page):
        phone = await begun(page)
        sheet = await open_sheet(phone, "silence")

        await sheet.locator("[data-role=sheet-pay]").click()

        await expect(sheet.locator("[data-role=sheet-clock]")).to_be_visible()
        await expect(sheet.locator("[data-role=sheet-status]")).to_contain_text("no answer")

    async def test_is_left_by_escape(self, page):
        phone = await begun(page)
        sheet = await open_sheet(phone, "pay")

        await page.keyboard.press("Escape")

        await expect(sheet).to_have_count(0)


class TestTheControls:
    async def test_block_and_unblock_the_bot(self, page, talking):
        phone = await begun(page)
        number = int(await phone.get_attribute("data-person"))

        await phone.locator("[data-role=block]").click()

        await expect(phone.locator("[data-role=unblock]")).to_be_visible()
        await expect(phone.locator("[data-role=composer]")).to_be_hidden()
        words = await talking.call("sendMessage", status=403, chat_id=number, text="x")
        assert words == "Forbidden: bot was blocked by the user"
        await phone.locator("[data-role=unblock]").click()
        await expect(phone.locator("[data-role=composer]")).to_be_visible()

    async def test_journal_shows_calls_and_finds_refusals(self, page, talking):
        phone = await begun(page)
        number = int(await phone.get_attribute("data-person"))
        await talking.call("sendMessage", status=400, chat_id=number, text=" ")
        await expect(page.locator("[data-role=journal] .badge")).to_have_text("1")

        await page.locator("button[data-role=journal]").click()
        await page.locator("[data-role=refusals-only]").check()

        shown = page.locator("[data-role=journal-entry]:visible")
        await expect(shown).to_have_count(1)
        await expect(shown).to_contain_text("text must be non-empty")

    async def test_faults_are_set_and_cleared(self, page, talking):
        phone = await begun(page)
        number = int(await phone.get_attribute("data-person"))

        await page.locator("[data-role=faults]").click()
        await page.locator("[data-fault='5xx']").click()
        await expect(page.locator("[data-role=faults] .badge")).to_have_text("1")

        await talking.call("sendMessage", status=502, chat_id=number, text="x")
        await expect(page.locator("[data-role=faults] .badge")).to_have_count(0)

    async def test_add_a_person_and_change_their_language(self, page):
        await page.locator("[data-role=add-person]").click()
        await page.locator("[name=first_name]").fill("王")
        await page.locator("[data-role=dialog-ok]").click()
        phone = page.locator(".phone").nth(2)

        await phone.locator("[data-role=lang]").click()
        await page.locator("[data-language=zh-hans]:visible").click()

        await expect(phone.locator("[data-role=lang]")).to_have_text("简")
        await expect(phone.locator("[data-role=log]")).to_have_attribute("lang", "zh-hans")

    async def test_reset_empties_the_phones(self, page):
        phone = await begun(page)

        await page.locator("[data-role=reset]").click()
        await page.locator("[data-role=dialog-ok]").click()

        await expect(phone.locator("[data-role=start]")).to_be_visible()
        await expect(bubbles(phone)).to_have_count(0)


class TestThePage:
    async def test_catches_up_after_the_connection_was_lost(self, page, talking):
        phone = await begun(page)
        number = int(await phone.get_attribute("data-person"))
        await page.route("**/play/api/*", lambda route: route.abort())
        await talking.call("sendMessage", chat_id=number, text="the last one heard")
        await page.reload()
        await expect(page.locator("body")).to_have_class("offline")

        await page.unroute("**/play/api/*")

        await expect(bubbles(phone).last).to_have_text("the last one heard")
        await talking.call("sendMessage", chat_id=number, text="live again")
        await expect(bubbles(phone).last).to_have_text("live again")

    async def test_keeps_the_place_of_a_reader_and_offers_the_way_back(self, page, talking):
        phone = await begun(page)
        number = int(await phone.get_attribute("data-person"))
        await talking.act(number, "say", text="line\n" * 60)
        await expect(bubbles(phone).last).to_contain_text("You said: line")
        log, pill = phone.locator("[data-role=log]"), phone.locator("[data-role=new-messages]")
        await expect(pill).to_be_hidden()
        await log.evaluate("node => { node.scrollTop = 0; }")
        await expect(pill).to_be_visible()

        await talking.call("sendMessage", chat_id=number, text="news")

        await expect(pill).to_contain_text("1 new")
        assert await log.evaluate("node => node.scrollTop") == 0
        await pill.click()
        await expect(pill).to_be_hidden()
        await expect(bubbles(phone).last).to_be_in_viewport()

    async def test_is_one_phone_at_a_time_on_a_small_screen(self, page):
        await page.set_viewport_size({"width": 390, "height": 844})

        await page.locator("[role=tab]").nth(1).click()

        assert await page.locator(".phone:visible").count() == 1
        await begun(page, at=1)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390

    async def test_has_a_panel_when_its_host_has_one(self, browser):
        async with open_desk(panel=Clock()) as desk:
            page = await browser.new_page(locale="en-GB")
            await page.goto(desk.url)

            await page.locator("[data-action=faster]").click()

            await expect(page.locator("[data-role=toast]")).to_have_text(f"{SIXTY_TIMES} now")
            await expect(page.locator("[data-role=clock-now]")).to_contain_text("3 Nov 2026, 14:0")
            await expect(page.locator(".clock .rate")).to_have_text(SIXTY_TIMES)
            await page.locator("[data-role=action-group]").click()
            await page.locator("[data-action=leak] select").select_option("b")
            await page.locator("[data-action=leak] [data-role=action]").click()
            await expect(page.locator("[data-role=toast]").last).to_have_text("leak at b")
            await page.close()

    async def test_speaks_both_languages_in_full(self, page):
        known = await page.evaluate(
            "import('/static/words.js').then(({languages: all}) => "
            "Object.values(all).map(words => Object.keys(words).sort()))"
        )
        source = "".join(path.read_text(encoding="utf-8") for path in STATIC.glob("*.js"))

        assert known[0] == known[1]
        assert set(re.findall(r"""\bt\("(\w+)\"""", source)) <= set(known[0])

    async def test_draws_entities_by_utf16_offsets_nested_crossing_or_hostile(self, page):
        names = ("type", "offset", "length", "url")
        cases = [
            ("😀ab", [("bold", 2, 1)], "😀<strong>a</strong>b"),
            ("ab", [("bold", 0, 2), ("italic", 1, 1)], "<strong>a<em>b</em></strong>"),
            ("abc", [("bold", 0, 2), ("code", 1, 2)],
             "<strong>a<code>b</code></strong><code>c</code>"),
            ("<i>", [("code", 0, 9)], "<code>&lt;i&gt;</code>"),
            ("a\nb", [("blockquote", 0, 1)], "<blockquote>a</blockquote>b"),
            ("x", [("text_link", 0, 1, "javascript:alert(1)")], "<span>x</span>"),
            ("x", [("new_kind", 0, 1)], "<span>x</span>"),
        ]  # fmt: skip
        for text, entities, html in cases:
            given = [dict(zip(names, entity, strict=False)) for entity in entities]

            drawn = await page.evaluate(
                """([text, entities]) => import('/static/entities.js').then(({renderText}) => {
                    const node = document.createElement('div');
                    node.append(renderText(text, entities));
                    return node.innerHTML.replaceAll(' class=""', '');
                })""",
                [text, given],
            )

            assert drawn == html


class Clock:
    """A host's panel with a clock, a plain key and one with a choice."""

    rate = 1

    async def describe(self):
        places = [{"value": "a", "label": "A"}, {"value": "b", "label": "B"}]
        return {
            "clock": {
                "now": "2026-11-03T14:05:00+08:00",
                "rate": self.rate,
                "paused": False,
                "zone": "Asia/Shanghai",
            },
            "actions": [
                {"id": "faster", "group": "Clock", "label": SIXTY_TIMES},
                {
                    "id": "leak",
                    "group": "Events",
                    "label": "Leak",
                    "fields": [{"name": "place", "label": "Where", "options": places}],
                },
            ],
        }

    async def act(self, action, fields):
        if action == "faster":
            self.rate = 60
            return {"message": f"{SIXTY_TIMES} now"}
        return {"message": f"{action} at {fields['place']}"}
