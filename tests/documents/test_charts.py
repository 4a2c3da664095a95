"""Pictures for the chat, judged by their pixels."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.documents.charts import Bar, Level, Point, line_chart, scale_bars, usage_chart
from tests.documents.pictures import ALARM, read_png
from tests.documents.samples import LANGUAGES, SERVICES, usage_bars

WATER = (0x0B, 0x82, 0x98)
WATER_PALE = (0xE7, 0xF4, 0xF6)


def bar(value: str | None) -> Bar:
    return Bar(label="m", value=value and Decimal(value), text=str(value))


def pressures(*values: str | None) -> list[Point]:
    return [
        Point(label=f"{hour:02}:00", value=value and Decimal(value), text=str(value))
        for hour, value in enumerate(values)
    ]


def pressure_chart(*values: str | None) -> bytes:
    return line_chart(
        language="en",
        service="water",
        title="Pressure",
        unit="MPa",
        points=pressures(*values),
        low=Level(value=Decimal("0.2"), text="0.20"),
        high=Level(value=Decimal("0.45"), text="0.45"),
    )


class TestUsageChart:
    @pytest.mark.parametrize("service", SERVICES)
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_has_the_size_the_chat_wants(self, language, service):
        content = usage_chart(
            language=language,
            service=service,
            title="13",
            unit="m³",
            bars=usage_bars(language, service),
            highlight=12,
        )

        picture = read_png(content, rows=1)

        assert (picture.width, picture.height) == (800, 450)

    def test_draws_the_highlighted_bar_as_high_as_its_share(self):
        def height(highlight: int) -> int:
            content = usage_chart(
                language="en",
                service="water",
                title="",
                unit="",
                bars=[bar("10"), bar("40"), bar("20")],
                highlight=highlight,
            )
            # The mark in the corner has the same colour: the bars begin below it.
            rows = {y for _, y in read_png(content).places_of(WATER) if y > 80}
            return len(rows)

        whole = height(1)
        assert whole == pytest.approx(244, abs=2)
        assert height(0) == pytest.approx(whole / 4, abs=2)
        assert height(2) == pytest.approx(whole / 2, abs=2)

    @pytest.mark.parametrize("values", [(), (None,), ("0",), ("-3", "5"), ("7",) * 400])
    def test_draws_whatever_was_used(self, values):
        bars = [bar(value) for value in values]

        content = usage_chart(
            language="ru", service="electricity", title="", unit="", bars=bars, highlight=None
        )

        assert content.startswith(b"\x89PNG")


class TestLineChart:
    def test_marks_values_outside_the_range(self):
        usual = read_png(pressure_chart("0.3", "0.31", "0.28", "0.3"))
        low = read_png(pressure_chart("0.3", "0.1", "0.28", "0.3"))
        high = read_png(pressure_chart("0.3", "0.31", "0.6", "0.3"))

        assert usual.places_of(ALARM) == []
        assert min(y for _, y in low.places_of(ALARM)) > 300
        assert min(y for _, y in high.places_of(ALARM)) < 150

    def test_takes_the_bounds_themselves_for_normal(self):
        assert read_png(pressure_chart("0.2", "0.45")).places_of(ALARM) == []

    def test_shades_the_normal_range(self):
        shaded = read_png(pressure_chart("0.1", "0.6")).places_of(WATER_PALE)

        rows = {y for _, y in shaded}
        # 0.25 of a span of 0.5, which fills 76 of 100 parts of 304 pixels.
        assert max(rows) - min(rows) == pytest.approx(0.5 * 0.76 * 304, abs=4)

    @pytest.mark.parametrize(
        "values", [(), (None,), ("0.3",), (None, "0.3", None), ("1e400", "-1e400"), ("0.3",) * 500]
    )
    def test_draws_whatever_was_measured(self, values):
        assert pressure_chart(*values).startswith(b"\x89PNG")

    def test_needs_no_range(self):
        content = line_chart(
            language="zh_CN",
            service="electricity",
            title="电压",
            unit="V",
            points=pressures("230", "229"),
            low=None,
            high=None,
        )

        assert read_png(content).places_of(ALARM) == []


class TestScaleBars:
    def test_divides_the_height_at_zero(self):
        scaled = scale_bars([bar("30"), bar(None), bar("-10")])

        assert scaled["zero"] == Decimal("0.25")
        assert [item["value"] for item in scaled["bars"]] == [
            Decimal("0.75"),
            None,
            Decimal("-0.25"),
        ]

    @given(
        st.lists(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), places=3))
    )
    def test_keeps_every_bar_inside(self, values):
        scaled = scale_bars([Bar(label="", value=value, text="") for value in values])

        zero = scaled["zero"]
        assert 0 <= zero <= 1
        assert all(-zero <= item["value"] <= 1 - zero + Decimal("1e-9") for item in scaled["bars"])
