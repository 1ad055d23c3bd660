"""The focal loss on free features: the table, all of its roots, and where the landscape is not benign."""

import math

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import CrossEntropyFeatures, FocalFeatures, Problem, minimise

SMALL = Problem.balanced(5, 6, 7, decay_head=4e-3, decay_features=2e-3)
TABLE = [
    (1.0, 0.880408, 0.1089736047, 3.382597),
    (2.0, 0.784446, 0.0854968944, 2.678063),
    (3.0, 0.701699, 0.0715268810, 2.241694),
    (5.0, 0.575646, 0.0544679765, 1.691217),
]


def with_strength(k: int, times_classes: float, **settings) -> Problem:
    """One sample a class and c K as given."""
    return Problem.balanced(k, 1, k, decay_head=times_classes / k, decay_features=times_classes / k, **settings)


def reference_minimum(gamma: float, k: int, strength: float) -> float:
    """The lowest value over a fine grid of probabilities from 1/K to 1."""
    p = 1 - np.geomspace(1e-9, 1 - 1 / k, 400_000)
    return float(np.min(-((1 - p) ** gamma) * np.log(p) + (k - 1) * strength * np.log((k - 1) * p / (1 - p))))


@pytest.mark.parametrize(("gamma", "probability", "minimum", "margin"), TABLE)
def test_table(gamma: float, probability: float, minimum: float, margin: float) -> None:
    landscape = FocalFeatures(SMALL, gamma)
    assert landscape.minimum == pytest.approx(minimum, abs=1e-8)
    assert landscape.margin == pytest.approx(margin, abs=1e-5)
    p = 1 / (1 + 4 * math.exp(-landscape.margin))
    assert p == pytest.approx(probability, abs=1e-6)
    assert (1 - p) ** gamma * ((1 - p) - gamma * p * math.log(p)) == pytest.approx(4 * landscape.strength, rel=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_an_optimiser_finds_it_from_three_starts_under_weak_decay(gamma: float) -> None:
    landscape = FocalFeatures(SMALL, gamma)
    for seed in range(3):
        end = minimise(landscape, torch.Generator().manual_seed(seed)).require().end
        assert float(landscape.loss(end)) == pytest.approx(landscape.minimum, abs=1e-8)


@pytest.mark.parametrize("k", [2, 5, 40])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 3.0])
def test_minimum_is_the_lowest_of_all_roots(k: int, gamma: float) -> None:
    for times_classes in (0.01, 0.3, 0.95, 1.1, 1.2, 1.21, 1.23, 2.0):
        landscape = FocalFeatures(with_strength(k, times_classes), gamma)
        assert landscape.minimum == pytest.approx(reference_minimum(gamma, k, landscape.strength), rel=1e-8)


def test_power_zero_is_cross_entropy() -> None:
    assert FocalFeatures(SMALL, 0.0).minimum == pytest.approx(CrossEntropyFeatures(SMALL).minimum, rel=1e-13)
    assert FocalFeatures(SMALL, 0.0).benign
    assert not FocalFeatures(SMALL, 1.0).benign


def test_thresholds_are_where_zero_changes_its_nature() -> None:
    levels = FocalFeatures(with_strength(40, 0.1), 3.0).thresholds()
    local, best, only = (levels[f"zero_is_{kind}_minimiser_from"] for kind in ("local", "global", "only"))
    assert (local, best, only) == pytest.approx((1.189865, 1.219738, 1.232362), abs=1e-6)

    def at(times_classes: float) -> FocalFeatures:
        return FocalFeatures(with_strength(40, times_classes), 3.0)

    assert not at(local - 1e-6).local_minimisers()
    assert at(local + 1e-6).local_minimisers()
    assert at(best - 1e-6).margin > 1
    assert at(best + 1e-6).margin == 0
    assert at(only - 1e-6).local_minimisers()
    assert not at(only + 1e-6).local_minimisers()


@pytest.mark.parametrize("times_classes", [1.205, 1.226])
def test_where_both_are_minimisers_an_optimiser_comes_back_to_either(times_classes: float) -> None:
    landscape = FocalFeatures(with_strength(40, times_classes), 3.0)
    (other,) = landscape.local_minimisers()
    draw = torch.Generator().manual_seed(1)
    for state in (landscape.minimiser(), other):
        near = {name: x + 1e-3 * torch.randn(x.shape, generator=draw, dtype=x.dtype) for name, x in state.items()}
        end = minimise(landscape, near, tolerance=1e-10).require().end
        assert float(landscape.loss(end)) == pytest.approx(float(landscape.loss(state)), abs=1e-10)
    assert float(landscape.loss(other)) > landscape.minimum + 1e-4


def test_loss_of_a_sample_is_the_formula_and_finite_far_out() -> None:
    z = torch.tensor([[2.0, -1.0, 0.5], [300.0, 0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    losses = FocalFeatures(Problem.balanced(3, 1, 3, decay_head=1e-3, decay_features=1e-3)).sample_losses(
        z, torch.tensor([2, 0])
    )
    p = math.exp(0.5) / (math.exp(2) + math.exp(-1) + math.exp(0.5))
    assert losses[0].item() == pytest.approx(-((1 - p) ** 2) * math.log(p), rel=1e-13)
    losses.sum().backward()
    assert bool(torch.isfinite(z.grad).all())


def test_a_hundred_thousand_classes() -> None:
    landscape = FocalFeatures(Problem.balanced(100_000, 5, 100_000, decay_head=1e-6, decay_features=1e-6))
    assert 0 < landscape.minimum < math.log(100_000)
    assert landscape.predicts()["nc2_max_angle_means"] == pytest.approx(0, abs=1e-15)
    assert landscape.thresholds()["zero_is_only_minimiser_from"] > 1


def test_refuses() -> None:
    with pytest.raises(InputError, match="gamma must be a finite number of at least 0, got -1"):
        FocalFeatures(SMALL, -1.0)
    with pytest.raises(InputError, match="bias must be 'none' where decay is as strong as here, got 'free'"):
        FocalFeatures(with_strength(40, 1.2, bias="free"), 3.0)
