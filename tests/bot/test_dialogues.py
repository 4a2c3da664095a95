"""Dialogues are rows: they survive restarts, expire, and believe no button."""

import asyncio
from datetime import timedelta

import aiohttp
import pytest
from sqlalchemy import func, select

from bot.dialogues import LIFE, Dialogue
from bot.inbox import StoredUpdate
from core.accounts import linking
from core.accounts.models import Role, Staff
from core.db import Database
from core.outages.models import Outage
from tests.chat import Message, Phone, buttons_of, text_of
from tests.stage import TOKEN, Stage

FORGED = [
    ":",
    "go",
    "go:",
    "go:nobody",
    "\U0001f4a7" * 16,
    "\0\0\0",
    "outend:N1001:1:1",
    "outend:N1001:1:1:1",
    "outend:N1001:" + "9" * 40 + ":1",
    "outend:N1001:-9223372036854775809:1",
    "outchange:N1001:1",
    "outage:<b>&",
    "lang:xx",
    "lang:../../etc",
    "link:yes",
    "repair:1:2:3:4:5:6:7",
]


async def ask_for_times(manager: Phone) -> Message:
    """Open the writing of a notice and answer up to the question for its start."""
    offer = await manager.say("/outages")
    await manager.press(offer, "New notice")
    await manager.press(await manager.changed(offer, "Which service"), "Water")
    await manager.press(await manager.changed(offer, "emergency"), "Emergency")
    await manager.changed(offer, "Which area")
    found = await manager.say("riser")
    await manager.press(found, "Riser 1")
    return await manager.changed(found, "When does supply stop")


async def ask_for_confirmation(manager: Phone) -> Message:
    await ask_for_times(manager)
    await manager.say("now")
    await manager.say("18:00")
    return await manager.say("Burst main")


async def count(database: Database, table: type) -> int:
    async with database.transaction() as session:
        return int(await session.scalar(select(func.count()).select_from(table)) or 0)


async def steps(database: Database) -> list[tuple[str, int]]:
    async with database.transaction() as session:
        rows = await session.execute(select(Dialogue.step, Dialogue.version))
        return [(step, version) for step, version in rows]


async def all_handled(stage: Stage, database: Database) -> None:
    """Wait until nothing waits, and make sure that nothing was parked."""
    pending = f"{stage.settings.telegram_base_url}{TOKEN}/getWebhookInfo"
    async with asyncio.timeout(20):
        while True:
            async with stage.http.get(pending) as answer:
                waiting = (await answer.json())["result"]["pending_update_count"]
            async with database.transaction() as session:
                updates = (await session.scalars(select(StoredUpdate))).all()
            assert [update.error for update in updates if update.parked_at] == []
            if not waiting and all(update.handled_at for update in updates):
                return
            await asyncio.sleep(0.05)


async def test_a_restart_in_the_middle_loses_nothing(empty_stage: Stage) -> None:
    manager = empty_stage.phone(3001)
    async with empty_stage.serving():
        await ask_for_times(manager)
        await manager.say("now")
    await manager.post("say", text="18:00")
    async with empty_stage.serving():
        await manager.expect("Why?")
        preview = await manager.say("Burst main")
        assert "Burst main" in text_of(preview)
    await manager.press(preview, "Send to 2")
    async with empty_stage.serving():
        await manager.changed(preview, "N1001")


async def test_an_old_question_is_forgotten(stage: Stage, database: Database) -> None:
    manager = stage.phone(3001)
    preview = await ask_for_confirmation(manager)
    stage.clock.shown_at += LIFE + timedelta(minutes=1)

    answer = await manager.say("2")
    assert "/help" in text_of(answer)
    await manager.press(preview, "Send to 2")
    await manager.expect("out of date")
    assert await count(database, Outage) == 0


async def test_two_presses_at_once_send_one_notice(stage: Stage, database: Database) -> None:
    manager, customer = stage.phone(3001), stage.phone(1001)
    await customer.say("/start")
    preview = await ask_for_confirmation(manager)
    await asyncio.gather(*(manager.press(preview, "Send to 2") for _ in range(5)))
    await customer.expect("N1001")
    await all_handled(stage, database)

    assert await count(database, Outage) == 1
    async with asyncio.timeout(30):
        while len(await stage.calls("answerCallbackQuery")) < 5:
            await asyncio.sleep(0.05)


async def test_a_button_of_an_earlier_step_changes_nothing(
    stage: Stage, database: Database
) -> None:
    manager = stage.phone(3001)
    asked = await ask_for_times(manager)
    before = await steps(database)
    await manager.post("press_data", message_id=asked["message_id"], data="outsend:yes")
    await manager.post("press_data", message_id=asked["message_id"], data="outkind:planned")
    await all_handled(stage, database)

    assert await steps(database) == before
    assert await count(database, Outage) == 0


@pytest.mark.parametrize("person", [1001, 3001, 4001])
async def test_forged_buttons_change_nothing(stage: Stage, database: Database, person: int) -> None:
    manager, forger = stage.phone(3001), stage.phone(person)
    if person != 3001:
        preview = await ask_for_confirmation(manager)
        await manager.press(preview, "Send to 2")
        await manager.changed(preview, "N1001")
    first = await forger.say("/help")
    outages, staff = await count(database, Outage), await count(database, Staff)
    presses = [(first["message_id"], data) for data in FORGED] + [(999_999, "go:help")]
    for message_id, data in presses:
        pressed = await forger.post("press_data", message_id=message_id, data=data)
        assert "query_id" in pressed
    await all_handled(stage, database)

    async with database.transaction() as session:
        versions = list(await session.scalars(select(Outage.version)))
    assert versions == [1] * outages
    assert await count(database, Staff) == staff
    async with asyncio.timeout(30):
        while len(await stage.calls("answerCallbackQuery")) < len(presses):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "data",
    [
        "outstart:at:99999999999999999",
        "outstart:at:-99999999999999999",
        "outstart:at:9223372036854775807",
        "outstart:in:9223372036854775807",
        "outstart:in:-1000000",
        "outarea:take:1",
        "outend_at:at:99999999999999999",
    ],
)
async def test_wild_numbers_in_a_button_of_the_open_step_are_refused(
    stage: Stage, database: Database, data: str
) -> None:
    asked = await ask_for_times(stage.phone(3001))
    before = await steps(database)
    await stage.phone(3001).post("press_data", message_id=asked["message_id"], data=data)
    await all_handled(stage, database)

    assert await steps(database) == before


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
async def test_cancel_leaves_from_anywhere(stage: Stage, database: Database, depth: int) -> None:
    manager = stage.phone(3001)
    await ask_for_times(manager)
    for words in ("now", "18:00", "Burst main")[:depth]:
        await manager.say(words)

    assert "Stopped" in text_of(await manager.say("/cancel"))
    assert await steps(database) == []
    assert "nothing to stop" in text_of(await manager.say("/cancel"))


async def test_editing_an_old_command_does_nothing_but_say_so(
    stage: Stage, database: Database
) -> None:
    manager = stage.phone(3001)
    await ask_for_confirmation(manager)
    sent = await manager.post("say", text="2")
    await manager.expect("N1001")
    stored = await count(database, StoredUpdate)
    await manager.post("edit", message_id=sent["messages"][0]["message_id"], text="3")
    edited = await manager.post("say", text="/help")
    await manager.post("edit", message_id=edited["messages"][0]["message_id"], text="/outage")
    await all_handled(stage, database)

    assert await count(database, StoredUpdate) == stored + 3
    assert await count(database, Outage) == 1
    await manager.expect("read each message once")


async def test_other_things_than_words_get_an_answer_and_the_question_stays(
    stage: Stage, database: Database
) -> None:
    manager = stage.phone(3001)
    await ask_for_times(manager)
    before = await steps(database)

    await manager.mark()
    await manager.post("send_location", latitude=31.8, longitude=117.2)
    assert text_of(await manager.next())
    for kind in ("voice", "video", "document"):
        form = aiohttp.FormData()
        form.add_field("kind", kind)
        form.add_field("file", b"\0" * 64, filename="x.bin", content_type="audio/ogg")
        url = f"{manager.base}/play/api/people/{manager.person}/send_file"
        await manager.mark()
        async with manager.http.post(url, data=form) as answer:
            assert answer.status == 200, await answer.text()
        assert text_of(await manager.next())
    await all_handled(stage, database)

    assert await steps(database) == before
    await manager.say("now")
    assert await steps(database) != before


async def test_an_invitation_is_taken_only_by_the_chat_that_was_asked(
    stage: Stage, database: Database
) -> None:
    async with database.transaction() as session:
        code = await linking.invite(session, role=Role.TECHNICIAN, now=stage.clock.now())
    asked = await stage.phone(4001).say(f"/link {code}")
    assert "Yes" in buttons_of(asked)[0]
    other = stage.phone(1002)
    first = await other.say("/help")
    await other.post("press_data", message_id=first["message_id"], data="link:yes")
    await all_handled(stage, database)
    assert await count(database, Staff) == 3

    await stage.phone(4001).press(asked, "Yes")
    await stage.phone(4001).changed(asked, "linked")
    assert await count(database, Staff) == 4
