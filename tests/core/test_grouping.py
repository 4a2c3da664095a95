"""Which abnormal meters are one incident: laws that hold for any district, and cases by hand."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.repairs.grouping import (
    HOMES_MIN,
    SHARE_MIN,
    WINDOW,
    Abnormal,
    count_enough,
    find_groups,
)

START = datetime(2026, 11, 2, tzinfo=UTC)
DISTRICT, STREETS, BUILDINGS, RISERS = 1, (2, 3), (4, 5), (6, 7)


def riser_path(street: int, building: int, riser: int) -> tuple[int, ...]:
    """Ids tell the place: 2, 24, 246 is the first riser of the first building of a street."""
    return (DISTRICT, street, street * 10 + building, street * 100 + building * 10 + riser)


PATHS = [riser_path(s, b, r) for s in STREETS for b in BUILDINGS for r in RISERS]


def supplied_with(homes: int) -> dict[int, int]:
    """Count the homes of every area when each riser has so many."""
    return {area: homes * sum(area in path for path in PATHS) for path in PATHS for area in path}


def abnormal(path: tuple[int, ...], *minutes: int, first: int = 0) -> list[Abnormal]:
    """Let homes of a riser become abnormal, one after the other."""
    base = PATHS.index(path) * 100 + first
    return [
        Abnormal(base + place, path, START + timedelta(minutes=minute))
        for place, minute in enumerate(minutes)
    ]


def areas_of(points: list[Abnormal], homes: int = 6) -> list[int]:
    return [group.area_id for group in find_groups(points, supplied=supplied_with(homes))]


def points_within(minutes: int):
    return st.lists(
        st.builds(
            lambda path, place, minute: abnormal(path, minute, first=place)[0],
            st.sampled_from(PATHS),
            st.integers(0, 5),
            st.integers(0, minutes),
        ),
        max_size=48,
        unique_by=lambda each: each.point,
    )


points = points_within(200)


class TestAnyDistrict:
    @given(points, st.randoms())
    def test_is_grouped_the_same_in_any_order(self, found, random):
        shuffled = random.sample(found, len(found))
        supplied = supplied_with(6)
        assert find_groups(shuffled, supplied=supplied) == find_groups(found, supplied=supplied)

    @given(points)
    def test_puts_a_home_into_one_group_of_its_own_area_at_most(self, found):
        groups = find_groups(found, supplied=supplied_with(6))
        paths = {each.point: each.path for each in found}
        members = [point for group in groups for point in group.points]
        assert len(members) == len(set(members))
        assert all(group.area_id in paths[point] for group in groups for point in group.points)

    @given(points)
    def test_groups_enough_homes_that_began_within_the_window(self, found):
        supplied = supplied_with(6)
        begins = {each.point: each.began_at for each in found}
        for group in find_groups(found, supplied=supplied):
            first = group.since + WINDOW
            within = [each for each in group.points if first <= begins[each] <= first + WINDOW]
            assert len(within) >= HOMES_MIN
            assert len(within) >= SHARE_MIN * supplied[group.area_id]
            assert all(begins[point] >= group.since for point in group.points)

    @given(points_within(30), points_within(30))
    def test_of_one_moment_only_grows_when_more_becomes_known(self, found, more):
        known = {each.point for each in found}
        all_ = [*found, *(each for each in more if each.point not in known)]
        after = find_groups(all_, supplied=supplied_with(6))
        for group in find_groups(found, supplied=supplied_with(6)):
            assert any(group.points <= wider.points for wider in after)

    @given(points)
    def test_needs_to_count_no_farther_than_what_is_enough(self, found):
        enough = count_enough(len(found))
        exact = supplied_with(6)
        capped = {area: min(count, enough) for area, count in exact.items()}
        assert find_groups(found, supplied=capped) == find_groups(found, supplied=exact)


class TestArea:
    def test_of_one_flat_or_two_there_is_none(self):
        assert areas_of(abnormal(PATHS[0], 0)) == []
        assert areas_of(abnormal(PATHS[0], 0, 5)) == []

    def test_of_three_flats_of_a_riser_it_is_the_riser(self):
        assert areas_of(abnormal(PATHS[0], 0, 10, 30)) == [246]

    def test_of_flats_that_began_far_apart_there_is_none(self):
        assert areas_of(abnormal(PATHS[0], 0, 20, 40)) == []

    def test_of_too_few_of_many_there_is_none(self):
        assert areas_of(abnormal(PATHS[0], 0, 1, 2), homes=12) == [246]
        assert areas_of(abnormal(PATHS[0], 0, 1, 2), homes=13) == []

    def test_of_two_risers_it_is_their_building(self):
        both = [*abnormal(PATHS[0], 0, 0, 0), *abnormal(PATHS[1], 5, 5, 5)]
        assert areas_of(both) == [24]

    def test_of_one_riser_and_a_single_flat_beside_it_is_the_riser(self):
        both = [*abnormal(PATHS[0], *[0] * 6), *abnormal(PATHS[1], 5)]
        (group,) = find_groups(both, supplied=supplied_with(6))
        assert (group.area_id, len(group.points)) == (246, 6)

    def test_of_a_street_with_small_risers_it_is_the_street(self):
        street = [each for path in PATHS[:4] for each in abnormal(path, 0, 0)]
        assert areas_of(street, homes=2) == [2]

    @pytest.mark.parametrize(("where", "area"), [(PATHS[:4], 2), (PATHS, DISTRICT)])
    def test_of_all_it_is_what_all_have_in_common(self, where, area):
        assert areas_of([each for path in where for each in abnormal(path, 0, 3, 6)]) == [area]

    def test_of_two_buildings_hours_apart_are_two(self):
        morning = [each for path in PATHS[:2] for each in abnormal(path, 0, 3, 6)]
        noon = [each for path in PATHS[2:4] for each in abnormal(path, 120, 123, 126)]
        assert areas_of([*noon, *morning]) == [24, 25]

    def test_takes_in_who_began_a_little_before_and_any_time_after(self):
        burst = abnormal(PATHS[0], -31, -30, 0, 1, 2, 500)
        groups = find_groups(burst, supplied=supplied_with(6))
        assert [sorted(group.points) for group in groups] == [[1, 2, 3, 4, 5]]
        assert groups[0].since == START - timedelta(minutes=30)
