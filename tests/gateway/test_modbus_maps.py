"""Maps of Modbus devices: spans, exact numbers, polarity. Pure."""

import math
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.gateway.wire.frames import Refused
from bot.gateway.wire.maps import DeviceMap, Point, Value, plan_spans, shorten
from core.accounts.models import Supply


def value(address: int = 0, type: str = "u16", unit: str = "V", **more: Any) -> Value:  # noqa: A002 (the map's word)
    return Value(address=address, type=type, unit=unit, **more)


class TestDecode:
    @pytest.mark.parametrize(
        ("described", "words", "expected"),
        [
            (value(type="u16", scale="0.1"), [2301], "230.1"),
            (value(type="i16", scale="0.1"), [0xFFFF], "-0.1"),
            (value(type="u32", unit="Wh"), [0x0001, 0x0000], "65.536"),
            (value(type="u32", unit="Wh", low_word_first=True), [0x0000, 0x0001], "65.536"),
            (value(type="i32", scale="0.001"), [0xFFFF, 0xFFFE], "-0.002"),
            (value(type="float32"), [0x4366, 0x199A], "230.1"),
            (value(type="float32", low_word_first=True), [0x199A, 0x4366], "230.1"),
            (value(type="float32", unit="bar"), [0x4083, 0x3333], "410"),
            (value(type="u16", unit="MPa", scale="0.01"), [41], "410"),
            (value(type="u32", unit="l"), [0, 12345], "12.345"),
        ],
    )
    def test_gives_the_exact_number_in_our_unit(
        self, described: Value, words: list[int], expected: str
    ) -> None:
        assert described.decode(words) == Decimal(expected)

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 3.4e38, -1e12])
    def test_refuses_what_no_meter_shows(self, number: float) -> None:
        words = struct.unpack(">HH", struct.pack(">f", number))

        with pytest.raises(Refused, match="impossible"):
            value(type="float32").decode(words)

    def test_refuses_a_register_that_its_scale_makes_impossible(self) -> None:
        with pytest.raises(Refused, match="impossible"):
            value(type="u32", scale="1000000").decode([0xFFFF, 0xFFFF])


class TestShorten:
    @given(st.integers(-999_999, 999_999), st.integers(0, 6))
    def test_finds_the_decimal_of_six_digits_that_was_meant(self, digits: int, places: int) -> None:
        meant = Decimal(digits).scaleb(-places)

        assert shorten(struct.pack(">f", float(meant))) == meant

    @given(st.floats(width=32, min_value=-(2**36), max_value=2**36))
    def test_finds_a_decimal_that_is_stored_as_the_same(self, number: float) -> None:
        found = shorten(struct.pack(">f", number))

        assert struct.pack(">f", float(found)) == struct.pack(">f", number)


class TestPlanSpans:
    def test_asks_for_neighbours_together(self) -> None:
        values = [value(4), value(0, "float32"), value(2, "u32"), value(10)]

        spans = plan_spans(values, gap=0)

        assert [(span.start, span.end) for span in spans] == [(0, 5), (10, 11)]

    def test_asks_across_a_gap_that_the_device_bears(self) -> None:
        spans = plan_spans([value(0), value(10), value(30)], gap=9)

        assert [(span.start, span.end) for span in spans] == [(0, 11), (30, 31)]

    def test_never_mixes_tables(self) -> None:
        spans = plan_spans([value(0), value(1, table="input")], gap=125)

        assert [(span.table, span.start) for span in spans] == [("holding", 0), ("input", 1)]

    @given(
        st.lists(st.integers(0, 600), min_size=1, max_size=40),
        st.integers(0, 125),
        st.sampled_from(["u16", "u32"]),
    )
    def test_reads_every_value_once_and_never_too_much(
        self, addresses: list[int], gap: int, kind: str
    ) -> None:
        values = [value(address, kind) for address in addresses]

        spans = plan_spans(values, gap=gap)

        found = [each for span in spans for each in span.values]
        assert sorted(each.address for each in found) == sorted(addresses)
        for span in spans:
            assert span.end - span.start <= 125
            assert all(span.start <= each.address and each.end <= span.end for each in span.values)


class TestPoint:
    def test_knows_no_state_for_a_number_that_is_neither(self) -> None:
        point = Point(table="holding", address=0, connected=0x55, cut=0x99)

        found = [point.name(number) for number in (0x55, 0x99, 0)]
        assert found == [Supply.CONNECTED, Supply.CUT, Supply.UNKNOWN]

    @pytest.mark.parametrize(
        ("table", "connected", "cut"), [("holding", 1, 1), ("coil", 1, 2), ("discrete", 5, 0)]
    )
    def test_must_have_two_states(self, table: str, connected: int, cut: int) -> None:
        with pytest.raises(ValidationError, match="must differ"):
            Point(table=table, address=0, connected=connected, cut=cut)


class TestDeviceMap:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"value": []},
            {"value": [{"address": 0, "type": "u16", "unit": "A"}]},
            {"value": [{"address": 70000, "type": "u16", "unit": "V"}]},
            {"value": [{"address": 0, "type": "u16", "unit": "V", "polarity": 1}]},
            {
                "value": [{"address": 0, "type": "u16", "unit": "V"}],
                "switch": {"command": {"table": "coil", "address": 0, "connected": 1, "cut": 0}},
            },
        ],
    )
    def test_refuses_what_it_does_not_know_or_misses(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            DeviceMap.model_validate(wrong)
