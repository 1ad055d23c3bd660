import math

import pytest

from collapselab.report.axes import epoch_axis, epoch_place, value_scale


def test_epoch_zero_has_a_place_on_the_logarithmic_axis():
    axis = epoch_axis(300)
    assert axis["type"] == "log"
    assert axis["ticktext"][0] == "0"
    assert axis["tickvals"][0] == epoch_place(0) == 1
    assert axis["range"][0] < 0 < math.log10(301) < axis["range"][1]


@pytest.mark.parametrize("last", [0, 1, 7, 1000, 10**6])
def test_epoch_axis_has_few_ticks(last):
    assert 1 <= len(epoch_axis(last)["tickvals"]) <= 8


def test_positive_values_that_differ_by_a_factor_are_logarithmic():
    scale = value_scale([1e-4, 1.0], 0.0)
    assert scale.logarithmic
    assert scale.zero_at is None
    assert not scale.shows(0.0)


def test_zeros_get_a_row_of_their_own_below_all_values():
    scale = value_scale([0.0, 1e-3, 0.5], 0.0)
    assert scale.logarithmic
    assert scale.zero_at is not None
    assert scale.zero_at < 1e-3
    assert scale.place(0.0) == scale.zero_at
    assert scale.axis["ticktext"][0] == "0"
    assert scale.shows(0.0)
    assert all(tick > 1.5 * scale.zero_at for tick in scale.axis["tickvals"][1:])


@pytest.mark.parametrize("values", [[-1.0, 1.0], [0.0, 0.0], [1.0], [0.9, 1.1], [5.0, 5.0]])
def test_other_values_are_linear(values):
    scale = value_scale(values, 1.0)
    assert not scale.logarithmic
    assert scale.lowest < min(values) <= max(values) < scale.highest


def test_a_near_target_is_brought_into_sight():
    assert value_scale([0.9, 0.95], 1.0).shows(1.0)
    assert value_scale([0.5, 3.0], 5.0).shows(5.0)
    assert not value_scale([0.9, 0.95], 100.0).shows(100.0)


@pytest.mark.parametrize("span", [1.01, 4.0, 1e2, 1e5, 1e30])
def test_ticks_lie_within_the_values_and_are_few(span):
    scale = value_scale([1e-3, 1e-3 * span], None)
    if scale.logarithmic:
        assert 1 <= len(scale.axis["tickvals"]) <= 9
        assert len(scale.axis["tickvals"]) == len(scale.axis["ticktext"])
