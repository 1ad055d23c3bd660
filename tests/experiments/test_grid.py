"""Grids of settings."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import InputError
from collapselab.experiments.grid import as_text, grid

VALUES = st.lists(st.integers() | st.text("abc/ .", max_size=5), min_size=1, max_size=4, unique_by=as_text)


@given(st.dictionaries(st.sampled_from(["seed", "loss", "loss.gamma", "network.widths"]), VALUES, min_size=1))
def test_every_combination_once_with_a_name_of_its_own(over: dict[str, list[object]]) -> None:
    points = grid(over)
    expected = 1
    for values in over.values():
        expected *= len(values)
    assert len({tuple(point.settings.items()) for point in points}) == len(points) == expected
    assert len({point.name for point in points}) == expected
    for point in points:
        assert re.fullmatch(r"[\w=,.+-]{1,130}", point.name), point.name
        assert all(value in over[key] for key, value in point.settings.items())


def test_long_names_are_cut_and_numbered() -> None:
    points = grid({"network.widths": [[100 + i] * 40 for i in range(12)]})
    assert [point.name[:3] for point in points] == [f"{i:02d}-" for i in range(1, 13)]
    assert max(len(point.name) for point in points) <= 130


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({}, "over must give the values of at least one setting, got none"),
        ({"seed": []}, "over must give at least one value of seed, got none"),
        ({"seed": [1, 2, 1]}, "over must give every value of seed once, got 1 twice"),
    ],
)
def test_bad_grids(over: dict[str, list[int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        grid(over)
