"""The supervised contrastive minimum: row 9 of the acceptance table, both variants."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import SupervisedContrastive, minimise
from collapselab.theory._charts import on_sphere
from tolerances import REFERENCE

TABLE = [
    (1.0, 0.5, True, 2.07568951),
    (1.0, 0.5, False, 1.94162096),
    (3.0, 1.0, True, 1.88166506),
    (3.0, 1.0, False, 1.71639382),
]


def slow_loss(h: np.ndarray, y: np.ndarray, tau: float, with_itself: bool) -> float:
    """Equations 32 and 33 of the review, in loops; the usual variant leaves the sample itself out of both sums."""
    total = 0.0
    for i in range(len(h)):
        others = [j for j in range(len(h)) if with_itself or j != i]
        partners = [j for j in others if y[j] == y[i]]
        below = sum(math.exp(h[i] @ h[j] / tau) for j in others)
        total -= sum(math.log(math.exp(h[i] @ h[j] / tau) / below) for j in partners) / len(partners)
    return total / len(h)


@pytest.mark.parametrize(("energy", "temperature", "with_itself", "expected"), TABLE)
def test_minimum_of_the_review(energy: float, temperature: float, with_itself: bool, expected: float) -> None:
    """K = 5, n = 6; reached from a random start, with the mean of norms bounded and with every norm the same."""
    landscape = SupervisedContrastive(5, 6, 8, energy, temperature, with_itself)
    assert landscape.minimum == pytest.approx(expected, abs=1e-8)

    class OnSphere(SupervisedContrastive):
        """Every feature has one norm."""

        def chart(self, free: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"h": on_sphere(free["h"], math.sqrt(self.energy))}

    for kind in (SupervisedContrastive, OnSphere):
        found = minimise(kind(5, 6, 8, energy, temperature, with_itself), torch.Generator().manual_seed(1))
        assert float(landscape.loss(found.end)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("with_itself", [True, False])
def test_loss_against_its_twin(with_itself: bool) -> None:
    landscape = SupervisedContrastive(3, 4, 5, 2.0, 0.7, with_itself)
    state = landscape.draw(torch.Generator().manual_seed(2))
    slow = slow_loss(state["h"].numpy(), landscape.labels.numpy(), 0.7, with_itself)
    REFERENCE.check(landscape.loss(state), slow)


def test_nothing_is_said_of_a_classifier() -> None:
    predicted = SupervisedContrastive(4, 3, 6).predicts()
    assert predicted["nc1_pinv"] == predicted["nc2_max_angle_means"] == 0
    assert not any("weights" in name or "nc3" in name or "dual" in name for name in predicted)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_features": 1}, "num_features must be at least 2, got 1"),
        ({"per_class": 1}, "per_class must be at least 2 where a sample is not compared with itself, got 1"),
        ({"temperature": 0.0}, "temperature must be a finite number above 0, got 0"),
        ({"energy": 0.0}, "energy must be a finite number above 0, got 0"),
        ({"with_itself": 1}, "with_itself must be true or false, got 1"),
    ],
)
def test_bad_settings(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SupervisedContrastive(**({"num_classes": 3, "per_class": 2, "num_features": 4} | fields))
