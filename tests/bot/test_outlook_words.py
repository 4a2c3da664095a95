"""The sentences of the running bill are whole in every language, also for today and tomorrow."""

import pytest

from bot.handlers.outlook_words import coming_tier_words, find_number, find_quantity, fold
from bot.texts import LOCALES, Texts
from core.accounts.models import Service


def texts(locale: str) -> Texts:
    return Texts(locale, timezone="Asia/Shanghai", currency="CNY")


class TestComingTierWords:
    @pytest.mark.parametrize("locale", LOCALES)
    @pytest.mark.parametrize("window", ["bill", "month", "year"])
    @pytest.mark.parametrize("days", [0, 1, 3, 6])
    def test_names_tier_limit_and_days(self, locale: str, window: str, days: int) -> None:
        coming = {"tier": 2, "above": "240", "window": window, "days": days}

        said = coming_tier_words(texts(locale), Service.WATER, coming)

        assert "240" in said
        assert "2" in said.replace("240", "")
        assert days == 0 or str(days) in said
        assert "outlook." not in said

    def test_says_one_day_for_one(self) -> None:
        coming = {"tier": 2, "above": "240", "window": "year", "days": 1}

        assert "1 day you" in coming_tier_words(texts("en"), Service.WATER, coming)


class TestFindQuantity:
    @pytest.mark.parametrize(
        ("locale", "typed", "found"),
        [
            ("en", "What would 20 m³ cost?", ("20", Service.WATER)),
            ("en", "1,200.5 kWh", ("1,200.5", Service.ELECTRICITY)),
            ("en", "-5 m3", ("-5", Service.WATER)),
            ("zh_CN", "２０立方要多少", ("20", Service.WATER)),
            ("zh_CN", "用300度电", ("300", Service.ELECTRICITY)),
            ("zh_TW", "300度電多少錢", ("300", Service.ELECTRICITY)),
            ("zh_TW", "12度水多少錢", ("12", Service.WATER)),
            ("ru", "сколько стоят 2,5 куба", ("2,5", Service.WATER)),
            ("ru", "100 кВт·ч", ("100", Service.ELECTRICITY)),
            ("en", "20 of them", None),
        ],
    )
    def test_knows_the_units_people_use(self, locale, typed, found) -> None:
        assert find_quantity(texts(locale), fold(typed)) == found


class TestFindNumber:
    def test_keeps_what_makes_it_wrong(self) -> None:
        assert find_number("over 1,000.50 yuan") == "1,000.50"
        assert find_number("- 5") == "- 5"
        assert find_number("a lot") == ""
