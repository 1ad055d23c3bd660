"""Outputs in a ball: the numbers of the review's models, and that class means cost nothing."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import BallOutputs
from tolerances import REFERENCE


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_loss(z: np.ndarray, counts: tuple[int, ...], p: tuple[float, ...]) -> float:
    """E and Wojtowytsch 2022: each class with its probability, each of its samples alike."""
    total, at = 0.0, 0
    for k, n in enumerate(counts):
        for row in z[at : at + n]:
            total += p[k] / n * (math.log(sum(math.exp(x) for x in row)) - row[k])
        at += n
    return total


@pytest.mark.parametrize("probabilities", [None, (0.7, 0.2, 0.05, 0.05)])
def test_minimum_of_the_review(probabilities: tuple[float, ...] | None) -> None:
    """K = 4, R = 2.5, whatever the classes weigh."""
    assert BallOutputs((5, 5, 5, 5), 2.5, probabilities).minimum == pytest.approx(0.1546686847, abs=1e-10)
    assert BallOutputs((9, 2, 1, 1), 2.5, probabilities).minimum == pytest.approx(0.1546686847, abs=1e-10)


def test_loss_against_its_twin() -> None:
    counts, p = (4, 1, 2), (0.5, 0.2, 0.3)
    for landscape, weights in ((BallOutputs(counts, 3.0, p), p), (BallOutputs(counts, 3.0), (4 / 7, 1 / 7, 2 / 7))):
        state = landscape.draw(generator())
        REFERENCE.check(landscape.loss(state), slow_loss(state["h"].numpy(), counts, weights))


def test_class_means_never_cost_more() -> None:
    """Jensen's inequality, equation 10 of the review."""
    landscape = BallOutputs((4, 7, 2), 2.0, (0.1, 0.6, 0.3))
    for seed in range(20):
        state = landscape.draw(generator(seed))
        collapsed = landscape.collapsed(state)
        assert float(landscape.loss(collapsed)) <= float(landscape.loss(state))
        torch.testing.assert_close(collapsed["h"][4:11].var(0), torch.zeros(3, dtype=torch.float64))
        torch.testing.assert_close(collapsed["h"][:4].mean(0), state["h"][:4].mean(0))


def test_chart_leaves_the_ball_as_it_is() -> None:
    landscape = BallOutputs((2, 2), 3.0)
    inside = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, -3.0], [9.0, 12.0]], dtype=torch.float64)
    expected = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, -3.0], [1.8, 2.4]], dtype=torch.float64)
    torch.testing.assert_close(landscape.chart({"h": inside})["h"], expected)
    leaf = inside.clone().requires_grad_()
    landscape.loss(landscape.chart({"h": leaf})).backward()
    assert leaf.grad is not None
    assert bool(torch.isfinite(leaf.grad).all())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"counts": (3,)}, "counts must be those of two classes or more"),
        ({"radius": 0.0}, "radius must be a finite number above 0, got 0"),
        ({"probabilities": (0.5, 0.5)}, "probabilities must be 3, one a class, got 2"),
        ({"probabilities": (0.5, 0.5, 0.0)}, r"probabilities\[2\] must be"),
        ({"probabilities": (0.5, 0.5, 0.5)}, "probabilities must have the sum 1, got 1.5"),
    ],
)
def test_bad_settings(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BallOutputs(**({"counts": (1, 1, 1)} | fields))
