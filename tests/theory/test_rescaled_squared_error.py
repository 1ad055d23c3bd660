"""Squared error averaged over classes: spec's numbers, what the average does to decay, and the weighted models."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import Problem, minimise
from collapselab.theory._balanced_squares.levels import shrunken
from collapselab.theory.rescaled_squared_error import (
    MeanSquaredErrorFeatures,
    RescaledSquaredErrorFeatures,
    half_sum,
)
from collapselab.theory.squared_error import SquaredErrorFeatures
from collapselab.training import LOSSES
from collapselab.training.losses import Outputs
from tolerances import IDENTITY, REFERENCE

# Half of this beside the mean over four classes is 5e-3 beside half their sum.
SMALL = Problem.balanced(4, 6, 9, decay_head=2.5e-3, decay_features=2.5e-3)
C = 4 * math.sqrt(6) * 5e-3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("kappa", "target", "without", "with_bias"),
    [(1.0, 1.0, 0.04778979, 0.03584235), (5.0, 1.0, 0.04874979, 0.03638235), (15.0, 2.0, 0.09789959, 0.07321469)],
)
def test_values_of_section_6(kappa: float, target: float, without: float, with_bias: float) -> None:
    """The table is for the half sum over classes: K / 2 times these values, at 2 / K times its decay."""
    for bias, value in (("none", without), ("free", with_bias)):
        landscape = RescaledSquaredErrorFeatures(dataclasses.replace(SMALL, bias=bias), kappa, target)
        assert 2 * landscape.minimum == pytest.approx(value, abs=6e-9)
        state = landscape.minimiser(generator())
        logits = landscape.problem.logits(state)
        if bias == "none":
            own, other = target - C / kappa, 0.0
        else:
            own, other = target - 3 * C / (4 * kappa), C / 4
            REFERENCE.check(state["bias"], np.full(4, other + (own - other) / 4))
        expected = np.where(np.eye(4)[landscape.labels.numpy()] > 0, own, other)
        np.testing.assert_allclose(logits.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["mean_squared_error", "rescaled_mse"])
def test_losses_are_those_that_networks_are_trained_with(name: str) -> None:
    logits = torch.randn(12, 4, generator=generator(), dtype=torch.float64)
    y = torch.arange(12) % 4
    if name == "rescaled_mse":
        landscape, loss = RescaledSquaredErrorFeatures(SMALL, 3.0, 1.5), LOSSES[name].make(kappa=3.0, target=1.5)
    else:
        landscape, loss = MeanSquaredErrorFeatures(SMALL), LOSSES[name].make()
    IDENTITY.check(landscape.sample_losses(logits, y), loss(Outputs(logits, logits, logits), y))


@pytest.mark.parametrize("settings", [{}, {"bias": "free"}, {"bias": "decay", "decay_bias": 0.2}])
def test_weight_and_target_of_one_are_the_mean_squared_error(settings: dict[str, Any]) -> None:
    """Three models of one thing: mean over classes, half the sum at K / 2 times the decay, and kappa = M = 1."""
    problem = dataclasses.replace(SMALL, **settings)
    mean, rescaled = MeanSquaredErrorFeatures(problem), RescaledSquaredErrorFeatures(problem, 1.0, 1.0)
    half = SquaredErrorFeatures(half_sum(problem))
    assert half.problem.decay_head == 2 * problem.decay_head
    REFERENCE.check(mean.minimum, half.minimum / 2)
    REFERENCE.check(rescaled.minimum, mean.minimum)
    for found in (mean.predicts(), rescaled.predicts()):
        assert found.keys() == half.predicts().keys()
        for key, value in found.items():
            assert value == pytest.approx(half.predicts()[key], abs=1e-7)
    REFERENCE.check(mean.thresholds()["strength"], half.thresholds()["strength"])
    REFERENCE.check(mean.thresholds()["decay_head_to_zero"], half.thresholds()["decay_head_to_zero"] / 2)


def reference_levels(k: int, c: float, pull: float, kappa: float, target: float) -> float:
    """The value of the three-number problem, by descents that know no regimes."""
    from scipy.optimize import minimize

    def value(x: np.ndarray) -> float:
        a, m, b = x
        other = (m - a) / k + b
        squares = 0.5 * (kappa * (other + a - target) ** 2 + (k - 1) * other**2)
        return squares + pull * b * b / 2 + c / k * ((k - 1) * a + m)

    bounds = [(0.0, None), (0.0, None), (None, None)]
    return min(
        minimize(value, x, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-10}).fun
        for x in ([0.0, 0.0, 0.0], [target, target, 0.1])
    )


@pytest.mark.parametrize("k", [2, 7])
@pytest.mark.parametrize("c", [0.05, 0.7, 2.5])
@pytest.mark.parametrize("pull", [0.0, 0.2, 3.0, 200.0])
@pytest.mark.parametrize(("kappa", "target"), [(1.0, 1.0), (6.0, 2.0), (0.3, 0.7)])
def test_regimes_of_the_bias(k: int, c: float, pull: float, kappa: float, target: float) -> None:
    levels = shrunken(k, c, pull, kappa=kappa, target=target)
    value = levels.squares(kappa, target) + pull * levels.bias**2 / 2
    value += c / k * ((k - 1) * levels.margin + levels.common)
    assert value == pytest.approx(reference_levels(k, c, pull, kappa, target), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("settings", [{}, {"bias": "free"}, {"bias": "decay", "decay_bias": 0.4}])
def test_everything_vanishes_at_the_stated_decay(settings: dict[str, Any]) -> None:
    def at(decay: float) -> RescaledSquaredErrorFeatures:
        problem = Problem.balanced(3, 4, 4, decay_head=decay, decay_features=0.07, **settings)
        return RescaledSquaredErrorFeatures(problem, 4.0, 0.6)

    last = at(0.1).thresholds()["decay_head_to_zero"]
    assert float(at(last * (1 - 1e-9)).minimiser()["weight"].norm()) > 0
    assert float(at(last * (1 + 1e-9)).minimiser()["weight"].norm()) == 0
    assert float(minimise(at(last * 1.05), generator()).end["weight"].norm()) < 1e-5
    assert float(minimise(at(last * 0.8), generator()).end["weight"].norm()) > 0.1


@pytest.mark.parametrize(
    ("problem", "settings", "words"),
    [
        (SMALL, {"kappa": 0.0}, "kappa must be a finite number above 0, got 0.0"),
        (SMALL, {"target": -1.0}, "target must be a finite number above 0, got -1.0"),
        (dataclasses.replace(SMALL, num_features=3), {}, "num_features must be at least 4, got 3"),
        (dataclasses.replace(SMALL, num_features=2, bias="free"), {}, "num_features must be at least 3, got 2"),
        (Problem((3, 2), 2, 1e-3, 1e-3, bias="free"), {}, "must be 'none' for classes of different sizes, got 'free'"),
        (dataclasses.replace(SMALL, bias="free", nonnegative=True), {}, "must be 'none' with nonnegative, got 'free'"),
        (dataclasses.replace(SMALL, decay_head=0.0), {}, "must be above 0 for a minimum that is attained"),
    ],
)
def test_what_is_not_known_is_refused(problem: Problem, settings: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        RescaledSquaredErrorFeatures(problem, **settings)
