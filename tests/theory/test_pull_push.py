"""Pull and push against the sums of the review's eq. 35 and automatic differentiation."""

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.evidence import LabelledFeatures, LinearHead
from collapselab.theory import pull_and_push
from tolerances import REFERENCE


def slow(h: np.ndarray, y: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 35, one sample and one class after the other."""
    pull, push = np.zeros_like(w), np.zeros_like(w)
    for x, label in zip(h, y, strict=True):
        p = np.exp(w @ x + b)
        p /= p.sum()
        for k in range(len(w)):
            if k == label:
                pull[k] += (1 - p[k]) * x
            else:
                push[k] -= p[k] * x
    return pull / len(h), push / len(h)


@pytest.mark.parametrize("with_bias", [True, False])
def test_parts_are_those_of_eq_35_and_sum_to_minus_the_gradient(with_bias: bool, generator: torch.Generator) -> None:
    h = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    y = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    w = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    b = torch.randn(3, generator=generator, dtype=torch.float64) * with_bias
    found = pull_and_push(LabelledFeatures(h, y, 3), LinearHead(w, b if with_bias else None))
    pull, push = slow(h.numpy(), y.numpy(), w.detach().numpy(), b.numpy())
    REFERENCE.floor(1.0).check(found.pull, pull)
    REFERENCE.floor(1.0).check(found.push, push)
    (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(h @ w.T + b, y), w)
    REFERENCE.floor(1.0).check(found.step, -slope)


def test_small_probabilities_keep_their_digits() -> None:
    h = torch.eye(2, dtype=torch.float64)
    found = pull_and_push(LabelledFeatures(h, torch.tensor([0, 1]), 2), LinearHead(60 * h))
    assert float(found.pull[0, 0]) == pytest.approx(np.exp(-60.0) / 2, rel=1e-12)


def test_refuses() -> None:
    with pytest.raises(InputError, match="head must have a weight of shape"):
        pull_and_push(LabelledFeatures(torch.zeros(2, 3), torch.tensor([0, 1]), 2), LinearHead(torch.zeros(2, 2)))
