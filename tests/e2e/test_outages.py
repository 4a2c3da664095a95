"""A manager writes an outage notice in chat; exactly the people affected read it."""

import pytest

from tests.chat import Phone, text_of
from tests.e2e.conftest import Stage


async def begin(phone: Phone) -> None:
    """Answer all questions of a new notice for Riser 1, up to its preview."""
    offer = await phone.say("/outages")
    await phone.press(offer, "New notice")
    asked = await phone.changed(offer, "Which service")
    await phone.press(asked, "Water")
    asked = await phone.changed(asked, "emergency")
    await phone.press(asked, "Emergency")
    await phone.changed(asked, "Which area")
    found = await phone.say("riser")
    await phone.press(found, "Riser 1")
    await phone.changed(found, "When does supply stop")
    await phone.say("now")


async def test_exactly_the_people_affected_get_it_in_their_language(stage: Stage) -> None:
    manager = stage.phone(3001)
    customers = [stage.phone(1001), stage.phone(1002)]
    for phone in (*customers, stage.phone(4001), manager):
        await phone.say("/start")

    await begin(manager)
    await manager.say("18:00")
    preview = await manager.say("Burst main <b>& co")
    assert "Burst main <b>& co" in text_of(preview)
    assert "2 people" in text_of(preview)
    await manager.press(preview, "Send to 2")
    await manager.changed(preview, "N1001")

    chinese = await customers[0].expect("N1001")
    russian = await customers[1].expect("N1001")
    assert "紧急停供" in text_of(chinese)
    assert "аварийное" in text_of(russian)
    assert "18:00" in text_of(chinese)
    assert len(await stage.phone(4001).messages()) == 1


async def test_change_and_end_edit_the_same_message_and_say_so(stage: Stage) -> None:
    manager, customer = stage.phone(3001), stage.phone(1001)
    await customer.say("/start")
    await begin(manager)
    await manager.say("18:00")
    await manager.say("Burst main")
    assert "number of people" in text_of(await manager.say("yes"))
    await manager.say("2")
    card = await customer.expect("N1001")

    await manager.say("/moveoutage N1001 20:30")
    await customer.changed(card, "20:30")
    await customer.expect("预计恢复时间改为")
    await manager.say("/endoutage N1001")
    ended = await customer.changed(card, "恢复供应")
    assert ended["message_id"] == card["message_id"]

    assert "over" in text_of(await manager.say("/endoutage N1001"))


async def test_new_end_is_asked_for_where_the_command_has_none(stage: Stage) -> None:
    manager, customer = stage.phone(3001), stage.phone(1001)
    await customer.say("/start")
    await begin(manager)
    await manager.say("18:00")
    await manager.say("Burst main")
    await manager.say("2")
    card = await customer.expect("N1001")

    await manager.say("/moveoutage N9999")
    await manager.expect("no notice N9999")
    await manager.say("/moveoutage n1001")
    await manager.expect("really be back")
    await manager.say("25:99")
    await manager.expect("⚠")
    await manager.say("20:30")

    await customer.changed(card, "20:30")


@pytest.mark.parametrize(
    "typed", ["\u202e", "25:99", "-1", "1e400", "\uff11\uff12", "x" * 4000, "<b>&", "🙂"]
)
async def test_bad_times_get_a_clear_answer_and_change_nothing(stage: Stage, typed: str) -> None:
    manager = stage.phone(3001)
    await begin(manager)

    answer = text_of(await manager.say(typed))

    assert "⚠" in answer
    assert "15:30" in answer or "empty" in answer
    assert "Why?" in text_of(await manager.say("18:00"))


async def test_customer_cannot_write_one(stage: Stage) -> None:
    answer = await stage.phone(1001).say("/outage")

    assert "没有权限" in text_of(answer)
    assert "没有通知" in text_of(await stage.phone(1001).say("/outage N9999"))


async def test_an_end_of_now_is_refused_where_it_is_asked(stage: Stage) -> None:
    manager = stage.phone(3001)
    await begin(manager)

    assert "must come after" in text_of(await manager.say("+0h"))
    assert "Why?" in text_of(await manager.say("18:00"))
