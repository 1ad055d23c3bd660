"""Features of one norm under a fixed simplex ETF: the loss of the specification, any class sizes, what can go wrong."""

import math

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import FixedClassifierOnSphere, minimise


def test_sphere_has_the_loss_of_the_specification() -> None:
    landscape = FixedClassifierOnSphere((50, 40, 30, 20, 10, 1), 8, 1.0, 25.0)
    assert landscape.minimum == pytest.approx(math.log(1 + 5 * math.exp(-5 * 6 / 5)), rel=1e-13)
    assert landscape.minimum == pytest.approx(0.012318, abs=1e-6)


def test_a_learnable_classifier_would_bend_where_the_fixed_one_does_not() -> None:
    landscape = FixedClassifierOnSphere((20, 5, 1, 1), 5, 1.0, 9.0)
    end = minimise(landscape, torch.Generator().manual_seed(0)).require().end["h"]
    cosines = torch.nn.functional.cosine_similarity(end, landscape.classifier[landscape.labels])
    assert float(cosines.min()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("energy", "held"), [(3.9, False), (4.1, True)])
def test_a_sample_opposite_to_its_class_stays_beyond_the_threshold(energy: float, held: bool) -> None:
    landscape = FixedClassifierOnSphere((1, 1, 1), 2, 1.0, energy)
    assert bool(landscape.local_minimisers()) is held
    opposite = landscape.minimiser()["h"]
    opposite[0] *= -1
    beside = opposite.clone()
    turn = torch.tensor([[math.cos(0.01), -math.sin(0.01)], [math.sin(0.01), math.cos(0.01)]], dtype=torch.float64)
    beside[0] = turn @ beside[0]
    assert bool(landscape.loss({"h": beside}) > landscape.loss({"h": opposite})) is held


def test_a_hundred_thousand_classes() -> None:
    sphere = FixedClassifierOnSphere((5,) * 99_999 + (1,), 99_999, 1.0, 100.0)
    assert sphere.predicts()["ncc_accuracy"] == 1.0


def test_sphere_refuses() -> None:
    with pytest.raises(InputError, match="num_features must be at least 2, got 1"):
        FixedClassifierOnSphere((1, 1), 1)
    with pytest.raises(InputError, match="energy_features must be a finite number above 0"):
        FixedClassifierOnSphere((1, 1), 2, 1.0, 0.0)
