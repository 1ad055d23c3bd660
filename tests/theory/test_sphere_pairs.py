"""Unit features and unit class vectors: the numbers of Lu and Steinerberger's model, tied and free."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import SpherePairs, minimise
from tolerances import REFERENCE


@pytest.mark.parametrize(
    ("k", "d", "sharpness", "expected"),
    [(5, 4, 1.0, 3.81807293), (5, 8, 3.0, 0.44952793), (10, 9, 1.0, 13.76934920)],
)
@pytest.mark.parametrize("tied", [False, True])
def test_minimum_of_the_review(k: int, d: int, sharpness: float, expected: float, tied: bool) -> None:
    """Reached from random starts, also where benign is not known."""
    landscape = SpherePairs(k, d, sharpness, tied)
    assert landscape.minimum == pytest.approx(expected, abs=1e-8)
    for seed in range(2):
        found = minimise(landscape, torch.Generator().manual_seed(seed))
        assert float(landscape.loss(found.end)) == pytest.approx(expected, abs=1e-8)


def test_loss_against_its_twin() -> None:
    """Lu and Steinerberger 2022: sum_i log(1 + sum_{j != i} exp(alpha (v_j - v_i) . u_i))."""
    for tied in (False, True):
        landscape = SpherePairs(4, 3, 2.5, tied)
        state = landscape.draw(torch.Generator().manual_seed(0))
        u = state["h"].numpy()
        v = u if tied else state["weight"].numpy()
        others = [[2.5 * (v[j] - v[i]) @ u[i] for j in range(4) if j != i] for i in range(4)]
        REFERENCE.check(landscape.loss(state), sum(math.log1p(sum(math.exp(x) for x in row)) for row in others))


def test_three_classes_on_a_circle_can_be_caught() -> None:
    """The shown local minimiser is what random starts end at; with a third dimension they do not."""
    landscape = SpherePairs(3, 2, 20.0)
    (shown,) = landscape.local_minimisers()
    ends = [float(landscape.loss(minimise(landscape, torch.Generator().manual_seed(s)).end)) for s in range(12)]
    caught = [end for end in ends if end > 1]
    assert 0 < len(caught) < 12
    np.testing.assert_allclose(caught, float(landscape.loss(shown)), atol=1e-6)
    assert float(landscape.loss(shown)) == pytest.approx(1.311683, abs=1e-6)
    assert SpherePairs(3, 2, 5.0).local_minimisers() == ()
    assert SpherePairs(3, 4, 20.0).benign


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_features": 1}, "num_features must be at least 2, got 1"),
        ({"num_classes": 6}, "num_features must be at least 5, got 4"),
        ({"sharpness": 0.0}, "sharpness must be a finite number above 0, got 0"),
        ({"tied": "yes"}, "tied must be true or false, got 'yes'"),
    ],
)
def test_bad_settings(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpherePairs(**({"num_classes": 3, "num_features": 4} | fields))
