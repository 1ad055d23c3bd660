"""Softmax codes beside the known ones, and distances from the hull of the rest beside a slow twin."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from collapselab.core.errors import InputError, NotKnown
from collapselab.geometry import (
    KNOWN_CODES,
    code_distance,
    code_distance_bounds,
    one_versus_rest_distances,
    simplex_etf,
    softmax_code,
)
from tolerances import EXACT, IDENTITY, REFERENCE

FOUND = 1e-5  # a search ends near a code, not on it
CLOSED = 1e-12  # a formula does not
DISTANCE = IDENTITY.floor(1.0)  # inside the hull the distance is 0, and rounding of numbers of order 1 is left


def some(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(k: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(k, d, generator=some(seed), dtype=torch.float64)


def smallest(rows: torch.Tensor) -> float:
    return float(one_versus_rest_distances(rows).min())


def largest_cosine(rows: torch.Tensor) -> float:
    return float((rows @ rows.T).fill_diagonal_(-1.0).max())


# ------------------------------------------------------------------------------------------- distances


def reference_distances(w: np.ndarray) -> np.ndarray:
    """min |w_k - sum_j lambda_j w_j| over lambda >= 0 with sum 1, the sum held by a stiff penalty, row by row."""
    found = []
    for k in range(len(w)):
        differences = np.array([w[j] - w[k] for j in range(len(w)) if j != k])
        stiff = 1e3
        system = np.vstack([differences.T, stiff * np.ones(len(differences))])
        amounts, _ = nnls(system, np.append(np.zeros(w.shape[1]), stiff))
        found.append(np.linalg.norm((amounts / amounts.sum()) @ differences))
    return np.array(found)


@pytest.mark.parametrize(("k", "d"), [(2, 1), (3, 1), (5, 3), (12, 3), (30, 3), (8, 20), (40, 10)])
@pytest.mark.parametrize("on_sphere", [True, False])
def test_distances_against_the_twin(k: int, d: int, on_sphere: bool) -> None:
    rows = randn(k, d)
    rows = torch.nn.functional.normalize(rows) if on_sphere else rows
    REFERENCE.floor(1e3).check(one_versus_rest_distances(rows), reference_distances(rows.numpy()))  # 1e3: its stiffness


def test_distances_against_the_witnesses() -> None:
    """dist(w_k, conv) = max over |h| <= 1 of min_j <w_k - w_j, h>: no direction separates by more."""
    rows, h = torch.nn.functional.normalize(randn(12, 3)), torch.nn.functional.normalize(randn(20000, 3, seed=1))
    z = h @ rows.T
    for k, distance in enumerate(one_versus_rest_distances(rows).tolist()):
        others = z[:, [j for j in range(12) if j != k]].max(1).values
        witnessed = float((z[:, k] - others).max())
        assert witnessed <= distance + 1e-12
        assert witnessed >= distance - 0.03  # 20,000 directions on a sphere leave gaps of 1 or 2 degrees


@given(k=st.integers(2, 12), d=st.integers(1, 6), seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3))
def test_symmetries_of_distances(k: int, d: int, seed: int, scale: float) -> None:
    rows = randn(k, d, seed)
    before = one_versus_rest_distances(rows)
    turn = torch.linalg.qr(randn(d, d, seed + 1)).Q
    order = torch.randperm(k, generator=some(seed))
    DISTANCE.check(one_versus_rest_distances(scale * rows @ turn) / scale, before)
    DISTANCE.check(one_versus_rest_distances(rows + randn(1, d, seed + 2)), before)
    DISTANCE.check(one_versus_rest_distances(rows[order]), before[order])


@given(k=st.integers(3, 12), d=st.integers(1, 6), seed=st.integers(0, 2**31))
def test_more_rows_are_never_further(k: int, d: int, seed: int) -> None:
    rows = randn(k, d, seed)
    assert bool((one_versus_rest_distances(rows)[:-1] <= one_versus_rest_distances(rows[:-1]) + 1e-12).all())


def test_distances_at_the_edges() -> None:
    twice = torch.tensor([[1.0, 2.0], [1.0, 2.0], [5.0, 2.0]])
    DISTANCE.check(one_versus_rest_distances(twice), [0, 0, 4])
    EXACT.check(one_versus_rest_distances(torch.ones(3, 2)), torch.zeros(3, dtype=torch.float64))
    DISTANCE.check(one_versus_rest_distances(torch.tensor([[0.0, 0], [2, 0], [0, 2]])), [math.sqrt(2), 2, 2])
    grown = torch.ones(2, 2).requires_grad_()
    assert not one_versus_rest_distances(grown).requires_grad


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.zeros(1, 3), "rows must be at least two"),
        (torch.zeros(3), "rows must be a matrix"),
        (torch.full((2, 2), math.nan), "rows must be finite"),
        (torch.ones(2, 2, dtype=torch.int64), "floating-point"),
    ],
)
def test_refusals_of_distances(rows: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        one_versus_rest_distances(rows)


# ------------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize(
    ("k", "d"),
    [(2, 1), (2, 5), (4, 3), (10, 9), (10, 64), (5, 3), (6, 3), (7, 4), (9, 5), (10, 5), (4, 2), (5, 2), (11, 2)],
)
def test_where_the_answer_is_a_formula(k: int, d: int, seed: int | None) -> None:
    rows = softmax_code(k, d, generator=None if seed is None else some(seed))
    assert (rows.shape, rows.dtype) == ((k, d), torch.float64)
    assert float((rows.norm(dim=1) - 1).abs().max()) < CLOSED
    expected = k / (k - 1) if k <= d + 1 else 1.0 if k <= 2 * d else 1 - math.cos(2 * math.pi / k)
    assert code_distance(k, d) == pytest.approx(expected, rel=1e-15)
    assert smallest(rows) == pytest.approx(expected, abs=CLOSED)


def test_gram_matrices_of_closed_forms() -> None:
    simplex = torch.full((5, 5), -0.25, dtype=torch.float64).fill_diagonal_(1.0)
    angles = torch.arange(7, dtype=torch.float64) * 2 * math.pi / 7
    polygon = (angles[:, None] - angles).cos()
    for rows, expected in ((softmax_code(5, 6, generator=some(0)), simplex), (softmax_code(7, 2), polygon)):
        torch.testing.assert_close(rows @ rows.T, expected, rtol=0, atol=CLOSED)


# ------------------------------------------------------------------------------------------- what is searched for


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize(
    ("d", "k", "distance"),
    [
        (3, 12, 0.55279),
        (5, 16, 0.8),
        (6, 27, 0.75),
        (4, 10, 0.83333),
        (2, 5, 0.69098),
        pytest.param(7, 56, 2 / 3, marks=pytest.mark.slow),
        pytest.param(4, 120, 1 - 0.809017, marks=pytest.mark.slow),
    ],
)
def test_known_codes_are_found(d: int, k: int, distance: float, seed: int | None) -> None:
    rows = softmax_code(k, d, generator=None if seed is None else some(seed))
    assert smallest(rows) == pytest.approx(distance, abs=FOUND)
    assert 1 - largest_cosine(rows) == pytest.approx(distance, abs=FOUND)
    assert code_distance(k, d) == pytest.approx(distance, abs=FOUND)
    assert float((rows.norm(dim=1) - 1).abs().max()) < CLOSED


@pytest.mark.slow
@pytest.mark.parametrize(("k", "degrees"), [(7, 77.8695), (8, 74.8585), (9, 70.5288), (10, 66.1468), (13, 57.1367)])
def test_best_packings_on_the_sphere_are_found(k: int, degrees: float) -> None:
    """Tammes's problem in three dimensions, whose solutions are proven for these K."""
    rows = softmax_code(k, 3, rounds=10)
    cosine = math.cos(math.radians(degrees))
    assert largest_cosine(rows) == pytest.approx(cosine, abs=FOUND)
    assert smallest(rows) >= 1 - cosine - FOUND


@pytest.mark.slow
def test_a_hundred_classes_in_ten_dimensions() -> None:
    """The line drawn as optimal in Jiang et al. (2023), 0.61416, is far from it."""
    assert smallest(softmax_code(100, 10, starts=2, rounds=3)) > 0.65


def test_rounds_do_no_harm() -> None:
    few, many = (smallest(softmax_code(9, 3, generator=some(2), starts=1, rounds=rounds)) for rounds in (0, 5))
    assert many >= few - FOUND


def test_codes_are_reproducible_and_draw_from_no_other_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    a, b = (softmax_code(10, 4) for _ in range(2))
    c, d = (softmax_code(10, 4, generator=some(seed)) for seed in (1, 2))
    EXACT.check(a, b)
    assert not torch.allclose(c, d)
    assert torch.equal(torch.get_rng_state(), before)


def test_codes_are_found_without_gradients_around() -> None:
    with torch.no_grad():
        found = softmax_code(10, 4)
    assert not found.requires_grad
    assert smallest(found) == pytest.approx(5 / 6, abs=FOUND)


# ------------------------------------------------------------------------------------------- what is known


@pytest.mark.parametrize(("k", "d"), [(2, 2), (5, 4), (6, 4), (8, 4), (5, 2), (40, 2), *KNOWN_CODES])
def test_bounds_hold(k: int, d: int) -> None:
    lower, upper = code_distance_bounds(k, d)
    assert lower <= code_distance(k, d) <= upper + 1e-15


def test_bounds_against_the_formulas() -> None:
    """Jiang et al. (2023), theorem on the one-versus-rest distance of softmax codes."""
    k, d = 10000, 4
    gamma = math.gamma
    lower, upper = code_distance_bounds(k, d)
    twin = (math.sqrt(math.pi) / k * gamma((d + 1) / 2) / gamma(d / 2 + 1)) ** (2 / (d - 1)) / 2
    assert lower == pytest.approx(twin, rel=1e-12)
    twin = 2 * (2 * math.sqrt(math.pi) / k * gamma((d + 1) / 2) / gamma(d / 2)) ** (1 / (d - 1))
    assert upper == pytest.approx(twin, rel=1e-12)


@given(k=st.integers(2, 10), d=st.integers(2, 5), seed=st.integers(0, 2**31))
def test_no_rows_beat_the_upper_bound(k: int, d: int, seed: int) -> None:
    rows = torch.nn.functional.normalize(randn(k, d, seed))
    assert smallest(rows) <= code_distance_bounds(k, d)[1] + 1e-12


def test_simplex_is_the_code_of_few_classes() -> None:
    EXACT.check(softmax_code(4, 6), simplex_etf(4, 6))


def test_what_is_not_known() -> None:
    with pytest.raises(NotKnown, match="softmax code of 100 classes in 10 dimensions is not known"):
        code_distance(100, 10)


@pytest.mark.parametrize(
    ("k", "d", "settings", "message"),
    [
        (1, 3, {}, "num_classes must be an integer of at least 2, got 1"),
        (3, 0, {}, "num_features must be an integer of at least 1, got 0"),
        (3, 1, {}, "num_features must be at least 2 for 3 classes in this configuration, got 1"),
        (9, 3, {"starts": 0}, "starts must be an integer of at least 1, got 0"),
        (9, 3, {"rounds": -1}, "rounds must be an integer of at least 0, got -1"),
    ],
)
def test_refusals_of_codes(k: int, d: int, settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        softmax_code(k, d, **settings)  # pyright: ignore[reportArgumentType]
