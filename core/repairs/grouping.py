"""When many abnormal meters are one incident, and of which area. Pure functions only."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

# As many homes and such a share of an area's metered homes, all beginning within the window.
HOMES_MIN = 3
SHARE_MIN = Decimal("0.25")
WINDOW = timedelta(minutes=30)


class Abnormal(NamedTuple):
    """A service point outside its range; `path` holds the ids of its areas, the widest first."""

    point: int
    path: tuple[int, ...]
    began_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Points of an area with one cause; what was abnormal before `since` has its own."""

    area_id: int
    since: datetime
    points: frozenset[int]


def count_enough(abnormal: int) -> int:
    """Return how many supplied points are too many for some abnormal ones to be an incident."""
    return int(abnormal / SHARE_MIN) + 1


def find_groups(abnormal: Iterable[Abnormal], *, supplied: Mapping[int, int]) -> list[Group]:
    """
    Return the incidents among abnormal points of one quantity and side, the earliest first.

    `supplied` counts the metered points of each area. An area is hit when enough of its points
    began within the window, and not only in one part of it: so a burst in one riser is the
    riser's, and one in two risers the building's. Whoever began later belongs to it too, and so
    does whoever began at most one window before. More abnormal points never make a group
    smaller, so the order in which they become known does not count.
    """
    rest = sorted(abnormal, key=lambda each: (each.began_at, each.point))
    groups = []
    while (hit := _find_widest(rest, supplied)) is not None:
        area_id, first = hit
        since = first - WINDOW
        points = frozenset(
            each.point for each in rest if area_id in each.path and each.began_at >= since
        )
        groups.append(Group(area_id=area_id, since=since, points=points))
        rest = [each for each in rest if each.point not in points]
    return sorted(groups, key=lambda group: (group.since, group.area_id))


def _find_widest(
    abnormal: list[Abnormal], supplied: Mapping[int, int]
) -> tuple[int, datetime] | None:
    """Return the widest area that is hit, and when the first of its points began."""
    by_area: dict[tuple[int, int], list[Abnormal]] = {}
    for each in abnormal:
        for depth, area_id in enumerate(each.path):
            by_area.setdefault((depth, area_id), []).append(each)
    for (depth, area_id), inside in sorted(by_area.items()):
        if len(inside) >= HOMES_MIN:
            first = _find_first(inside, depth=depth, size=supplied[area_id], supplied=supplied)
            if first is not None:
                return area_id, first
    return None


def _find_first(
    inside: list[Abnormal], *, depth: int, size: int, supplied: Mapping[int, int]
) -> datetime | None:
    window: deque[Abnormal] = deque()
    parts: Counter[int] = Counter()
    for each in inside:
        window.append(each)
        parts.update(each.path[depth + 1 : depth + 2])
        while each.began_at - window[0].began_at > WINDOW:
            parts.subtract(window.popleft().path[depth + 1 : depth + 2])
        # Without any one part the rest is hit as well: else that part is the incident's area.
        if len(window) < HOMES_MIN or not _is_hit(len(window), size):
            continue
        if all(
            _is_hit(len(window) - count, size - supplied[part]) for part, count in parts.items()
        ):
            return window[0].began_at
    return None


def _is_hit(count: int, size: int) -> bool:
    return count > 0 and count >= min(HOMES_MIN, size) and count >= SHARE_MIN * size
