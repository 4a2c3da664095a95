"""The running bill in the chat: asked in one's own words, told before it is too late."""

from datetime import date, timedelta

import pytest

from core.accounts.models import Service
from tests.billing.books import OCTOBER, SEPTEMBER, load_shipped, run_bills, show
from tests.chat import buttons_of, text_of
from tests.e2e.conftest import Stage

FIRST = date(2026, 9, 1)
OWN_NAMES = {"zh_CN": "简体中文", "zh_TW": "繁體中文", "en": "English", "ru": "Русский"}


@pytest.fixture
async def settled(stage: Stage) -> Stage:
    """Both meters of Li Hua went on steadily since September; October is billed."""
    database = stage.service.database
    await load_shipped(database)
    for service, a_day in ((Service.WATER, 1), (Service.ELECTRICITY, 33)):
        days = range(63)  # up to the second of November
        values = {FIRST + timedelta(days=i): str(i * a_day) for i in days}
        await show(database, stage.world.home.meters[service], values)
        for period in (SEPTEMBER, OCTOBER):
            await run_bills(database, service, period)
    await stage.phone(1001).say("/start")
    return stage


class TestOutlook:
    @pytest.mark.parametrize(
        ("locale", "asked", "said"),
        [
            ("en", "how much is it so far?", ("So far: 33 kWh", "CN¥18.65", "In four of five")),
            ("zh_CN", "到目前为止多少钱", ("33 千瓦时", "¥18.65", "五次里有四次")),
            ("zh_TW", "目前預計多少", ("33 千瓦小時", "CN¥18.65", "五次裡有四次")),
            ("ru", "Сколько уже набежало?", ("сегодня: 33 кВт⋅ч", "18,65", "из пяти")),
        ],
    )
    async def test_is_asked_in_ones_own_words(self, settled: Stage, locale, asked, said) -> None:
        phone = settled.phone(1001)
        await phone.speak(OWN_NAMES[locale])

        answer = text_of(await phone.say(asked))

        assert all(words in answer.replace("\u00a0", " ") for words in said), answer

    async def test_is_a_button_among_the_bills(self, settled: Stage) -> None:
        phone = settled.phone(1001)
        shown = await phone.say("/bills")

        await phone.press(shown, "📈")

        outlook = await phone.changed(shown, "2026年11月1日")
        # 2013 kWh are billed and 33 more used: 2160 are passed 3.5 days after that midnight.
        assert "大约 3 天后进入第 2 阶梯" in text_of(outlook)

    @pytest.mark.parametrize(
        ("locale", "said"),
        [("en", "not known"), ("zh_CN", "未知"), ("zh_TW", "未知"), ("ru", "неизвестно")],
    )
    async def test_says_that_nothing_is_known_without_a_reading(
        self, stage: Stage, locale: str, said: str
    ) -> None:
        await load_shipped(stage.service.database)
        phone = stage.phone(1001)
        await phone.speak(OWN_NAMES[locale])

        answer = text_of(await phone.say("/outlook"))

        assert answer.count(said) == 2, answer
        assert "0.00" not in answer

    async def test_says_since_when_a_meter_is_silent(self, settled: Stage) -> None:
        settled.clock.shown_at += timedelta(days=4)
        phone = settled.phone(1001)
        await phone.speak("English")

        answer = text_of(await phone.say("/outlook"))

        assert answer.count("The last reading is from 2 Nov") == 2, answer
        assert answer.count("So far") == 2


class TestWhatIf:
    @pytest.mark.parametrize(
        ("locale", "asked", "said"),
        [
            ("en", "What would 20 m³ cost?", ("CN¥63.00", "tier 1, up to", "for 3 people")),
            ("zh_CN", "用20立方米要多少钱", ("¥63.00", "第1阶梯", "家庭 3 人")),
            ("zh_TW", "２０立方公尺要多少錢", ("CN¥63.00", "第1級", "家庭 3 人")),
            ("ru", "сколько будет стоить 20 м³?", ("63,00", "1-я ступень", "3 человека")),
        ],
    )
    async def test_answers_with_the_tiers_in_words(self, settled, locale, asked, said) -> None:
        phone = settled.phone(1001)
        await phone.speak(OWN_NAMES[locale])

        answer = text_of(await phone.say(asked))

        assert all(words in answer.replace("\u00a0", " ") for words in said), answer

    async def test_asks_for_what_is_missing_and_refuses_what_cannot_be(self, settled) -> None:
        phone = settled.phone(1001)
        await phone.speak("English")
        which = await phone.say("/whatif")
        await phone.press(which, "Electricity")
        await phone.changed(which, "Please type a number (kWh)")

        for typed in ("lots", "-3", "0", "100001"):
            assert "⚠" in text_of(await phone.say(typed)), typed
            assert "⚠" in text_of(await phone.say(f"/whatif {typed}")), typed
        await phone.press(await phone.say("/whatif"), "Electricity")
        found = await phone.say("400 kWh")

        # 147 kWh are left below 2160, the others cost more.
        assert "147 kWh" in text_of(found)
        assert "253 kWh" in text_of(found)


class TestBudget:
    async def test_is_set_told_of_at_once_and_stopped(self, settled: Stage) -> None:
        phone = settled.phone(1001)
        await phone.speak("English")
        which = await phone.say("Tell me when this month will go over 100")
        assert len([each for each in buttons_of(which) if "1-101" in each]) == 2

        await phone.press(which, "Electricity")
        done = await phone.changed(which, "CN¥100.00")
        # 990 kWh by the end of the month: 147 in tier 1, 843 in tier 2.
        coming = await phone.expect("CN¥601.80")

        assert "reach your CN¥100.00" in text_of(coming)
        await phone.press(done, "stop CN¥100.00")
        await phone.changed(done, "Stopped")
        assert "no amount" in text_of(await phone.say("/budget stop"))

    async def test_of_somebody_else_cannot_be_stopped(self, settled: Stage) -> None:
        mine, other = settled.phone(1001), settled.phone(1002)
        await mine.say("/budget 5000")
        await mine.say("2")
        shown = await other.say("/outlook")

        await other.post("press_data", message_id=shown["message_id"], data="budgetoff:1")

        assert "5,000.00" in text_of(await mine.say("/outlook"))

    async def test_takes_no_other_sentence_with_a_number(self, settled: Stage) -> None:
        phone = settled.phone(1001)
        await phone.speak("English")

        answer = text_of(await phone.say("tell me when the water is back at 5"))

        assert "5.00" not in answer
