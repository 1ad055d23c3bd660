"""A ReLU layer before the head: collapse is attained, is the minimum of two classes, and is not of eight."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError, NotKnown
from collapselab.theory import Problem, minimise
from collapselab.theory.extended import ExtendedLinear
from collapselab.theory.extended_relu import ExtendedRelu
from tolerances import IDENTITY, OPTIMUM, REFERENCE


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sizes", [(2, 3, 8), (4, 2, 16)])
def test_relu_ends_at_the_linear_value_with_orthogonal_hidden_features_only(sizes: tuple[int, int, int]) -> None:
    """6 (vii): what the head sees is an orthogonal frame, the features before the layer are not."""
    problem = Problem.balanced(*sizes, decay_head=5e-3, decay_features=5e-3)
    landscape = ExtendedRelu(problem, 5e-3)
    assert landscape.collapsed_value == ExtendedLinear(problem, (5e-3,)).minimum
    REFERENCE.check(landscape.loss(landscape.collapsed(generator(1))), landscape.collapsed_value)
    runs = sorted((minimise(landscape, generator(s)) for s in range(3)), key=lambda run: run.stats["loss"])
    OPTIMUM.check(runs[0].stats["loss"], landscape.collapsed_value, gradient_norm=0.0)
    for seen, orthogonal in ((landscape.hidden(runs[0].end), True), (runs[0].end["h"], False)):
        means = torch.nn.functional.normalize(seen.reshape(sizes[0], sizes[1], -1).mean(1), dim=1)
        off = float((means @ means.T - torch.eye(sizes[0])).abs().max())
        assert off < 1e-3 if orthogonal else off > 0.1  # the root of the gap in value


def test_a_simplex_before_the_relu_is_as_good_as_a_frame() -> None:
    """W1 H = a K/(K-1) Pi has the nuclear norm of a I, and the same positive part."""
    k, a = 5, 0.7
    simplex = a * k / (k - 1) * (np.eye(k) - 1 / k)
    IDENTITY.check(nuclear(simplex), k * a)
    np.testing.assert_allclose(np.maximum(simplex, 0), a * np.eye(k), atol=1e-15)


def nuclear(x: np.ndarray) -> float:
    return float(np.linalg.svd(x, compute_uv=False).sum())


def test_positive_part_of_two_columns_has_no_larger_nuclear_norm() -> None:
    """What the answer for two classes rests on; three columns can have a larger one."""
    rng = np.random.default_rng(0)
    for d in (2, 3, 6):
        for _ in range(1000):
            x = rng.standard_normal((d, 2)) * np.exp(rng.standard_normal((d, 2)))
            x += rng.choice([0.0, 3.0]) * np.outer(rng.standard_normal(d), rng.standard_normal(2))
            assert nuclear(np.maximum(x, 0)) <= nuclear(x) * (1 + 1e-12)
    three = np.array([[2.0, 0.0, 1.0], [0.0, 2.0, -1.0], [2.0, 2.0, 0.0]])
    assert nuclear(np.maximum(three, 0)) > 1.04 * nuclear(three)


def test_eight_classes_on_a_circle_lie_below_collapse_at_its_threshold() -> None:
    """W1 H = a cos(2 pi (i - j) / 8) has rank 2; the ReLU makes five directions and more of it."""
    k, decay = 8, (1 / 16) ** (1 / 3) / 8
    landscape = ExtendedRelu(Problem.balanced(k, 1, k, decay_head=decay, decay_features=decay), decay)
    assert landscape.collapsed_value == pytest.approx(0.5, abs=1e-12)
    angles = 2 * math.pi * torch.arange(k, dtype=torch.float64) / k
    circle = torch.nn.functional.pad(torch.stack([angles.cos(), angles.sin()], 1), (0, k - 2))
    size = math.sqrt(0.35795 / 2)  # found on a grid; h and the layer share what their product needs
    h, inner = math.sqrt(2) * size * circle, size * math.sqrt(2) * circle
    seen = torch.relu(h @ inner.T)
    weight = torch.linalg.solve(seen.T @ seen / k + decay * torch.eye(k), seen.T / k).T
    value = float(landscape.loss({"h": h, "inner1": inner, "weight": weight}))
    assert value == pytest.approx(0.4970026916, abs=1e-6)
    with pytest.raises(NotKnown, match=r"two classes: collapse has the value 0\.5,"):
        landscape.minimum  # noqa: B018 - refused
    with pytest.raises(NotKnown, match="known for two classes"):
        landscape.minimiser()
    assert landscape.predicts() == {}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: ExtendedRelu(Problem((3, 2), 2, 1e-3, 1e-3)), "classes must have one size here"),
        (lambda _: ExtendedRelu(Problem((3, 3), 2, 1e-3, 1e-3, bias="free")), "bias must be 'none', got 'free'"),
        (lambda p: ExtendedRelu(p, 0.0), "decay_inner must be a finite number above 0"),
    ],
)
def test_what_is_not_known_is_refused(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make(Problem.balanced(3, 2, 3, decay_head=1e-3, decay_features=1e-3))
