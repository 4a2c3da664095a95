"""Numbers in another unit are recognised, and right ones never are."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.monitoring.misreadings import SHIFTS, UNUSUAL_TIMES, find_meant


def meant(before: str, value: str, *, digits: int = 8, days: int = 30) -> Decimal | None:
    return find_meant(
        Decimal(before),
        Decimal(value),
        digits=digits,
        days=Decimal(days),
        usual_per_day=Decimal("0.5"),
        most_per_day=Decimal(240),
    )


class TestFindMeant:
    @pytest.mark.parametrize(
        ("before", "value", "expected"),
        [
            pytest.param("116", "124500", "124.5", id="litres"),
            pytest.param("116", "1245", "124.5", id="a decimal wheel"),
            pytest.param("116", "12.45", "124.5", id="a point too far left"),
            pytest.param("116", "0.1245", "124.5", id="thousands"),
            pytest.param("116", "124.5", None, id="right as it is"),
            pytest.param("116", "116", None, id="no use"),
            pytest.param("116", "300", None, id="much, and nothing else fits"),
            pytest.param("116", "100", None, id="back, and nothing else fits"),
            pytest.param("0.01", "500", None, id="more than one would fit"),
            pytest.param("99999990", "3", None, id="ran over"),
        ],
    )
    def test_knows(self, before: str, value: str, expected: str | None) -> None:
        assert meant(before, value) == (None if expected is None else Decimal(expected))

    def test_suggests_nothing_that_no_meter_passes(self) -> None:
        # Something absurd was accepted by hand, and is usual since.
        before, value, usual = Decimal("87.6"), Decimal(10_087_659), Decimal(5000)
        found = find_meant(
            before, value, digits=8, days=Decimal(1), usual_per_day=usual, most_per_day=Decimal(240)
        )
        assert found is None

    @given(
        before=st.decimals(50, 90_000, places=2),
        use=st.decimals("0.01", 70, places=2),
        shift=st.sampled_from(SHIFTS),
    )
    def test_finds_the_way_back_from_any_shift(
        self, before: Decimal, use: Decimal, shift: int
    ) -> None:
        right = before + use
        found = meant(str(before), str(right.scaleb(shift)), digits=12)
        # From 50 on no two factors of ten lie within what a home uses in a month.
        assert found == right

    @given(
        before=st.decimals(0, 90_000, places=3),
        use=st.decimals(0, 75, places=3),
    )
    def test_leaves_usual_use_alone(self, before: Decimal, use: Decimal) -> None:
        assert meant(str(before), str(before + use)) is None

    @given(
        before=st.decimals(0, 99_999, places=3),
        value=st.decimals(0, 99_999_999, places=3),
        days=st.integers(0, 400),
    )
    def test_offers_only_what_the_register_can_show_and_the_home_can_use(
        self, before: Decimal, value: Decimal, days: int
    ) -> None:
        found = meant(str(before), str(value), days=days)
        if found is not None:
            assert before < found < 10**8
            assert found - before <= max(days, 1) * Decimal("0.5") * UNUSUAL_TIMES
