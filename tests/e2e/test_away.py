"""A customer who is away is told of any use of water, of silence, and at the end how it was."""

from datetime import timedelta

import pytest

from core.accounts.models import Service
from tests.chat import buttons_of, text_of
from tests.e2e.conftest import Stage
from tests.e2e.gateway import Gateway, open_gateway
from tests.world import NOON

HOUR = timedelta(hours=1)


class Away:
    """A place whose meter tells every hour what it shows, while the service's clock runs on."""

    def __init__(self, stage: Stage, gateway: Gateway) -> None:
        self.stage = stage
        self._gateway = gateway
        self._meter = stage.world.home.meters[Service.WATER]
        self._litres = 100_000
        self._hour = 0

    async def hours(self, *litres: int | None) -> None:
        """Let hours pass, in each of which so much is used; nothing: the meter is silent."""
        for used in litres:
            self._hour += 1
            at = NOON + self._hour * HOUR
            self.stage.clock.shown_at += max(timedelta(0), at - self.stage.clock.now())
            if used is not None:
                self._litres += used
                await self._gateway.read(self._meter, f"{self._litres / 1000:.3f}", at)


@pytest.fixture
async def away(stage: Stage) -> Away:
    made = Away(stage, await open_gateway(stage))
    await made.hours(0, 0)
    return made


class TestAWatch:
    async def test_tells_of_each_spell_once_and_ends_by_itself(self, away: Away) -> None:
        phone = away.stage.phone(1001)
        picture = await phone.say("/usage")
        assert "还没有" in text_of(picture)
        await phone.press(picture, "🧳")
        asked = await phone.expect("看守到哪一天")
        assert len([label for label in buttons_of(asked) if "11月" in label]) == 8
        await phone.press(asked, "11月4日")
        await phone.changed(asked, "开始看守Linden Street 1-101")

        await away.hours(0, 0, 12)
        told = await phone.expect("您不在家时")
        assert "12 升" in text_of(told)
        await phone.press(told, "👍")
        await phone.changed(told, "继续看守")
        await away.hours(9, 0)
        await away.hours(7)
        await phone.expect("7 升")
        said = [text_of(m) for m in await phone.messages()]
        assert sum("升" in words for words in said) == 1
        assert not [words for words in said if "9 升" in words]

        await away.hours(*[0] * 60)
        over = await phone.expect("看守结束了")
        assert "28 升" in text_of(over)
        assert await away.stage.phone(1002).messages() == []

    async def test_says_that_nothing_was_used(self, away: Away) -> None:
        phone = away.stage.phone(1001)
        assert "开始看守" in text_of(await phone.say("/away 周三"))
        await away.hours(*[0] * 66)
        assert "没有用过水" in text_of(await phone.expect("看守结束了"))
        assert not [m for m in await phone.messages() if "您不在家时" in text_of(m)]

    async def test_of_a_silent_meter_never_says_that_nothing_was_used(self, away: Away) -> None:
        phone = away.stage.phone(1001)
        await phone.say("/away 11-04")
        await away.hours(0, 0, *[None] * 7)
        silent = text_of(await phone.expect("收不到"))
        assert "16:00" in silent
        await away.hours(*[None] * 60)
        over = text_of(await phone.expect("看守结束了"))
        assert "收不到" in over
        assert "没有用过水" not in over
        said = [text_of(m) for m in await phone.messages()]
        assert sum("关于" in words for words in said) == 1

    async def test_is_ended_early_or_moved_by_its_owner_alone(self, away: Away) -> None:
        phone = away.stage.phone(1001)
        begun = await phone.say("/away 明天")
        await away.hours(0, 0, 0)
        running = await phone.say("/away")
        assert "正在看守" in text_of(running)
        assert "11月5日" in text_of(await phone.say("11-05"))
        stranger = away.stage.phone(1002)
        page = await stranger.say("/meters")
        for data in (
            "awayend:1",
            f"awayday:{away.stage.world.home.meters[Service.WATER]}:x",
            "away:1",
        ):
            await stranger.post("press_data", message_id=page["message_id"], data=data)
        await phone.press(begun, "⏹")
        over = await phone.changed(begun, "看守结束了")
        assert "没有用过水" in text_of(over)
        await phone.post("press_data", message_id=begun["message_id"], data="awayend:1")
        assert text_of(await phone.refresh(over)) == text_of(over)
        assert "看守到哪一天" in text_of(await phone.say("/away"))

    @pytest.mark.parametrize(
        "typed", ["x" * 4000, "<b>&", "31.02", "2025-01-01", "2030-01-01", "13-45"]
    )
    async def test_of_no_possible_day_is_refused_in_words(self, away: Away, typed: str) -> None:
        phone = away.stage.phone(1001)
        await phone.say("/away")
        assert "⚠" in text_of(await phone.say(typed))
        assert "开始看守" in text_of(await phone.say("星期三"))
