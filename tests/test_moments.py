from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.moments import (
    MomentInThePast,
    MomentTooFar,
    NotADay,
    NotAMoment,
    parse_day,
    parse_moment,
    split_moment,
)
from bot.texts import LOCALES, Texts

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # a Sunday, 12:00 in Asia/Shanghai


def texts(locale: str) -> Texts:
    return Texts(locale, timezone="Asia/Shanghai", currency="CNY")


def read(typed: str, locale: str = "en") -> str:
    moment = parse_moment(typed, texts=texts(locale), now=NOW)
    return f"{moment.astimezone(texts(locale).zone):%m-%d %H:%M}"


class TestParseMoment:
    @pytest.mark.parametrize(
        ("locale", "typed", "meant"),
        [
            ("en", "15:30", "11-22 15:30"),
            ("en", "9:00", "11-23 09:00"),
            ("en", "tomorrow 10:00", "11-23 10:00"),
            ("en", "10:00 tomorrow", "11-23 10:00"),
            ("en", "25.11 14:00", "11-25 14:00"),
            ("en", "11-25 14:00", "11-25 14:00"),
            ("en", "2026-12-01 08:15", "12-01 08:15"),
            ("en", "01.12.2026 8:15", "12-01 08:15"),
            ("en", "15.30", "11-22 15:30"),
            ("en", "+2 h", "11-22 14:00"),
            ("en", "90 min", "11-22 13:30"),
            ("en", "now", "11-22 12:00"),
            ("en", "1-5 10:00", "01-05 10:00"),
            ("en", "tomorrow at 10:00", "11-23 10:00"),
            ("en", "3:15 PM", "11-22 15:15"),
            ("zh_CN", "明天10点", "11-23 10:00"),
            ("zh_CN", "明天下午3点半", "11-23 15:30"),
            ("zh_CN", "上午9点20分", "11-23 09:20"),
            ("ru", "завтра в 9:00", "11-23 09:00"),
            ("zh_CN", "明天 10点30分", "11-23 10:30"),
            ("zh_CN", "11月25日 14:00", "11-25 14:00"),
            ("zh_CN", "15:30", "11-22 15:30"),
            ("zh_CN", "2小时", "11-22 14:00"),
            ("zh_TW", "後天 9點", "11-24 09:00"),
            ("ru", "завтра 10:00", "11-23 10:00"),
            ("ru", "послезавтра 10:00", "11-24 10:00"),
            ("ru", "3 часа", "11-22 15:00"),
        ],
    )
    def test_reads_what_people_type(self, locale: str, typed: str, meant: str) -> None:
        assert read(typed, locale) == meant

    @pytest.mark.parametrize(
        "typed",
        [
            *(
                "",
                "soon",
                "tomorrow",
                "25:00",
                "12:99",
                "9",
                "1e400",
                "yesterday 10:00",
                "昨天10点",
            ),
            *(
                "30.02 10:00",
                "32.01 10:00",
                "05.13 10:00",
                "13/13 9:00",
                "13-45 10:00",
                "2月31日 10点",
            ),
        ],
    )
    def test_refuses_what_is_no_time(self, typed: str) -> None:
        with pytest.raises(NotAMoment):
            read(typed)

    def test_refuses_the_past_and_the_far_future(self) -> None:
        with pytest.raises(MomentInThePast):
            read("2026-11-21 10:00")
        with pytest.raises(MomentInThePast):
            read("today 8:00")
        with pytest.raises(MomentTooFar):
            read("2027-06-01 10:00")

    @settings(deadline=None)  # the first call reads a catalog
    @given(st.text(max_size=30), st.sampled_from(LOCALES))
    def test_answers_any_text_with_a_moment_ahead_or_a_refusal(
        self, typed: str, locale: str
    ) -> None:
        try:
            moment = parse_moment(typed, texts=texts(locale), now=NOW)
        except (NotAMoment, MomentInThePast, MomentTooFar):
            return
        assert NOW - timedelta(minutes=5) <= moment <= NOW + timedelta(days=90)


class TestSplitMoment:
    @pytest.mark.parametrize(
        ("locale", "typed", "meant", "rest"),
        [
            ("en", "15:30 part", "11-22 15:30", "part"),
            ("en", "tomorrow 10:00 no valve in stock", "11-23 10:00", "no valve in stock"),
            ("en", "14:00 tomorrow rain", "11-23 14:00", "rain"),
            ("en", "12.12 14:00 floor 3", "12-12 14:00", "floor 3"),
            ("en", "+2 h rain", "11-22 14:00", "rain"),
            ("en", "15:30", "11-22 15:30", ""),
            ("zh_CN", "明天10点 等零件", "11-23 10:00", "等零件"),
            ("ru", "завтра 10:00 нет детали", "11-23 10:00", "нет детали"),
        ],
    )
    def test_takes_the_words_that_make_the_moment(
        self, locale: str, typed: str, meant: str, rest: str
    ) -> None:
        moment, after = split_moment(tuple(typed.split()), texts=texts(locale), now=NOW)
        assert f"{moment.astimezone(texts(locale).zone):%m-%d %H:%M}" == meant
        assert " ".join(after) == rest

    @pytest.mark.parametrize("day", ["30.02", "05.13", "13-45", "2月31日"])
    def test_takes_no_day_that_does_not_exist(self, day: str) -> None:
        with pytest.raises(NotAMoment):
            split_moment((day, "10:00", "part"), texts=texts("zh_CN"), now=NOW)

    def test_refuses_words_without_a_moment_and_the_past(self) -> None:
        with pytest.raises(NotAMoment):
            split_moment(("no", "part"), texts=texts("en"), now=NOW)
        with pytest.raises(MomentInThePast):
            split_moment(("2026-11-21", "10:00", "part"), texts=texts("en"), now=NOW)


class TestParseDay:
    @pytest.mark.parametrize(
        ("locale", "typed", "meant"),
        [
            ("en", "today", "2026-11-22"),
            ("en", "Tomorrow", "2026-11-23"),
            ("en", "Sunday", "2026-11-22"),
            ("en", "mon", "2026-11-23"),
            ("en", "25.11", "2026-11-25"),
            ("en", "25.11.2026", "2026-11-25"),
            ("en", "11-25", "2026-11-25"),
            ("en", "1-5", "2027-01-05"),
            ("zh_CN", "周日", "2026-11-22"),
            ("zh_CN", "星期三", "2026-11-25"),
            ("zh_CN", "11月25日", "2026-11-25"),
            ("zh_TW", "週日", "2026-11-22"),
            ("zh_TW", "後天", "2026-11-24"),
            ("ru", "воскресенье", "2026-11-22"),
            ("ru", "Пн", "2026-11-23"),
            ("ru", "завтра", "2026-11-23"),
        ],
    )
    def test_reads_what_people_type(self, locale: str, typed: str, meant: str) -> None:
        assert str(parse_day(typed, texts=texts(locale), now=NOW)) == meant

    @pytest.mark.parametrize("typed", ["", "soon", "31.02", "11-25 14:00", "25.11 14:00", "15:30"])
    def test_refuses_what_is_no_day(self, typed: str) -> None:
        with pytest.raises(NotADay):
            parse_day(typed, texts=texts("en"), now=NOW)

    @given(st.text(max_size=30))
    def test_reads_or_refuses_whatever_is_typed(self, typed: str) -> None:
        try:
            day = parse_day(typed, texts=texts("ru"), now=NOW)
        except NotADay:
            return
        assert str(day)
