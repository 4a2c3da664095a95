"""A technician says in chat that a meter was replaced; nothing is stored before the summary."""

from decimal import Decimal

import pytest
from sqlalchemy import select

from core.db import Database
from core.monitoring.models import Meter, Reading, Source
from tests.chat import buttons_of, text_of
from tests.e2e.conftest import Stage


async def serials(database: Database) -> dict[str, bool]:
    """Return all meters, and whether each works."""
    async with database.transaction() as session:
        rows = await session.execute(select(Meter.serial, Meter.removed_at))
        return {serial: removed_at is None for serial, removed_at in rows}


@pytest.mark.usefixtures("water_use")
class TestReplacingAMeter:
    async def test_asks_step_by_step_and_tells_the_customer(
        self, stage: Stage, database: Database
    ) -> None:
        technician, customer = stage.phone(2001), stage.phone(1001)
        await customer.say("/home")
        await customer.mark()
        asked = await technician.say("/replace")
        assert "拆下的是哪块表" in text_of(asked)
        assert "没有这个编号的表" in text_of(await technician.say("W-99"))
        asked = await technician.say("w-10001")
        assert "拆下时的读数" in text_of(asked)
        assert "116 立方米" in text_of(asked)
        assert "不会倒走" in text_of(await technician.say("115"))
        assert "新表的表号" in text_of(await technician.say("116.5"))
        assert "系统中已有表号 W-10002" in text_of(await technician.say("W-10002"))
        asked = await technician.say("NB-2026/4711")
        assert "小数点前有几位" in text_of(asked)
        await technician.press(asked, "与旧表相同")
        asked = await technician.changed(asked, "现在的读数")
        await technician.press(asked, "读数为 0")
        summary = await technician.changed(asked, "请再核对一遍")
        words = text_of(summary)
        for part in ("Linden Street 1-101", "最后读数 116.5", "0.5 立方米", "起始读数 0"):
            assert part in words
        assert (await serials(database))["W-10001"]

        await technician.press(summary, "保存")
        await technician.changed(summary, "NB-2026/4711 已替换 W-10001")
        # A finger that bounced is not told that the button is old.
        await technician.post("press_data", message_id=summary["message_id"], data="swapyes")

        assert await serials(database) == {
            "W-10001": False,
            "W-10002": True,
            "E-10001": True,
            "E-10002": True,
            "NB-2026/4711": True,
        }
        told = text_of(await customer.expect("水表已更换"))
        assert "最后读数 116.5 立方米" in told
        assert "起始读数 0 立方米" in told
        assert "NB-2026/4711" in text_of(await customer.say("/meters"))
        assert "已更换" not in text_of(await stage.phone(1002).say("/meters"))
        again = await technician.say("/replace W-10001")
        assert "已停用" in text_of(again)
        assert not any("按钮" in text_of(message) for message in await technician.messages())

    async def test_warns_of_an_unusual_last_reading_in_the_summary(
        self, stage: Stage, database: Database
    ) -> None:
        manager = stage.phone(3001)
        await manager.say("/replace W-10001")
        for typed in ("126", "NEW-1", "6", "3.25"):
            shown = await manager.say(typed)
        assert "about 20 times the usual" in text_of(shown)
        assert "6 digits before the point" in text_of(shown)
        assert buttons_of(shown)[0] == "✅ Yes, store it"
        assert "Stored" in text_of(await manager.say("yes"))
        async with database.transaction() as session:
            said = select(Reading.value).where(Reading.source == Source.STAFF)
            assert sorted(await session.scalars(said)) == [Decimal("3.25"), 126]

    async def test_is_for_staff_and_not_for_forged_buttons(
        self, stage: Stage, database: Database
    ) -> None:
        customer = stage.phone(1001)
        assert "⚠" in text_of(await customer.say("/replace W-10001"))
        menu = await customer.say("/meters")
        for data in ("swapyes", "swapzero", "swapdigits:5", "swapdigits:x"):
            await customer.post("press_data", message_id=menu["message_id"], data=data)
        await customer.say("/meters")
        assert all((await serials(database)).values())

    @pytest.mark.parametrize("typed", ["", "0", "13", "5.5", "-1", "five"])
    async def test_bad_digits_get_a_clear_answer(self, stage: Stage, typed: str) -> None:
        phone = stage.phone(2001)
        await phone.say("/replace W-10001")
        await phone.say("117")
        await phone.say("NEW-1")
        assert "⚠" in text_of(await phone.say(typed or "🙂"))
        assert "现在的读数" in text_of(await phone.say("6"))
