"""Cross-entropy without decay: margins, residuals, rates and the descent to losses of 1e-500."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.evidence import ClassStats
from collapselab.metrics import Evidence, measure_evidence
from collapselab.theory import (
    CrossEntropyFeatures,
    Problem,
    Trajectory,
    UnregularisedCrossEntropy,
    logit_margins,
    margin_bound,
    margin_residual,
    minimise,
    normalised_margin,
    rescaled_descent,
)
from collapselab.theory._margins.log_domain import log_cross_entropies, log_loss_slopes, log_mean_cross_entropy
from collapselab.theory.saddles import escape_direction
from tolerances import IDENTITY, REFERENCE

TO_1E500 = (math.log(0.1), -30.0, -1151.2926)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def landscape_of(k: int, n: int, d: int) -> UnregularisedCrossEntropy:
    return UnregularisedCrossEntropy(Problem.balanced(k, n, d, decay_head=0.0, decay_features=0.0))


@pytest.fixture(scope="module")
def path() -> Trajectory:
    """Row 16 of the acceptance table, and on to 1e-500."""
    landscape = landscape_of(4, 5, 6)
    return rescaled_descent(landscape, landscape.problem.draw(generator(), size=0.01), TO_1E500)


# ------------------------------------------------------------------------------------------------ slow twins
def slow_losses(logits: np.ndarray, y: np.ndarray) -> list[float]:
    """Cross-entropy, one sample at a time."""
    return [
        math.log1p(sum(math.exp(z[j] - z[k]) for j in range(len(z)) if j != k)) for z, k in zip(logits, y, strict=True)
    ]


def slow_residual(h: np.ndarray, w: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Lyu and Li 2020, definition of an approximate KKT point, with every multiplier and every gradient of a margin."""
    losses = [
        math.log1p(sum(math.exp(w[j] @ x - w[k] @ x) for j in range(len(w)) if j != k))
        for x, k in zip(h, y, strict=True)
    ]
    smallest = min(w[k] @ x - w[j] @ x for x, k in zip(h, y, strict=True) for j in range(len(w)) if j != k)
    pull_h, pull_w, excess, total = np.zeros_like(h), np.zeros_like(w), 0.0, 0.0
    for i, (x, k) in enumerate(zip(h, y, strict=True)):
        shares = np.exp(w @ x - w[k] @ x)
        for j in range(len(w)):
            if j == k:
                continue
            multiplier = shares[j] / shares.sum() / sum(losses)
            pull_h[i] += multiplier * (w[k] - w[j])
            pull_w[k] += multiplier * x
            pull_w[j] -= multiplier * x
            total += multiplier
            excess += multiplier * ((w[k] @ x - w[j] @ x) / smallest - 1)
    theta, pull = np.concatenate([h.ravel(), w.ravel()]), np.concatenate([pull_h.ravel(), pull_w.ravel()])
    return 1 - theta @ pull / (np.linalg.norm(theta) * np.linalg.norm(pull)), excess / total


# ------------------------------------------------------------------------------------------------ logarithms
def test_logarithms_of_losses() -> None:
    logits = 5 * torch.randn(30, 4, generator=generator(), dtype=torch.float64)
    y = torch.arange(30) % 4
    expected = slow_losses(logits.numpy(), y.numpy())
    REFERENCE.check(log_cross_entropies(logits, y), np.log(expected))
    REFERENCE.check(log_mean_cross_entropy(logits, y), math.log(sum(expected) / 30))
    REFERENCE.check(landscape_of(4, 1, 3).sample_losses(logits, y), expected)


def test_logarithms_keep_their_digits_and_gradients() -> None:
    """At 1e-500, on either side of the change of branch, and where the loss is large."""
    y = torch.zeros(1, dtype=torch.int64)
    for own in (1151.0, 40.8, 40.6, 20.1, 19.9, 0.0, -700.0):
        logits = torch.tensor([[own, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
        found = log_mean_cross_entropy(logits, y)
        (slope,) = torch.autograd.grad(found, logits)
        r = math.log(2) - own
        exact = r if r < -36 else math.log(math.log1p(math.exp(r)) if r < 0 else r + math.log1p(math.exp(-r)))
        IDENTITY.check(found.detach(), exact)
        # d log l / d r = sigmoid(r) / l, and each of the two others has half of it.
        rate = 1.0 if r < -36 else 1 / (1 + math.exp(-r)) / math.exp(exact)
        IDENTITY.check(slope[0], [-rate, rate / 2, rate / 2])
        again, written_out = log_loss_slopes(logits.detach(), y)
        IDENTITY.check([again, *written_out[0]], [exact, -rate, rate / 2, rate / 2])


# ------------------------------------------------------------------------------------------------ margins
def test_margins_and_residual_against_their_twins() -> None:
    landscape = landscape_of(3, 4, 5)
    start = landscape.problem.draw(generator(1), size=0.3)
    state = rescaled_descent(landscape, start, [-1.5]).end
    h, w, y = state["h"].numpy(), state["weight"].numpy(), landscape.labels.numpy()
    slow = [[w[k] @ x - w[j] @ x if j != k else math.inf for j in range(3)] for x, k in zip(h, y, strict=True)]
    REFERENCE.check(logit_margins(state, landscape.labels), slow)
    REFERENCE.check(normalised_margin(state, landscape.labels), np.min(slow) / ((h**2).sum() + (w**2).sum()))
    found = margin_residual(state, landscape.labels)
    IDENTITY.check([found.misalignment, found.excess], slow_residual(h, w, y))


def test_nothing_has_a_larger_margin_than_the_simplex() -> None:
    for k, n, d in ((4, 5, 6), (2, 3, 1), (6, 1, 5)):
        landscape = landscape_of(k, n, d)
        bound = margin_bound(k, n)
        assert landscape.margin_bound == bound
        for seed in range(50):
            state = landscape.draw(generator(seed))
            assert normalised_margin(state, landscape.labels) <= bound
            ideal, _ = landscape.approach(2.0)
            near = {name: x + 0.05 * state[name] for name, x in ideal.items()}
            assert normalised_margin(near, landscape.labels) <= bound
        IDENTITY.check(normalised_margin(ideal, landscape.labels), bound)
        found = margin_residual(ideal, landscape.labels)
        assert found.misalignment < 1e-15
        assert found.excess < 1e-12


def test_margin_of_the_review() -> None:
    """Smallest half squared norm with margins of 1: (K - 1) sqrt n = 3 sqrt 5."""
    landscape = landscape_of(4, 5, 6)
    geometry = landscape.geometry()
    half = (geometry.weights.trace() + 5 * geometry.means.trace()) / 2
    assert geometry.margin == pytest.approx(1, rel=1e-12)
    assert half == pytest.approx(6.708204, abs=1e-6)


# ------------------------------------------------------------------------------------------------ descent
def test_descent_reaches_the_largest_margin(path: Trajectory) -> None:
    """Row 16: above 0.9999 of the bound; at losses of 1e-500 all faces of collapse, and the direction is stationary."""
    landscape = landscape_of(4, 5, 6)
    assert path.require().status == "finished"
    assert path.series["log_loss"][-1] <= TO_1E500[-1]
    ratios = [normalised_margin(state, landscape.labels) / landscape.margin_bound for state in path.states]
    assert ratios[0] < ratios[1] < ratios[2]
    assert 0.9999 < ratios[2] < 1
    residuals = [margin_residual(state, landscape.labels) for state in path.states]
    assert residuals[0].misalignment > 10 * residuals[1].misalignment > 100 * residuals[2].misalignment
    assert residuals[2].misalignment < 1e-5
    assert residuals[2].excess < 1e-5
    features = landscape.features(path.end)
    predicted = landscape.predicts()
    found, _, _ = measure_evidence(Evidence(ClassStats.of(features), landscape.head(path.end), features), predicted)
    for name, expected in predicted.items():
        measured = found[name].value
        # The parts that gradient flow conserves vanish like the root of log(1 / L); logits at the centre have a scale.
        scale = float(landscape.log_loss(path.end).abs()) if name == "bias_collapse" else 1.0
        assert measured is not None
        assert abs(measured - expected) / scale < 2e-3, name


def test_descent_follows_the_stated_rates(path: Trajectory) -> None:
    """Norm and loss against time; what is left out is of the order of log log t / log t."""
    landscape = landscape_of(4, 5, 6)
    log_time, log_loss = path.series["log_time"][-1], path.series["log_loss"][-1]
    norm = sum(float(x.square().sum()) for x in path.end.values())
    assert landscape.norm_squared_at(log_time) / log_time == pytest.approx(13.416, abs=1e-3)
    assert norm == pytest.approx(landscape.norm_squared_at(log_time), rel=0.01)
    assert log_loss == pytest.approx(landscape.log_loss_at(log_time), abs=0.01)
    assert landscape.log_loss_at(log_time) == pytest.approx(math.log(3 * math.sqrt(5) / 2 / log_time) - log_time)


def test_time_is_that_of_gradient_flow() -> None:
    """Against short steps of gradient descent on the loss itself."""
    landscape = landscape_of(3, 2, 3)
    start = landscape.problem.draw(generator(2), size=0.5)
    along = rescaled_descent(landscape, start, [-1.0], step=0.02)
    state, steps, eta = {name: x.clone() for name, x in start.items()}, 0, 0.02
    while float(landscape.log_loss(state)) > along.series["log_loss"][0]:
        leaves = {name: x.requires_grad_() for name, x in state.items()}
        slopes = torch.autograd.grad(landscape.loss(leaves), list(leaves.values()))
        state = {name: (x - eta * g).detach() for (name, x), g in zip(leaves.items(), slopes, strict=True)}
        steps += 1
    assert math.exp(along.series["log_time"][0]) == pytest.approx(eta * steps, rel=0.02)
    for name, x in along.end.items():
        torch.testing.assert_close(x, state[name], rtol=0.02, atol=0.02)


def test_descent_that_is_stopped_says_so() -> None:
    landscape = landscape_of(3, 2, 2)
    found = rescaled_descent(landscape, generator(), [-1.0, -1e5], max_steps=100)
    assert found.status == "step_limit"
    assert len(found.states) == 2
    assert found.times[-1] == 100
    again = rescaled_descent(landscape, generator(), [-1.0, -1.5])
    assert again.status == "finished"
    IDENTITY.check(again.states[0]["h"], found.states[0]["h"])


# ------------------------------------------------------------------------------------------------ on the sphere
def test_saddles_of_the_sphere_are_those_of_decay() -> None:
    """A critical point with a feature unused: kappa is the decay it belongs to, and the way out of there leads down."""
    decayed = Problem.balanced(4, 3, 5, decay_head=0.01, decay_features=0.01)
    landscape = landscape_of(4, 3, 5)

    class Flat(CrossEntropyFeatures):
        """Only one feature is used."""

        def chart(self, free: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            mask = torch.tensor([1.0, 0, 0, 0, 0], dtype=torch.float64)
            return {name: x * mask for name, x in free.items()}

    state = minimise(Flat(decayed), generator(3)).end
    assert landscape.sphere_multiplier(state) == pytest.approx(0.01, rel=1e-6)
    way = escape_direction(decayed, state)
    size = math.sqrt(sum(float(x.square().sum()) for x in state.values()))
    for sign in (-1, 1):
        moved = {name: x + sign * 1e-2 * way.direction[name] for name, x in state.items()}
        scale = size / math.sqrt(sum(float(x.square().sum()) for x in moved.values()))
        there = landscape.loss({name: scale * x for name, x in moved.items()})
        assert float(there) < float(landscape.loss(state)) + way.curvature * 1e-4 / 4


def test_multiplier_at_the_simplex() -> None:
    """There kappa is p / sqrt n, with p the probability of a wrong class."""
    landscape = landscape_of(5, 4, 7)
    state, _ = landscape.approach(6.0)
    e = math.exp(-36 * landscape.margin_bound)
    assert landscape.sphere_multiplier(state) == pytest.approx(e / (1 + 4 * e) / 2, rel=1e-9)


# ------------------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": (2, 3, 2)}, "classes must have one size"),
        ({"num_features": 1}, "num_features must be at least 2, got 1"),
        ({"decay_head": 0.1}, "decay_head and decay_features must be 0, got 0.1 and 0.0"),
        ({"bias": "free"}, "bias must be 'none', got 'free'"),
        ({"nonnegative": True}, "nonnegative must be false"),
    ],
)
def test_problems_without_a_known_answer(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"counts": (2, 2, 2), "num_features": 4, "decay_head": 0.0, "decay_features": 0.0}
    with pytest.raises(InputError, match=message):
        UnregularisedCrossEntropy(Problem(**(settings | change)))


def test_bad_arguments() -> None:
    landscape = landscape_of(3, 2, 2)
    zero = {name: 0 * x for name, x in landscape.draw(generator()).items()}
    with pytest.raises(InputError, match="log_losses must descend, got"):
        rescaled_descent(landscape, zero, [-1.0, -1.0])
    with pytest.raises(InputError, match="there is no direction"):
        normalised_margin(zero, landscape.labels)
    with pytest.raises(InputError, match="margins must be positive"):
        margin_residual(landscape.draw(generator()), landscape.labels)
    with pytest.raises(InputError, match="step must be"):
        rescaled_descent(landscape, zero, [-1.0], step=0.0)
    with pytest.raises(InputError, match="num_classes must be"):
        margin_bound(1, 2)
    assert rescaled_descent(landscape, zero, [-1.0]).status == "stalled"
