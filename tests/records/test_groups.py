"""Classes in groups by size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapselab.records.groups import GROUPS, class_groups

COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def sizes(counts: list[int]) -> tuple[int, ...]:
    return tuple(class_groups(counts).count(group) for group in GROUPS)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([100] * 7 + [1] * 3, (7, 0, 3)),  # a step keeps its two groups whatever their numbers
        ([100] + [1] * 9, (1, 0, 9)),
        ([100] + [10] * 8 + [1], (1, 8, 1)),
        (list(range(10, 100, 10)), (3, 3, 3)),
        (list(range(10, 110, 10)), (3, 4, 3)),
        ([9, 6], (1, 0, 1)),  # exactly 1.5 times
        ([8, 6], (0, 2, 0)),
        ([5] * 10, (0, 10, 0)),
        ([3], (0, 1, 0)),
        ([], (0, 0, 0)),
    ],
)
def test_thirds_with_equal_sizes_together(counts: list[int], expected: tuple[int, ...]) -> None:
    assert sizes(counts) == expected


@given(COUNTS, st.integers(2, 5))
def test_only_the_order_of_sizes_counts_and_groups_follow_it(counts: list[int], times: int) -> None:
    found = class_groups(counts)
    assert class_groups([times * count for count in counts]) == found
    place = {count: GROUPS.index(group) for count, group in zip(counts, found, strict=True)}
    descending = [place[count] for count in sorted(counts, reverse=True)]
    assert descending == sorted(descending)
    assert class_groups(counts[::-1]) == found[::-1]
    assert ("head" in found) == ("tail" in found) == (2 * max(counts) >= 3 * min(counts))
