"""Pictures for the chat: what was used, and how a quantity moved about its normal range."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Literal

from bot.documents.typesetting import typeset_png

Service = Literal["water", "electricity"]

_PPI = 144  # the templates' 400 x 225 points become 800 x 450 pixels
_MARGIN = Decimal("0.12")  # of the height: room for the words beside the extremes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """
    One period's use. `text` and `label` are shown; a `group` stands under its first bar.

    `before` is what was used a year earlier: a line across the bar. One that is estimated, or
    was not read to its end, is drawn dashed; that of the same time a year ago is darker.
    """

    label: str
    value: Decimal | None
    text: str
    group: str = ""
    is_estimated: bool = False
    before: Decimal | None = None
    is_year_ago: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measured value; `None` where nothing was measured."""

    label: str
    value: Decimal | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A bound of the normal range."""

    value: Decimal
    text: str


def usage_chart(
    *,
    language: str,
    service: Service,
    title: str,
    unit: str,
    bars: Sequence[Bar],
    highlight: int | None,
    legend: str = "",
) -> bytes:
    """
    Return a picture (PNG, 800 x 450) of the use by period, one bar highlighted.

    `legend` says what the lines are, where bars have any.
    """
    head = {"language": language, "service": service, "title": title, "unit": unit}
    head["legend"] = legend
    content = {**head, "highlight": highlight, "usage": scale_bars(bars)}
    return typeset_png("usage.typ", content, ppi=_PPI)[0]


def line_chart(
    *,
    language: str,
    service: Service,
    title: str,
    unit: str,
    points: Sequence[Point],
    low: Level | None,
    high: Level | None,
) -> bytes:
    """
    Return a picture (PNG, 800 x 450) of a measured quantity over time.

    The normal range is shaded, values outside it are marked by a shape as well as a colour.
    """
    head = {"language": language, "service": service, "title": title, "unit": unit}
    content = {**head, **_scale_series(points, low=low, high=high)}
    return typeset_png("line.typ", content, ppi=_PPI)[0]


def scale_bars(bars: Sequence[Bar]) -> Mapping[str, object]:
    """Return the bars with each value as a share of the whole height, and where zero lies."""
    known = [value for bar in bars for value in (bar.value, bar.before) if value is not None]
    bottom, top = min([*known, Decimal(0)]), max([*known, Decimal(0)])
    span = (top - bottom) or Decimal(1)

    def share(value: Decimal | None) -> Decimal | None:
        return None if value is None else value / span

    return {
        "zero": -bottom / span,
        "bars": [
            asdict(bar) | {"value": share(bar.value), "before": share(bar.before)} for bar in bars
        ],
    }


def _scale_series(
    points: Sequence[Point], *, low: Level | None, high: Level | None
) -> Mapping[str, object]:
    measured = [point.value for point in points if point.value is not None]
    everything = [*measured, *(level.value for level in (low, high) if level is not None)]
    bottom, top = min(everything, default=Decimal(0)), max(everything, default=Decimal(0))
    span = ((top - bottom) or Decimal(1)) / (1 - 2 * _MARGIN)
    extremes = {
        min(measured, default=bottom): "lowest",
        max(measured, default=top): "highest",
    }

    def height(value: Decimal) -> Decimal:
        return (value - bottom) / span + _MARGIN

    def placed(point: Point) -> Mapping[str, object]:
        if point.value is None:
            return asdict(point) | {"is_outside": False, "extreme": None}
        is_below = low is not None and point.value < low.value
        is_above = high is not None and point.value > high.value
        return asdict(point) | {
            "value": height(point.value),
            "is_outside": is_below or is_above,
            "extreme": extremes.pop(point.value, None),
        }

    return {
        "points": [placed(point) for point in points],
        "low": low and {"value": height(low.value), "text": low.text},
        "high": high and {"value": height(high.value), "text": high.text},
    }
