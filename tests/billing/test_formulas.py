"""Formulas: arithmetic, exact, and nothing else."""

from decimal import Decimal
from fractions import Fraction

import pytest

from core.billing.formulas import Formula, FormulaFails, parse_number

NAMES = {"a": Fraction(3), "b": Fraction(-7), "zero": Fraction(0)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b * 2 - 1", "-12"),
        ("-a", "-3"),
        ("a / 7", "0.428571428571"),
        ("b / 2 * (a - 1)", "-7"),
        ("a / 7 * 7 == 3", "1"),
        ("0.1 + 0.2 == 0.3", "1"),
        ("1 < a <= 3", "1"),
        ("1 < a < 3", "0"),
        ("a > 5 or b < 0", "1"),
        ("a > 5 and zero / zero", "0"),
        ("2 if a != 3 else 5", "5"),
        ("2 if a == 3 else 1 / zero", "2"),
        ("min(a, b, 4)", "-7"),
        ("max(a, 2.5)", "3"),
        ("floor(b / 2)", "-4"),
        ("ceil(b / 2)", "-3"),
        ("100 * a", "300"),
        ("a * 0.000000000001 / 2", "2E-12"),
    ],
)
def test_are_worked_out_exactly(text, expected):
    formula = parse_number(text)

    assert isinstance(formula, Formula)
    assert str(formula.value(NAMES)) == expected


@pytest.mark.parametrize("text", ["a / zero", "a * 999999999", "b * 999999999"])
def test_fail_where_there_is_no_usable_result(text):
    with pytest.raises(FormulaFails):
        parse_number(text).value(NAMES)


@pytest.mark.parametrize("text", ["3.15", "-0.09566", "0", "999999999.999999999999"])
def test_are_not_made_of_plain_numbers(text):
    assert parse_number(text) == Decimal(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "5 ", "1e3", "0x10", "1_000", "1j", "True", "None", "'5'", "é + 1", "a.b", "a b"],
)
def test_are_refused_if_they_are_anything_else(text):
    with pytest.raises(ValueError):  # noqa: PT011 (its text is the formula)
        parse_number(text)


def test_tell_the_names_that_they_use():
    assert parse_number("min(a, b) if days < 3 else a").names == {"a", "b", "days"}
