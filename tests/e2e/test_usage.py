"""A customer looks up meters, use, pressure and voltage, and types a reading."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import delete, select

from core.accounts.models import Service
from core.db import Database
from core.monitoring.models import Meter, Quantity, Reading, ReadingStatus, Sample, Source
from core.monitoring.partitions import ensure_months, months_of
from tests.chat import text_of
from tests.e2e.conftest import Stage, move_clock
from tests.world import NOON

DAY = timedelta(days=1)


@pytest.fixture
async def history(stage: Stage, database: Database, water_use: None) -> None:  # noqa: ARG001 (a fixture)
    """A month of water readings, and a day of voltage that sags at its end."""
    async with database.transaction() as session:
        session.add_all(
            Sample(
                meter_id=stage.world.home.meters[Service.ELECTRICITY],
                quantity=Quantity.VOLTAGE,
                taken_at=NOON - timedelta(minutes=10 * i),
                value=Decimal(187 if i < 3 else 229),
            )
            for i in range(100)
        )


async def latest(database: Database) -> list[Decimal]:
    async with database.transaction() as session:
        return list(
            await session.scalars(
                select(Reading.value)
                .where(Reading.source == Source.CUSTOMER)
                .order_by(Reading.taken_at)
            )
        )


@pytest.mark.usefixtures("history")
class TestLookingUp:
    async def test_meters_shows_readings_and_quality_in_plain_words(self, stage: Stage) -> None:
        words = text_of(await stage.phone(1001).say("/meters"))
        assert "W-10001" in words
        assert "116 立方米" in words
        assert "电压偏低" in words
        assert "187 V" in words
        assert "198 V 至 235.4 V" in words
        assert "水压未知" in words
        assert "E-10002" not in words

    async def test_usage_is_a_picture_and_the_same_in_words(self, stage: Stage) -> None:
        phone = stage.phone(1001)
        month = await phone.say("/usage")
        assert month["photo"]
        assert "最近 30 天共用 12 立方米" in text_of(month)
        await phone.press(month, "12 个月")
        year = await phone.next()
        assert year["photo"]
        assert "最近 12 个月" in text_of(year)
        await phone.press(year, "⚡")
        assert "还没有可以比较" in text_of(await phone.next())

    @pytest.mark.parametrize(
        ("typed", "answer"),
        [
            ("today", "今天到目前为止"),
            ("W-10001 今天", "今天到目前为止"),
            ("last year", "最近 12 个月"),
            ("去年", "最近 12 个月"),
            ("7 天 W-10001", "最近 7 天"),
            ("whenever", "今天、周、月、年"),
            ("W-99", "找不到这块表"),
        ],
    )
    async def test_usage_takes_a_span_in_words(self, stage: Stage, typed: str, answer: str) -> None:
        assert answer in text_of(await stage.phone(1001).say(f"/usage {typed}"))

    async def test_today_is_words_alone(self, stage: Stage) -> None:
        phone = stage.phone(1001)
        today = await phone.say("/usage today")
        assert not today.get("photo")
        await phone.press(today, "⚡")
        assert "今天还没有收到读数" in text_of(await phone.next())

    async def test_voltage_is_a_line_of_a_day(self, stage: Stage) -> None:
        phone = stage.phone(1001)
        picture = await phone.say("/voltage")
        assert picture["photo"]
        assert "最低 187 V" in text_of(picture)
        assert "最高 229 V" in text_of(picture)
        await phone.press(picture, "刷新")
        assert (await phone.next())["photo"]
        assert "水压未知" in text_of(await phone.say("/pressure"))

    async def test_someone_elses_meter_is_not_found(self, stage: Stage) -> None:
        theirs = await stage.phone(1002).say("/usage W-10001")
        assert "не найден" in text_of(theirs)
        assert "/usage" not in text_of(await stage.phone(4001).say("/usage"))


@pytest.mark.usefixtures("water_use")
class TestAfterSilentDays:
    async def test_todays_use_is_not_that_of_the_days_before(
        self, stage: Stage, database: Database
    ) -> None:
        meter = stage.world.home.meters[Service.WATER]
        async with database.transaction() as session:
            lost = (Reading.taken_at > NOON - timedelta(days=6)) & (Reading.taken_at < NOON - DAY)
            await session.execute(delete(Reading).where(Reading.meter_id == meter, lost))
        move_clock(stage, NOON)
        phone = stage.phone(1001)

        for typed in ("today", "week"):
            said = text_of(await phone.say(f"/usage W-10001 {typed}"))
            assert "起共用 2.4 立方米" in said
            assert "今天到目前为止" not in said

    async def test_use_is_not_known_yet_where_nobody_read_later(
        self, stage: Stage, database: Database
    ) -> None:
        async with database.transaction() as session:
            lost = Reading.taken_at > NOON - timedelta(days=3)
            await session.execute(delete(Reading).where(lost))
        move_clock(stage, NOON)

        said = text_of(await stage.phone(1001).say("/usage W-10001 week"))

        assert "还没有读数，那几天的用量还不知道" in said  # noqa: RUF001 (Chinese)
        assert "算在之后第一个有读数的日子里" not in said


class TestAgainstLastYear:
    @pytest.fixture
    async def two_years(self, stage: Stage, database: Database) -> None:
        """A reading each noon for 13 months and a year; the second year uses a quarter more."""
        begin = NOON - timedelta(days=730, hours=1)
        missing = range(727, 729)
        rows, value = [], Decimal(100)
        for day in range(731):
            value += Decimal("0.4") if day <= 365 else Decimal("0.5")
            if day not in missing:
                rows.append((begin + timedelta(days=day), value))
        async with database.transaction() as session:
            await ensure_months(session, months_of(at for at, _ in rows))
            session.add_all(
                Reading(
                    meter_id=stage.world.home.meters[Service.WATER],
                    register="total",
                    taken_at=at,
                    value=value,
                    source=Source.GATEWAY,
                    status=ReadingStatus.ACCEPTED,
                    received_at=NOON,
                )
                for at, value in rows
            )
            meter = await session.get_one(Meter, stage.world.home.meters[Service.WATER])
            meter.installed_at = begin

    @pytest.mark.usefixtures("two_years")
    async def test_says_more_or_less_and_what_nobody_read(self, stage: Stage) -> None:
        week = await stage.phone(1001).say("/usage week")
        assert week["photo"]
        words = ("0.5 立方米", "2 天没有读数", "2.8 立方米", "多了 25%")
        assert [word for word in words if word not in text_of(week)] == []

    @pytest.mark.usefixtures("two_years")
    async def test_has_no_word_of_today_in_a_year(self, stage: Stage) -> None:
        year = text_of(await stage.phone(1001).say("/usage year"))
        assert "今天" not in year
        assert "去年同期" in year

    @pytest.mark.usefixtures("two_years")
    async def test_says_since_when_a_year_is_not_complete(
        self, stage: Stage, database: Database
    ) -> None:
        phone = stage.phone(1001)
        assert "还没有算进来" not in text_of(await phone.say("/usage year"))
        async with database.transaction() as session:
            await session.execute(delete(Reading).where(Reading.taken_at > NOON - timedelta(8)))
        year = text_of(await phone.say("/usage year"))
        assert "之后的用量还没有算进来" in year
        assert "多了 25%" in year

    @pytest.mark.usefixtures("two_years")
    async def test_is_said_to_be_known_in_part(self, stage: Stage, database: Database) -> None:
        async with database.transaction() as session:
            early = NOON - timedelta(days=600)
            await session.execute(delete(Reading).where(Reading.taken_at < early))
        year = text_of(await stage.phone(1001).say("/usage year"))
        assert "去年同期只有一部分有读数" in year

    @pytest.mark.usefixtures("two_years")
    async def test_is_compared_by_one_rule_in_a_week_and_a_month(
        self, stage: Stage, database: Database
    ) -> None:
        async with database.transaction() as session:
            then = NOON - timedelta(days=365)
            lost = Reading.taken_at.between(then - timedelta(days=1.5), then + timedelta(hours=6))
            await session.execute(delete(Reading).where(lost))
        for span in ("week", "month"):
            said = text_of(await stage.phone(1001).say(f"/usage {span}"))
            assert "去年同期只有一部分有读数" in said

    @pytest.mark.usefixtures("history")
    async def test_is_said_to_be_unknown_without_readings_from_then(self, stage: Stage) -> None:
        assert "去年同期用了多少不知道" in text_of(await stage.phone(1001).say("/usage"))


@pytest.mark.usefixtures("history")
class TestTypingAReading:
    async def test_tells_the_use_since_the_last(self, stage: Stage, database: Database) -> None:
        phone = stage.phone(1001)
        which = await phone.say("/reading")
        await phone.press(which, "💧")
        await phone.changed(which, "116 立方米")
        answer = text_of(await phone.say("117.5"))
        assert "已记录" in answer
        assert "1.5 立方米" in answer
        assert await latest(database) == [Decimal("117.5")]

    async def test_asks_when_it_is_unusual(self, stage: Stage, database: Database) -> None:
        phone = stage.phone(1001)
        asked = await phone.say("/reading W-10001 126")
        assert "20 倍" in text_of(asked)
        assert await latest(database) == []
        await phone.press(asked, "没有错")
        await phone.changed(asked, "已记录")
        await phone.post("press_data", message_id=asked["message_id"], data="readyes")
        await phone.say("/home")
        assert not any("按钮已过期" in text_of(each) for each in await phone.messages())
        move_clock(stage, stage.clock.now() + timedelta(minutes=1))
        await phone.post("press_data", message_id=asked["message_id"], data="readyes")
        await phone.expect("按钮已过期")
        assert await latest(database) == [Decimal(126)]

    async def test_says_where_an_estimate_was_too_high(
        self, stage: Stage, database: Database
    ) -> None:
        async with database.transaction() as session:
            session.add(
                Reading(
                    meter_id=stage.world.home.meters[Service.WATER],
                    register="total",
                    taken_at=NOON - timedelta(minutes=5),
                    value=Decimal(118),
                    source=Source.ESTIMATE,
                    status=ReadingStatus.ACCEPTED,
                    received_at=NOON,
                )
            )
        phone = stage.phone(1001)
        told = text_of(await phone.say("/reading W-10001 117"))
        assert "118 立方米 偏高" in told
        assert "第一次" not in told
        usage = text_of(await phone.say("/usage"))
        assert "118" not in usage

    async def test_lets_one_correct_an_unusual_number(self, stage: Stage, database) -> None:
        phone = stage.phone(1001)
        await phone.say("/reading W-10001 1170")
        assert "已记录" in text_of(await phone.say("117.0"))
        assert await latest(database) == [117]

    async def test_lets_a_manager_decide_on_what_cannot_be(
        self, stage: Stage, database: Database
    ) -> None:
        customer, manager = stage.phone(1001), stage.phone(3001)
        await customer.say("/reading W-10001 1170")
        assert "先核实" in text_of(await customer.say("是"))
        waiting = await manager.say("/held")
        assert "1 reading waits" in text_of(waiting)
        await manager.press(waiting, "W-10001")
        shown = await manager.changed(waiting, "116 m³")
        await manager.press(shown, "Another number")
        await manager.changed(waiting, "really show")
        assert "digits before the point" in text_of(await manager.say("1000000"))
        assert "cannot run backwards" in text_of(await manager.say("99"))
        await manager.say("117")
        assert "Noted" in text_of(await manager.say("<b>misread</b> & called back"))
        assert await latest(database) == []  # a manager vouches for it now
        lately = await manager.say("/held")
        assert "No reading waits" in text_of(lately)
        assert "117 立方米" in text_of(await customer.say("/meters"))
        await manager.press(lately, "↩ W-10001")
        shown = await manager.changed(lately, "Is that decision to be taken back?")
        assert "W-10001, " in text_of(shown)
        await manager.press(shown, "It is wrong")
        await manager.changed(lately, "Why")
        assert "Noted" in text_of(await manager.say("of another meter"))
        assert "117 立方米" not in text_of(await customer.say("/meters"))

    async def test_asks_a_manager_for_the_number_again_that_fits_no_more(
        self, stage: Stage, database: Database
    ) -> None:
        customer, manager = stage.phone(1001), stage.phone(3001)
        await customer.say("/reading W-10001 1170")
        await customer.say("是")
        waiting = await manager.say("/held")
        await manager.press(waiting, "W-10001")
        await manager.press(await manager.changed(waiting, "116 m³"), "Another number")
        await manager.changed(waiting, "really show")
        assert "Why" in text_of(await manager.say("117"))
        async with database.transaction() as session:
            session.add(
                Reading(
                    meter_id=stage.world.home.meters[Service.WATER],
                    register="total",
                    taken_at=NOON - timedelta(minutes=30),
                    value=Decimal(118),
                    source=Source.GATEWAY,
                    status=ReadingStatus.ACCEPTED,
                    received_at=NOON,
                )
            )
        assert "cannot run backwards" in text_of(await manager.say("misread"))
        assert "Why" in text_of(await manager.say("119"))
        assert "Noted" in text_of(await manager.say("misread"))

    async def test_offers_the_number_that_was_meant(self, stage: Stage, database: Database) -> None:
        phone = stage.phone(1001)
        asked = await phone.say("/reading W-10001 1167")
        await phone.press(asked, "116.7 立方米")
        await phone.changed(asked, "已记录")
        assert await latest(database) == [Decimal("116.7")]
        move_clock(stage, stage.clock.now() + timedelta(minutes=1))
        await phone.post("press_data", message_id=asked["message_id"], data="readmeant")
        await phone.expect("按钮已过期")
        assert await latest(database) == [Decimal("116.7")]

    async def test_lets_a_manager_convert_it_with_one_press(
        self, stage: Stage, database: Database
    ) -> None:
        customer, manager = stage.phone(1001), stage.phone(3001)
        await customer.say("/reading W-10001 1170")
        assert "先核实" in text_of(await customer.say("是"))
        waiting = await manager.say("/held")
        await manager.press(waiting, "W-10001")
        shown = await manager.changed(waiting, "another unit")
        await manager.press(shown, "It is 117 m³")
        await manager.expect("Noted")
        assert "117 立方米" in text_of(await customer.say("/meters"))
        assert await latest(database) == []  # a manager vouches for it now

    async def test_takes_a_typed_yes(self, stage: Stage, database: Database) -> None:
        phone = stage.phone(1001)
        await phone.say("/reading W-10001 126")
        assert "已记录" in text_of(await phone.say("是"))
        assert await latest(database) == [126]

    async def test_takes_a_typed_no(self, stage: Stage, database: Database) -> None:
        phone = stage.phone(1001)
        await phone.say("/reading W-10001 126")
        assert "已取消" in text_of(await phone.say("不"))
        assert await latest(database) == []

    async def test_says_how_many_places_there_are(self, stage: Stage) -> None:
        phone = stage.phone(1001)
        assert "最多 3 位" in text_of(await phone.say("/reading W-10001 116.1234"))

    @pytest.mark.parametrize(
        "typed",
        ["x" * 4000, "<b>&", "🙂", "\u202e", "-5", "1e400", "99", "100000", "1.2345", "W-10002"],
    )
    async def test_bad_input_gets_a_clear_answer_and_changes_nothing(
        self, stage: Stage, database: Database, typed: str
    ) -> None:
        phone = stage.phone(1001)
        await phone.say("/reading W-10001")
        answer = text_of(await phone.say(typed))
        assert "⚠" in answer
        assert await latest(database) == []
        assert "已记录" in text_of(await phone.say("\uff11\uff11\uff17"))
        assert await latest(database) == [117]

    async def test_a_forged_button_changes_nothing(self, stage: Stage, database: Database) -> None:
        phone = stage.phone(1002)
        menu = await phone.say("/meters")
        for data in (
            "readyes",
            f"read:{stage.world.home.meters[Service.WATER]}",
            "read:x",
            "use:1",
        ):
            await phone.post("press_data", message_id=menu["message_id"], data=data)
        await phone.say("/meters")
        assert await latest(database) == []
