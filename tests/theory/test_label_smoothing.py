"""Smoothed labels on free features: the table, the threshold, and cross-entropy where nothing is smoothed."""

import math

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import CrossEntropyFeatures, LabelSmoothingFeatures, Problem, minimise

SMALL = Problem.balanced(5, 6, 7, decay_head=4e-3, decay_features=2e-3)
TABLE = [
    (0.0, 0.1651176107, 4.944051),
    (0.05, 0.3415520054, 4.008660),
    (0.1, 0.4910282049, 3.500614),
    (0.3, 0.9520994210, 2.392552),
    (0.9, 1.6013840110, 0.299843),
]


def reference_value(margin: float, smoothing: float, k: int, strength: float) -> float:
    """The loss of one sample at a margin, class by class, plus what the margin costs."""
    p = [1 / (1 + (k - 1) * math.exp(-margin))]
    p += [(1 - p[0]) / (k - 1)] * (k - 1)
    label = [1 - smoothing + smoothing / k] + [smoothing / k] * (k - 1)
    return -sum(t * math.log(x) for t, x in zip(label, p, strict=True)) + (k - 1) * strength * margin


@pytest.mark.parametrize(("smoothing", "minimum", "margin"), TABLE)
def test_table(smoothing: float, minimum: float, margin: float) -> None:
    landscape = LabelSmoothingFeatures(SMALL, smoothing)
    assert landscape.minimum == pytest.approx(minimum, abs=1e-8)
    assert landscape.margin == pytest.approx(margin, abs=1e-5)
    around = [
        reference_value(landscape.margin + e, smoothing, 5, landscape.strength) for e in np.linspace(-0.5, 0.5, 101)
    ]
    assert int(np.argmin(around)) == 50
    assert around[50] == pytest.approx(landscape.minimum, rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
def test_an_optimiser_finds_it(smoothing: float) -> None:
    landscape = LabelSmoothingFeatures(SMALL, smoothing)
    end = minimise(landscape, torch.Generator().manual_seed(5)).require().end
    assert float(landscape.loss(end)) == pytest.approx(landscape.minimum, abs=1e-10)


def test_without_smoothing_it_is_cross_entropy() -> None:
    assert LabelSmoothingFeatures(SMALL, 0.0).minimum == pytest.approx(CrossEntropyFeatures(SMALL).minimum, rel=1e-13)
    assert LabelSmoothingFeatures(SMALL, 0.0).margin == pytest.approx(CrossEntropyFeatures(SMALL).margin, rel=1e-13)


@pytest.mark.parametrize("smoothing", [0.0, 0.2, 0.7])
def test_threshold_is_where_the_margin_ends(smoothing: float) -> None:
    decay = LabelSmoothingFeatures(SMALL, smoothing).thresholds()["decay_head_to_zero"]
    for factor, zero in ((1 - 1e-9, False), (1 + 1e-9, True)):
        problem = Problem.balanced(5, 6, 7, decay_head=factor * decay, decay_features=2e-3)
        landscape = LabelSmoothingFeatures(problem, smoothing)
        assert (landscape.margin == 0) is zero
        assert landscape.minimum == pytest.approx(math.log(5), rel=1e-9)


def test_a_hundred_thousand_classes() -> None:
    landscape = LabelSmoothingFeatures(Problem.balanced(100_000, 5, 100_000, decay_head=1e-6, decay_features=1e-6))
    assert 0 < landscape.minimum < math.log(100_000)
    assert landscape.predicts()["nc1_pinv"] == 0.0


def test_refuses() -> None:
    with pytest.raises(InputError, match="smoothing must be a finite number of at least 0 and below 1, got 1"):
        LabelSmoothingFeatures(SMALL, 1.0)
    with pytest.raises(InputError, match="num_features must be at least 4"):
        LabelSmoothingFeatures(Problem.balanced(5, 6, 3, decay_head=4e-3, decay_features=2e-3))
