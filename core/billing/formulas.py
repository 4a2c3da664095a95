"""
Formulas in tariff files: arithmetic on names, exact, and nothing else. Pure.

A formula is written as in Python and read by Python's parser, but never run by it: only the forms
below are known, and each becomes a function on fractions.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from core.errors import DomainError
from core.money import divide

NUMBER: Final = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,12})?")
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
RESULT_DIGITS: Final = 12  # a result is rounded half up to as many digits as a price may have
_LENGTH_MAX: Final = 300
_RESULT_MAX: Final = 10**9

Names = Mapping[str, Fraction]
_Step = Callable[[Names], Fraction]

_OPERATORS: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "min": min,
    "max": max,
    "floor": math.floor,
    "ceil": math.ceil,
}


class FormulaFails(DomainError):
    """A formula has no usable result for this customer: it divides by zero or is far too big."""

    code = "billing.formula_fails"


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula of a tariff file; `names` are those that it uses."""

    text: str
    names: frozenset[str] = field(compare=False)
    step: _Step = field(compare=False, repr=False)

    def value(self, names: Names) -> Decimal:
        """
        Return the result for these values, rounded half up to 12 digits after the point.

        Raises:
            FormulaFails: there is no result, or it is far too big.
        """
        try:
            exact = self.step(names)
        except ZeroDivisionError as error:
            raise FormulaFails(formula=self.text) from error
        if abs(exact) >= _RESULT_MAX:
            raise FormulaFails(formula=self.text)
        result = divide(Decimal(exact.numerator), exact.denominator, digits=RESULT_DIGITS)
        # As a price is written: without zeros at its end.
        return result.quantize(Decimal(1)) if result == int(result) else result.normalize()


Number = Decimal | Formula


def value_of(number: Number, names: Names) -> Decimal:
    """Return a number of a tariff, worked out if it is a formula."""
    return number if isinstance(number, Decimal) else number.value(names)


def parse_number(text: str) -> Number:
    """
    Return the number or the formula that is written in a tariff file.

    Raises:
        ValueError: it is neither.
    """
    if NUMBER.fullmatch(text):
        return Decimal(text)
    names: set[str] = set()
    if len(text) > _LENGTH_MAX or not text.isascii():
        raise ValueError(text)
    try:
        tree = ast.parse(text, mode="eval").body
        step = _compile(tree, text, names)
    except (SyntaxError, RecursionError) as error:
        raise ValueError(text) from error
    if isinstance(tree, ast.Constant):
        raise ValueError(text)  # noqa: TRY004 (a number, but not written as one)
    return Formula(text, frozenset(names), step)


def _compile(node: ast.expr, text: str, names: set[str]) -> _Step:  # noqa: C901, PLR0911 (one case per form)
    def sub(each: ast.expr) -> _Step:
        return _compile(each, text, names)

    match node:
        case ast.Constant():
            written = ast.get_source_segment(text, node) or ""
            if not NUMBER.fullmatch(written):
                raise ValueError(text)
            number = Fraction(written)
            return lambda _: number
        case ast.Name(id=name) if NAME.fullmatch(name):
            names.add(name)
            return lambda values: values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = sub(operand)
            return lambda values: -inner(values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _binary(_OPERATORS[type(op)], sub(left), sub(right))
        case ast.Compare(left=first, ops=ops, comparators=others) if {*map(type, ops)} <= {
            *_OPERATORS
        }:
            sides = [sub(each) for each in (first, *others)]
            pairs = zip(ops, sides, sides[1:], strict=False)
            return _all([_binary(_OPERATORS[type(op)], low, high) for op, low, high in pairs])
        case ast.BoolOp(op=ast.And(), values=values):
            return _all([sub(each) for each in values])
        case ast.BoolOp(op=ast.Or(), values=values):
            any_of = [sub(each) for each in values]
            return lambda values: Fraction(any(each(values) for each in any_of))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            asked, then, otherwise = sub(test), sub(body), sub(orelse)
            return lambda values: then(values) if asked(values) else otherwise(values)
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as args, keywords=[]):
            if name not in _FUNCTIONS or (len(args) == 1) != (name in ("floor", "ceil")):
                raise ValueError(text)
            function, steps = _FUNCTIONS[name], [sub(each) for each in args]
            return lambda values: Fraction(function(*(each(values) for each in steps)))
    raise ValueError(text)


def _binary(function: Callable[[Any, Any], Any], left: _Step, right: _Step) -> _Step:
    return lambda values: Fraction(function(left(values), right(values)))


def _all(steps: Sequence[_Step]) -> _Step:
    return lambda values: Fraction(all(each(values) for each in steps))
