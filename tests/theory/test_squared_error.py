"""Squared error on unconstrained features: spec's numbers, slow twins, transitions, and what is refused."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import Problem, minimise
from collapselab.theory._balanced_squares.levels import nonnegative
from collapselab.theory.squared_error import SquaredErrorFeatures
from tolerances import IDENTITY, OPTIMUM, REFERENCE

# K = 4, n = 6, d = 9: c = .048990, and the transition of the bias is at .051514.
WEAK = {"decay_head": 5e-3, "decay_features": 5e-3}
PRINTED = 6e-9  # values are printed with eight digits


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weak(**settings: Any) -> SquaredErrorFeatures:
    return SquaredErrorFeatures(Problem.balanced(4, 6, 9, **WEAK, **settings))


def logits_of(landscape: SquaredErrorFeatures, state: dict[str, torch.Tensor]) -> np.ndarray:
    """W H, (k, n), without bias."""
    return (state["h"] @ state["weight"].T).T.numpy()


def shrunken_twin(landscape: SquaredErrorFeatures) -> tuple[float, np.ndarray]:
    """Lemma A: singular values of the labels, with means taken away by a free bias, less N sqrt(lambda_W lambda_H)."""
    p = landscape.problem
    total = sum(p.counts)
    labels = np.zeros((len(p.counts), total))
    column = 0
    for k, count in enumerate(p.counts):
        for _ in range(count):
            labels[k, column] = 1.0
            column += 1
    if p.bias == "free":
        for k in range(len(p.counts)):
            labels[k] -= labels[k].mean()
    u, s, v = np.linalg.svd(labels, full_matrices=False)
    cost = total * math.sqrt(p.decay_head * p.decay_features)
    z, value = np.zeros_like(labels), 0.0
    for i in range(len(s)):
        kept = max(s[i] - cost, 0.0) if i < p.num_features else 0.0
        z += kept * np.outer(u[:, i], v[i])
        value += (s[i] - kept) ** 2 / (2 * total) + cost * kept / total
    return value, z


@pytest.mark.parametrize(
    ("settings", "value"),
    [({"bias": "free"}, 0.03584235), ({"bias": "free", "nonnegative": True}, 0.04122641), ({}, 0.04778979)],
)
def test_values_of_section_6(settings: dict[str, Any], value: float) -> None:
    landscape = weak(**settings)
    assert landscape.minimum == pytest.approx(value, abs=PRINTED)
    c = 4 * math.sqrt(6) * 5e-3
    part = 1.0 if not settings else 3 / 4
    c = c * math.sqrt(4 / 3) if settings.get("nonnegative") else c
    REFERENCE.check(landscape.minimum, part * (c - c * c / 2))
    best = min(float(minimise(landscape, generator(seed)).stats["loss"]) for seed in range(2))
    OPTIMUM.check(best, value, gradient_norm=0.0)


@pytest.mark.parametrize(
    ("decay_bias", "common", "bias"),
    [
        (0.001, 0.0, 0.249750),
        (0.02, 0.0, 0.245098),
        (0.1, 1.129490, 0.122474),
        (0.3, 1.929490, 0.040825),
        (1.0, 2.209490, 0.012247),
        (10.0, 2.317490, 0.001225),
    ],
)
def test_transition_of_a_decayed_bias(decay_bias: float, common: float, bias: float) -> None:
    """6 (iii): the constant singular direction and the bias, stated and found by an optimiser."""
    landscape = weak(bias="decay", decay_bias=decay_bias)
    found = minimise(landscape, generator()).require()
    for state in (landscape.minimiser(), found.end):
        constant = logits_of(landscape, state).sum() / math.sqrt(4 * 24)
        assert constant == pytest.approx(common, abs=1e-6)
        assert state["bias"].numpy() == pytest.approx(np.full(4, bias), abs=1e-6)
    c = landscape.thresholds()["strength"]
    OPTIMUM.check(found.stats["loss"], landscape.minimum, gradient_norm=found.stats["gradient"])
    REFERENCE.check(landscape.thresholds()["decay_bias_transition"], c / (1 - c))


def test_a_decayed_bias_lies_between_a_free_one_and_none() -> None:
    for sign in (False, True):
        free, none = (weak(bias=bias, nonnegative=sign).minimum for bias in ("free", "none"))
        values = [weak(bias="decay", decay_bias=b, nonnegative=sign).minimum for b in (1e-9, 0.01, 0.1, 1.0, 1e9)]
        assert values == sorted(values)
        assert values[0] == pytest.approx(free, rel=1e-6)
        assert values[-1] == pytest.approx(none, rel=1e-6)


@pytest.mark.parametrize("bias", ["none", "free"])
@pytest.mark.parametrize(
    ("counts", "num_features", "decay"),
    [
        ((3, 3, 3), 3, 2e-2),
        ((5, 1, 2, 2, 1), 6, 3e-2),
        ((1, 7, 2, 7), 2, 5e-2),
        ((8, 4, 2, 1), 2, 1e-2),
        ((2, 2), 1, 0.3),
        ((40, 3, 3, 1, 1, 1), 4, 5e-3),
        ((6, 2, 1), 3, 0.6),
    ],
)
def test_unequal_classes_are_shrunken_singular_values(
    counts: tuple[int, ...], num_features: int, decay: float, bias: Any
) -> None:
    landscape = SquaredErrorFeatures(Problem(counts, num_features, decay, 0.7 * decay, bias=bias))
    value, z = shrunken_twin(landscape)
    REFERENCE.check(landscape.minimum, value)
    state = landscape.minimiser(generator(1))
    if landscape.geometry() is not None:
        np.testing.assert_allclose(logits_of(landscape, state), z, atol=1e-10)
        # Classes are in groups of one size there, the largest first.
        order = sorted(range(len(counts)), key=lambda k: -counts[k])
        means = torch.stack([state["h"][landscape.labels == k].mean(0) for k in order])
        weight = state["weight"][torch.tensor(order)]
        geometry = landscape.geometry()
        for stated, there in (
            (geometry.weights, weight @ weight.T),
            (geometry.means, means @ means.T),
            (geometry.logits, weight @ means.T),
        ):
            np.testing.assert_allclose(stated.dense().numpy(), there.numpy(), atol=1e-10)
    if bias == "free":
        REFERENCE.check(state["bias"], np.array(counts) / sum(counts))


def test_a_class_vanishes_up_to_the_stated_size() -> None:
    """6, unequal classes: class k has the logit (1 - N sqrt(lambda_W lambda_H) / sqrt(n_k))_+."""
    landscape = SquaredErrorFeatures(Problem((40, 12, 9, 8, 3), 5, 0.06, 0.03))
    size = landscape.thresholds()["vanishing_class_size"]
    state = landscape.minimiser()
    for k, count in enumerate(landscape.problem.counts):
        own = float(state["h"][landscape.labels == k][0] @ state["weight"][k])
        assert own == pytest.approx(max(0.0, 1 - 72 * math.sqrt(0.06 * 0.03 / count)), abs=1e-12)
        assert (own == 0) == (count <= size)
        square = (math.sqrt(count) - 72 * math.sqrt(0.06 * 0.03)) * math.sqrt(0.03 / 0.06)
        assert float(state["weight"][k].square().sum()) == pytest.approx(max(0.0, square), abs=1e-12)


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("bias", [{"bias": "none"}, {"bias": "free"}, {"bias": "decay", "decay_bias": 0.4}])
def test_everything_vanishes_at_the_stated_decay(bias: dict[str, Any], signs: bool) -> None:
    """Found by an optimiser on both sides: weights below it, none from there on."""
    asked = {"decay_features": 0.07, "nonnegative": signs, **bias}
    at = SquaredErrorFeatures(Problem.balanced(3, 4, 4, decay_head=0.1, **asked)).thresholds()["decay_head_to_zero"]
    for factor, vanishes in ((1 - 1e-9, False), (0.8, False), (1 + 1e-9, True), (1.05, True)):
        landscape = SquaredErrorFeatures(Problem.balanced(3, 4, 4, decay_head=factor * at, **asked))
        assert bool((landscape.minimiser()["weight"] == 0).all()) == vanishes
        if abs(factor - 1) > 0.01:
            found = min((minimise(landscape, generator(s)) for s in range(3)), key=lambda run: run.stats["loss"])
            assert (float(found.end["weight"].norm()) < 1e-5) == vanishes


@pytest.mark.parametrize("num_classes", [2, 3, 7])
@pytest.mark.parametrize("weight", [0.0, 0.03, 0.5, 0.97])
@pytest.mark.parametrize("strength", [0.01, 0.4, 0.8])
def test_certificate_of_features_that_are_not_negative(num_classes: int, weight: float, strength: float) -> None:
    """|G u| <= c over u >= 0 of norm 1, and equal at the classes: what duality of the gauge asks for."""
    k, levels = num_classes, nonnegative(num_classes, strength, weight)
    centring, mean = np.eye(k) - 1 / k, np.full((k, k), 1 / k)
    logits = levels.margin * centring + levels.common * mean
    residual = (np.eye(k) - logits) @ (centring + weight * mean)
    drawn = np.abs(np.random.default_rng(0).standard_normal((2000, k)) ** 3)
    sizes = np.linalg.norm(residual @ drawn.T, axis=0) / np.linalg.norm(drawn, axis=1)
    assert sizes.max() <= strength * (1 + 1e-9)
    if levels.margin > 0:
        norms = np.linalg.norm(logits, axis=0)
        IDENTITY.check(np.linalg.norm(residual, axis=0), np.full(k, strength))
        IDENTITY.check((residual * logits).sum(), strength * norms.sum())


@pytest.mark.parametrize(
    ("sizes", "decay", "bias"),
    [
        ((2, 3, 3), 0.03, {"bias": "decay", "decay_bias": 0.3}),
        ((3, 2, 5), 0.16, {"bias": "decay", "decay_bias": 0.05}),
        ((3, 2, 5), 0.02, {"bias": "free"}),
        ((4, 2, 8), 0.11, {"bias": "decay", "decay_bias": 4.0}),
    ],
)
def test_the_best_of_several_descents_with_features_that_are_not_negative(
    sizes: tuple[int, int, int], decay: float, bias: dict[str, Any]
) -> None:
    asked = {"decay_head": decay, "decay_features": decay, "nonnegative": True, **bias}
    landscape = SquaredErrorFeatures(Problem.balanced(*sizes, **asked))
    runs = sorted((minimise(landscape, generator(s)) for s in range(5)), key=lambda run: run.stats["loss"])
    OPTIMUM.check(runs[0].stats["loss"], landscape.minimum, gradient_norm=0.0)
    h = runs[0].end["h"][:: sizes[1]]
    products = h @ h.T
    assert float((products - products.diagonal().diag()).abs().max()) < 1e-4 * float(products.max())


def test_a_class_that_only_the_bias_tells_is_where_a_descent_can_end() -> None:
    landscape = SquaredErrorFeatures(
        Problem.balanced(4, 3, 9, decay_head=0.0144, decay_features=0.0036, bias="free", nonnegative=True)
    )
    (state,) = landscape.local_minimisers()
    assert float(state["h"][landscape.labels == 3].abs().max()) == 0
    ends = {round(float(minimise(landscape, generator(seed)).stats["loss"]), 8) for seed in range(3)}
    assert round(float(landscape.loss(state)), 8) in ends
    assert round(landscape.minimum, 8) in ends


@pytest.mark.parametrize(("num_classes", "distance"), [(4, 0.5176), (10, 0.3204)])
def test_class_vectors_of_an_orthogonal_frame_are_no_simplex_unless_centred(num_classes: int, distance: float) -> None:
    """6 (b), where the first number is rounded up: weights are not centred, class means are."""
    problem = Problem.balanced(num_classes, 3, num_classes, decay_head=1e-3, decay_features=1e-3)
    predicted = SquaredErrorFeatures(problem).predicts()
    assert predicted["etf_error_weights"] == pytest.approx(distance, abs=5e-5)
    REFERENCE.check(predicted["etf_error_weights"], math.sqrt(2 - 2 * math.sqrt(1 - 1 / num_classes)))
    assert predicted["etf_error"] == pytest.approx(0, abs=1e-7)


def test_no_geometry_where_several_are_equally_good() -> None:
    assert SquaredErrorFeatures(Problem.balanced(4, 6, 3, **WEAK)).geometry() is None
    assert SquaredErrorFeatures(Problem.balanced(4, 6, 2, bias="free", **WEAK)).geometry() is None
    assert SquaredErrorFeatures(Problem((6, 6, 3), 1, **WEAK)).geometry() is None
    assert SquaredErrorFeatures(Problem((6, 6, 3), 2, **WEAK)).geometry() is not None
    two = Problem.balanced(2, 6, 3, bias="free", nonnegative=True, **WEAK)
    assert SquaredErrorFeatures(two).geometry() is None


@pytest.mark.parametrize("settings", [{}, {"bias": "free"}, {"bias": "decay", "decay_bias": 0.1}])
def test_a_hundred_thousand_classes(settings: dict[str, Any]) -> None:
    k = 100_000
    problem = Problem.balanced(k, 3, k, decay_head=1e-6, decay_features=1e-6, **settings)
    landscape = SquaredErrorFeatures(problem)
    assert 0 < landscape.minimum < 0.5
    # Without bias the class vectors keep the direction that class means lose when they are centred.
    centred = 1.0 if settings else math.sqrt(1 - 1 / k)
    assert landscape.predicts()["nc3_cosine"] == pytest.approx(centred, abs=1e-9)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (Problem.balanced(3, 2, 3, decay_head=0, decay_features=1e-3), "above 0 for a minimum that is attained, got 0"),
        (Problem((3, 2), 3, 1e-3, 1e-3, bias="decay", decay_bias=1.0), "must be 'none' or 'free' .* got 'decay'"),
        (Problem((3, 2), 3, 1e-3, 1e-3, bias="free", nonnegative=True), "different sizes with nonnegative, got 'free'"),
        (
            Problem.balanced(3, 2, 2, decay_head=1e-3, decay_features=1e-3, bias="free", nonnegative=True),
            "num_features must be at least 3 with nonnegative and a bias, got 2",
        ),
    ],
)
def test_what_is_not_known_is_refused(problem: Problem, words: str) -> None:
    with pytest.raises(InputError, match=words):
        SquaredErrorFeatures(problem)
