"""Simplex-encoded labels: closed forms of two groups, the decomposition over all samples, and the margin program."""

from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import Problem, SimplexEncodedLabels, nuclear_norm, seli_geometry, simplex_encoded_labels
from tolerances import IDENTITY


def step_formulas(k: int, r: float) -> dict[str, float]:
    """Inner products for K/2 classes of R samples and K/2 of one (specification, section 10)."""
    q, root = np.sqrt((r + 1) / 2), np.sqrt(r)
    return {
        "w_maj": root * (1 - 2 / k) + q / k,
        "w_min": (1 - 2 / k) + q / k,
        "w_maj_maj": -2 * root / k + q / k,
        "w_min_min": -2 / k + q / k,
        "w_maj_min": -q / k,
        "h_maj": (1 - 2 / k) / root + 1 / (k * q),
        "h_min": (1 - 2 / k) + 1 / (k * q),
        "h_maj_maj": -2 / (k * root) + 1 / (k * q),
        "h_min_min": -2 / k + 1 / (k * q),
    }


def stated(counts: tuple[int, ...]) -> dict[str, float]:
    found = seli_geometry(counts)
    w, h = found.weights, found.means
    return {
        "w_maj": w.own[0],
        "w_min": w.own[1],
        "w_maj_maj": w.between[0][0],
        "w_min_min": w.between[1][1],
        "w_maj_min": w.between[0][1],
        "h_maj": h.own[0],
        "h_min": h.own[1],
        "h_maj_maj": h.between[0][0],
        "h_min_min": h.between[1][1],
    }


@pytest.mark.parametrize(("k", "r"), [(4, 10), (4, 100), (10, 7), (6, 2)])
def test_two_groups_have_the_closed_formulas(k: int, r: int) -> None:
    found, expected = stated((r,) * (k // 2) + (1,) * (k // 2)), step_formulas(k, r)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    # n_min samples more in every class: times its root for class vectors, divided by it for features.
    scaled = stated((3 * r,) * (k // 2) + (3,) * (k // 2))
    for name, value in expected.items():
        assert scaled[name] == pytest.approx(value * 3 ** (0.5 if name[0] == "w" else -0.5), abs=1e-12), name


@pytest.mark.parametrize(
    ("r", "w", "h"),
    [(10, (-0.4590, 0.0795, -0.3821), (-0.1946, -0.6485)), (100, (-0.4757, 0.5608, -0.4523), (-0.1740, -0.8685))],
)
def test_cosines_of_the_specification(r: int, w: tuple[float, ...], h: tuple[float, ...]) -> None:
    found = seli_geometry((r, r, 1, 1))
    cosines, of_means = found.weights.cosines().between, found.means.cosines().between
    assert (cosines[0][0], cosines[1][1], cosines[0][1]) == pytest.approx(w, abs=7e-5)
    assert (of_means[0][0], of_means[1][1]) == pytest.approx(h, abs=7e-5)


@pytest.mark.parametrize("counts", [(3, 3, 3), (9, 4, 4, 2, 1), (10, 10, 1, 1), (5, 1)])
def test_geometry_is_the_decomposition_of_the_labels_of_all_samples(counts: tuple[int, ...]) -> None:
    z = simplex_encoded_labels(counts).T.numpy()  # K x N, as in the paper
    left, s, right = np.linalg.svd(z, full_matrices=False)
    found = seli_geometry(counts)  # these counts fall, so that groups are in the order of classes
    np.testing.assert_allclose(found.weights.dense().numpy(), (left * s) @ left.T, atol=1e-12)
    first = np.cumsum((0, *counts[:-1]))
    np.testing.assert_allclose(found.means.dense().numpy(), ((right.T * s) @ right)[first][:, first], atol=1e-12)
    np.testing.assert_allclose(found.logits.dense().numpy(), z[:, first], atol=1e-12)
    IDENTITY.check(found.margin, 1.0)


@pytest.mark.parametrize(("r", "norm"), [(1, 3.0), (4, 4.581139), (10, 6.507486)])
def test_norm_is_that_of_the_margin_program(r: int, norm: float) -> None:
    counts = (r, r, 1, 1)
    found = SimplexEncodedLabels(Problem(counts, 3, 0.0, 0.0))
    assert found.norm == pytest.approx(norm, abs=1e-6)
    assert found.norm == pytest.approx(nuclear_norm(simplex_encoded_labels(counts)), rel=1e-12)
    assert margin_program(counts) == pytest.approx(norm, abs=1e-5)


def margin_program(counts: tuple[int, ...]) -> float:
    import cvxpy

    k = len(counts)
    m: Any = cvxpy.Variable((k, k))
    apart = [m[i, i] - m[i, j] >= 1 for i in range(k) for j in range(k) if i != j]
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(np.diag(np.sqrt(counts)) @ m)), apart)
    program.solve(solver="CLARABEL")
    return float(program.value)


def test_rare_class_vectors_approach_and_rare_features_part_without_end() -> None:
    cosines = [seli_geometry((r, r, 1, 1)) for r in (2, 10, 100, 10_000)]
    weights = [found.weights.cosines().between[1][1] for found in cosines]
    means = [found.means.cosines().between[1][1] for found in cosines]
    assert weights == sorted(weights)
    assert weights[-1] < 1
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_features": 1}, "num_features must be at least 2, got 1"),
        ({"decay_head": 0.1}, "see ImbalancedCrossEntropy"),
        ({"bias": "free"}, "bias must be 'none'"),
        ({"nonnegative": True}, "nonnegative must be false"),
    ],
)
def test_refuses(changed: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"counts": (5, 3, 3), "num_features": 3, "decay_head": 0.0, "decay_features": 0.0}
    with pytest.raises(InputError, match=message):
        SimplexEncodedLabels(Problem(**{**given, **changed}))
    with pytest.raises(InputError, match="counts must be those of two classes"):
        simplex_encoded_labels([3])


def test_labels_are_those_of_the_doctest() -> None:
    assert simplex_encoded_labels([2, 1]).dtype == torch.float64
