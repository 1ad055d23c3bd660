"""Cross-entropy on free features: the table, the threshold, the lower bound, a hundred thousand classes."""

import math
import tracemalloc

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import CrossEntropyFeatures, Problem, minimise
from collapselab.theory.cross_entropy import cross_entropy_lower_bound, tightest_c1
from tolerances import REFERENCE


def problem(k: int, n: int, d: int, head: float, features: float) -> Problem:
    return Problem.balanced(k, n, d, decay_head=head, decay_features=features)


# K, n, d, lambda_W, lambda_H, minimum, squared norm of the head where the table has it.
TABLE = [
    (4, 10, 8, 5e-3, 5e-3, 0.2430016020, 38.881109),
    (10, 5, 16, 5e-3, 1e-3, 0.2823962428, 47.270461),
    (10, 5, 9, 5e-3, 1e-3, 0.2823962428, 47.270461),
    (3, 20, 2, 5e-3, 5e-3, 0.2136674558, 33.583049),
    (4, 10, 8, 1e-3, 1e-3, 0.06405229, None),
    (10, 20, 16, 1e-3, 1e-3, 0.25717197, None),
    (10, 50, 64, 1e-3, 1e-3, 0.37669728, None),
    (100, 5, 128, 1e-3, 1e-3, 1.54586242, None),
]


@pytest.mark.parametrize("row", TABLE)
def test_closed_form_is_that_of_the_table(row) -> None:
    *sizes, minimum, squared_norm = row
    landscape = CrossEntropyFeatures(problem(*sizes))
    assert landscape.minimum == pytest.approx(minimum, abs=1e-8)
    if squared_norm is not None:
        assert landscape.squared_norm == pytest.approx(squared_norm, rel=1e-7)
        assert landscape.geometry().weights.trace() == pytest.approx(landscape.squared_norm, rel=1e-12)


@pytest.mark.parametrize("row", [TABLE[0], TABLE[1], TABLE[3]])
def test_an_optimiser_gets_to_value_and_norm(row) -> None:
    landscape = CrossEntropyFeatures(problem(*row[:5]))
    end = minimise(landscape, torch.Generator().manual_seed(7)).require().end
    assert float(landscape.loss(end)) == pytest.approx(row[5], abs=1e-8)
    assert float(end["weight"].square().sum()) == pytest.approx(row[6], rel=1e-5)


def reference_minimum(k: int, n: int, head: float, features: float) -> float:
    """phi(rho) = log(1 + (K-1) exp(-s rho / (K-1))) + lambda_W rho, over a fine grid around its lowest point."""
    s, low, high = math.sqrt(head / (features * n)), 0.0, 500.0
    for _ in range(12):
        grid = np.linspace(low, high, 200)
        values = [math.log1p((k - 1) * math.exp(-s * rho / (k - 1))) + head * rho for rho in grid]
        best = int(np.argmin(values))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 199)]
    return values[best]


@pytest.mark.parametrize("row", TABLE[:4])
def test_closed_form_is_the_lowest_point_of_one_variable(row) -> None:
    k, n, _, head, features = row[:5]
    REFERENCE.check(CrossEntropyFeatures(problem(*row[:5])).minimum, reference_minimum(k, n, head, features))


@pytest.mark.parametrize(
    ("strength", "minimum", "squared_norm"),
    [(0.5, 1.22752941, 18.96), (0.9, 1.59108526, 4.676), (0.99, 1.60923987, 0.5214), (1.01, math.log(5), 0.0)],
)
def test_beyond_a_strength_of_one_over_k_all_is_zero(strength: float, minimum: float, squared_norm: float) -> None:
    decay = strength / (5 * math.sqrt(7))
    landscape = CrossEntropyFeatures(problem(5, 7, 6, decay, decay))
    assert landscape.minimum == pytest.approx(minimum, abs=1e-8)
    assert landscape.squared_norm == pytest.approx(squared_norm, abs=1e-3 * max(1, squared_norm))
    end = minimise(landscape, torch.Generator().manual_seed(0)).require().end
    assert float(end["weight"].square().sum()) == pytest.approx(squared_norm, abs=1e-3 * max(1, squared_norm))
    if strength > 1:
        assert float(end["weight"].square().sum()) < 1e-6
        assert landscape.predicts() == {"bias_collapse": 0.0}


def reference_bound(rho: float, c1: float, k: int, n: int, head: float, features: float) -> float:
    """Equation 22 of the review."""
    c2 = math.log((1 + c1) * (k - 1)) / (1 + c1) + c1 / (1 + c1) * math.log((1 + c1) / c1)
    return -rho / ((1 + c1) * (k - 1)) * math.sqrt(head / (features * n)) + c2


def test_lower_bound_holds_for_balanced_pairs_and_is_tight_at_the_simplex() -> None:
    setting = (5, 7, 8, 4e-3, 2e-3)
    at, draw = problem(*setting), torch.Generator().manual_seed(3)
    landscape, gaps = CrossEntropyFeatures(at), []
    for trial in range(200):
        state = at.draw(draw, size=0.2 + 0.02 * trial)
        rho = float(state["weight"].square().sum())
        state["h"] *= math.sqrt(at.decay_head * rho / (at.decay_features * float(state["h"].square().sum())))
        value = float(landscape.sample_losses(at.logits(state) + torch.randn(5, generator=draw), at.labels).mean())
        for c1 in np.geomspace(1e-3, 1e3, 25):
            bound = cross_entropy_lower_bound(rho, c1, at)
            REFERENCE.floor(1.0).check(bound, reference_bound(rho, c1, 5, 7, 4e-3, 2e-3))
            gaps.append(value - bound)
    assert min(gaps) > 0
    best = landscape.minimiser()
    rho = landscape.squared_norm
    value = float(landscape.sample_losses(at.logits(best), at.labels).mean())
    assert value == pytest.approx(cross_entropy_lower_bound(rho, tightest_c1(rho, at), at), abs=1e-12)


def test_lower_bound_refuses() -> None:
    at = problem(4, 10, 8, 5e-3, 5e-3)
    with pytest.raises(InputError, match="c1 must be a finite number above 0"):
        cross_entropy_lower_bound(1.0, 0.0, at)
    with pytest.raises(InputError, match="rho must be a finite number of at least 0"):
        cross_entropy_lower_bound(-1.0, 1.0, at)
    with pytest.raises(InputError, match="rho must leave a margin of at most"):
        tightest_c1(1e5, at)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": (3, 4)}, "classes must have one size"),
        ({"counts": (3,) * 5, "num_features": 3}, "num_features must be at least 4, got 3"),
        ({"decay_features": 0.0}, "decay_head and decay_features must be above 0"),
        ({"nonnegative": True}, "nonnegative must be false"),
    ],
)
def test_refuses_what_it_does_not_know(changes, message: str) -> None:
    fields = {"counts": (3, 3), "num_features": 4, "decay_head": 1e-3, "decay_features": 1e-3} | changes
    with pytest.raises(InputError, match=message):
        CrossEntropyFeatures(Problem(**fields))


def test_a_hundred_thousand_classes_take_no_table_of_pairs() -> None:
    tracemalloc.start()
    landscape = CrossEntropyFeatures(problem(100_000, 5, 100_000, 1e-6, 1e-6))
    margin = math.log(1 / landscape.strength - 99_999)
    assert landscape.minimum == pytest.approx(
        -math.log(1 - 99_999 * landscape.strength) + 99_999 * landscape.strength * margin
    )
    geometry, predicted = landscape.geometry(), landscape.predicts()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert geometry.num_classes == 100_000
    assert geometry.margin == pytest.approx(margin)
    assert predicted["etf_error"] == pytest.approx(0, abs=1e-12)
    assert peak < 16e6  # a K x K table of bytes would be 1e10
