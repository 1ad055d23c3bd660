"""Any convex loss that treats classes alike: against closed forms, and against brute force where there is none."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize as scipy_minimise
from torch.nn import functional

from collapselab.core.errors import InputError, NotKnown
from collapselab.theory import (
    CrossEntropyFeatures,
    FocalFeatures,
    LabelSmoothingFeatures,
    Problem,
    SymmetricFeatures,
)
from collapselab.theory.certificates import certificate
from collapselab.theory.convex_program import solve_convex_program


def cross_entropy(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(z, y)  # a mean


def squared_error(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (z - functional.one_hot(y, z.shape[1])).square().sum(1) / 2


def one_against_rest(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A logistic loss for every class by itself, twice as heavy for the own one: nobody's closed form."""
    own = functional.one_hot(y, z.shape[1]).bool()
    return torch.where(own, 2 * functional.softplus(-z), functional.softplus(z)).sum(1)


def fourth_power(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The fourth power of what is missing to a margin of 1, class by class, plus a small price of large logits."""
    missing = (1 - z.gather(1, y[:, None]) + z).clamp_min(0)
    return missing.pow(4).sum(1) - 1 + 0.01 * z.square().sum(1)


def settings(bias: str, decay_bias: float = 0.05) -> dict:
    return {"bias": bias, "decay_bias": decay_bias if bias == "decay" else 0.0}


@pytest.mark.parametrize("bias", ["none", "free", "decay"])
@pytest.mark.parametrize("times_classes", [0.05, 0.6, 1.5])
def test_cross_entropy_and_label_smoothing_are_those_of_the_closed_form(bias: str, times_classes: float) -> None:
    decay = times_classes / (5 * math.sqrt(7))
    problem = Problem.balanced(5, 7, 6, decay_head=decay, decay_features=decay, **settings(bias))
    for closed in (CrossEntropyFeatures(problem), LabelSmoothingFeatures(problem, 0.2)):
        loss = cross_entropy if isinstance(closed, CrossEntropyFeatures) else closed.sample_losses
        found = SymmetricFeatures(problem, loss)
        assert found.minimum == pytest.approx(closed.minimum, rel=1e-12)
        assert found.optimum.difference == pytest.approx(closed.margin, abs=1e-8)
        assert (found.optimum.mean, found.optimum.bias) == (0.0, 0.0)
        assert found.predicts() == pytest.approx(closed.predicts(), abs=1e-9)


# Equation (iii) of the closed forms of squared error: K = 4, n = 6, c = K sqrt(n lambda_W lambda_H) = .04899.
TRANSITION = [
    (0.001, 0.0, 0.249750),
    (0.02, 0.0, 0.245098),
    (0.1, 1.129490, 0.122474),
    (0.3, 1.929490, 0.040825),
    (1.0, 2.209490, 0.012247),
    (10.0, 2.317490, 0.001225),
]


@pytest.mark.parametrize(("decay_bias", "size", "bias"), TRANSITION)
def test_squared_error_shows_the_transition_of_a_decayed_bias(decay_bias: float, size: float, bias: float) -> None:
    problem = Problem.balanced(4, 6, 9, decay_head=5e-3, decay_features=5e-3, **settings("decay", decay_bias))
    found, strength = SymmetricFeatures(problem, squared_error), 4 * math.sqrt(6) * 5e-3
    best = found.optimum
    assert best.difference == pytest.approx(1 - strength, rel=1e-11)
    assert math.sqrt(6) * best.mean == pytest.approx(size, abs=1e-6)
    assert (best.mean == 0) is (size == 0)
    assert best.bias == pytest.approx(bias, abs=1e-6)
    assert best.bias == pytest.approx(min(1 / (4 * (1 + decay_bias)), strength / (4 * decay_bias)), rel=1e-11)
    assert found.minimum == pytest.approx(solve_convex_program(problem, "mse").value, abs=1e-8)


@pytest.mark.parametrize("strength", [0.049, 0.392, 1.176])
def test_squared_error_without_and_with_free_bias_is_soft_thresholding(strength: float) -> None:
    decay, c = strength / (4 * math.sqrt(6)), min(strength, 1.0)
    frame = SymmetricFeatures(Problem.balanced(4, 6, 9, decay_head=decay, decay_features=decay), squared_error)
    assert frame.minimum == pytest.approx(c - c * c / 2, rel=1e-12)
    assert (frame.optimum.difference, frame.optimum.mean) == pytest.approx((1 - c, 1 - c), abs=1e-11)
    free = Problem.balanced(4, 6, 3, decay_head=decay, decay_features=decay, bias="free")
    simplex = SymmetricFeatures(free, squared_error)
    assert simplex.minimum == pytest.approx(3 / 4 * (c - c * c / 2), rel=1e-12)
    assert simplex.optimum.bias == pytest.approx(1 / 4, rel=1e-11)


def brute_force(problem: Problem, loss, seed: int) -> tuple[float, np.ndarray]:
    """L-BFGS on features, weights and bias, written out without anything of the theory package but sizes and decays."""
    n, k, d = problem.num_samples, problem.num_classes, problem.num_features
    y = torch.arange(n) // problem.per_class

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.tensor(flat, requires_grad=True)
        h, w, b = x[: n * d].view(n, d), x[n * d : (n + k) * d].view(k, d), x[(n + k) * d :]
        shift = b if problem.bias != "none" else 0 * b
        total = loss(h @ w.T + shift, y).mean() + problem.decay_bias / 2 * shift.square().sum()
        total = total + problem.decay_head / 2 * w.square().sum() + problem.decay_features / 2 * h.square().sum()
        total.backward()
        return total.item(), x.grad.numpy()

    start = np.random.default_rng(seed).standard_normal((n + k) * d + k) / math.sqrt(d)
    options = {"ftol": 0.0, "gtol": 1e-9, "maxiter": 4000, "maxfun": 8000, "maxcor": 30}
    found = scipy_minimise(objective, start, jac=True, method="L-BFGS-B", options=options)
    h, w = found.x[: n * d].reshape(n, d), found.x[n * d : (n + k) * d].reshape(k, d)
    return float(found.fun), h @ w.T


@pytest.mark.parametrize("loss", [one_against_rest, fourth_power])
@pytest.mark.parametrize("bias", ["none", "free", "decay"])
def test_a_loss_that_nobody_covers_is_found_by_brute_force(loss, bias: str) -> None:
    problem = Problem.balanced(4, 3, 5, decay_head=6e-3, decay_features=3e-3, **settings(bias))
    found = SymmetricFeatures(problem, loss)
    values, logits = zip(*(brute_force(problem, loss, seed) for seed in range(2)), strict=True)
    assert min(values) == pytest.approx(found.minimum, abs=1e-6)
    assert min(values) >= found.minimum - 1e-9
    at_minimum = found.minimiser()
    expected = (at_minimum["h"] @ at_minimum["weight"].T).numpy()
    np.testing.assert_allclose(logits[int(np.argmin(values))], expected, atol=1e-4)
    if bias != "free":
        assert certificate(problem, at_minimum, loss).gap < 1e-7


def test_a_hundred_thousand_classes() -> None:
    problem = Problem.balanced(100_000, 5, 100_000, decay_head=1e-6, decay_features=1e-6)
    found = SymmetricFeatures(problem, cross_entropy)
    assert found.minimum == pytest.approx(CrossEntropyFeatures(problem).minimum, rel=1e-11)
    assert found.predicts()["etf_error"] == pytest.approx(0, abs=1e-12)


def test_threshold_is_where_the_margin_ends() -> None:
    def at(times_classes: float) -> SymmetricFeatures:
        problem = Problem.balanced(4, 1, 4, decay_head=times_classes / 4, decay_features=times_classes / 4)
        return SymmetricFeatures(problem, exponential)

    end = at(0.5).thresholds()["strength_times_classes_to_zero"]
    assert end == pytest.approx(4, rel=1e-12)
    assert at(0.999 * end).optimum.difference > 0
    assert at(1.001 * end).optimum.difference == 0
    assert at(1.001 * end).predicts() == {"bias_collapse": 0.0}


def exponential(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (z - z.gather(1, y[:, None])).exp().sum(1) - 1


def test_benign_needs_as_many_features_as_logits_can_have_rank() -> None:
    free = Problem.balanced(4, 3, 3, decay_head=6e-3, decay_features=3e-3, bias="free")
    assert SymmetricFeatures(free, cross_entropy).benign
    assert not SymmetricFeatures(free, squared_error).benign
    assert SymmetricFeatures(Problem.balanced(4, 3, 4, decay_head=6e-3, decay_features=3e-3), squared_error).benign


PROBLEM = Problem.balanced(4, 3, 4, decay_head=6e-3, decay_features=3e-3)
WEIGHTS = torch.tensor([1.0, 2.0, 1.0, 1.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (FocalFeatures(PROBLEM, 2.0).sample_losses, "known for convex losses, and this one is .* higher between"),
        (lambda z, y: WEIGHTS[y] * functional.cross_entropy(z, y, reduction="none"), "where classes are alike"),
        (lambda z, y: functional.cross_entropy(z, y, reduction="sum"), "this one is none: is it a sum"),
        (lambda z, y: squared_error(z - z.mean(0), y), "this one depends on which others there are"),
    ],
)
def test_what_is_not_known_is_said(loss, message: str) -> None:
    with pytest.raises(NotKnown, match=message):
        SymmetricFeatures(PROBLEM, loss)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda z, y: z, "one number a sample or their mean, got Tensor of shape"),
        (lambda z, y: 1.0, "one number a sample or their mean, got float 1.0"),
        (lambda z, y: squared_error(z, y).detach(), "must be differentiable by torch"),
        (lambda z, y: squared_error(z, y) / 0, "must be finite at finite logits"),
        ("mse", "loss_fn must be a function of logits and labels, got 'mse'"),
    ],
)
def test_refuses_losses_of_the_wrong_kind(loss, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SymmetricFeatures(PROBLEM, loss)


def test_refuses_too_few_features_for_logits_of_full_rank() -> None:
    few = Problem.balanced(4, 3, 3, decay_head=6e-3, decay_features=3e-3)
    with pytest.raises(InputError, match="num_features must be at least 4 for this loss, got 3"):
        SymmetricFeatures(few, squared_error)
    assert SymmetricFeatures(few, cross_entropy).optimum.mean == 0


def test_every_pair_of_signs_can_be_the_answer() -> None:
    # A loss that wants the own logit to be lower than the others, and the mean to have either sign.
    for sign, shift in itertools.product((1, -1), (1, -1)):

        def loss(z, y, sign=sign, shift=shift):
            return squared_error(sign * z - shift, y)

        best = SymmetricFeatures(PROBLEM, loss).optimum
        assert math.copysign(1, best.difference) == sign
        assert math.copysign(1, best.mean) == sign * shift
