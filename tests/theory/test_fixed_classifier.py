"""A classifier fixed to a simplex ETF: one equation for the length of features, whatever the class sizes."""

import math

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import FixedClassifierFeatures, Problem, minimise


def test_length_is_that_of_the_specification_and_solves_the_equation() -> None:
    landscape = FixedClassifierFeatures(Problem.balanced(5, 7, 5, decay_head=0.0, decay_features=1e-3))
    assert landscape.length == pytest.approx(3.0158050, abs=1e-7)
    q = landscape.length * 5 / 4
    assert 1e-3 * landscape.length == pytest.approx(5 / 35 * math.exp(-q) / (1 + 4 * math.exp(-q)), rel=1e-13)


@pytest.mark.parametrize("decay", [1e-12, 1e-4, 1.0, 1e6])
def test_length_is_above_zero_and_finite_for_every_decay(decay: float) -> None:
    landscape = FixedClassifierFeatures(Problem((3, 1, 1), 2, 0.0, decay))
    q = landscape.length * 1.5
    assert 5 * decay * landscape.length == pytest.approx(3 * math.exp(-q) / (1 + 2 * math.exp(-q)), rel=1e-10)


def test_class_sizes_play_no_part() -> None:
    even = FixedClassifierFeatures(Problem((7, 7, 7, 7), 4, 0.0, 1e-3))
    uneven = FixedClassifierFeatures(Problem((25, 1, 1, 1), 4, 0.0, 1e-3))
    assert uneven.length == even.length
    assert uneven.minimum == even.minimum
    end = minimise(uneven, torch.Generator().manual_seed(0)).require().end
    assert float((end["h"] - uneven.minimiser()["h"]).abs().max()) < 1e-8


def test_a_hundred_thousand_classes() -> None:
    landscape = FixedClassifierFeatures(Problem((5,) * 99_999 + (1,), 99_999, 0.0, 1e-9))
    assert 0 < landscape.minimum < math.log(100_000)
    assert landscape.predicts()["nc3_duality"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_features": 1}, "num_features must be at least 2, got 1"),
        ({"decay_features": 0.0}, "decay_features must be above 0"),
        ({"decay_head": 1e-3}, "decay_head must be 0 for a head that does not move, got 0.001"),
        ({"nonnegative": True}, "nonnegative must be false"),
        ({"bias": "free", "counts": (2, 1, 1)}, "bias must be 'none' where classes have different sizes, got 'free'"),
    ],
)
def test_refuses(changes, message: str) -> None:
    fields = {"counts": (2, 2, 2), "num_features": 3, "decay_head": 0.0, "decay_features": 1e-3} | changes
    with pytest.raises(InputError, match=message):
        FixedClassifierFeatures(Problem(**fields))
