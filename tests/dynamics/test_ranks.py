"""Indicators of rank collapse: closed forms, random matrices, and what has no value."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics.ranks import (
    _median,
    bulk_variance,
    entry_variance,
    marchenko_pastur_edges,
    rank_loss,
    soft_rank,
    stable_rank,
)
from tolerances import REFERENCE


def random(rows: int, columns: int, generator: torch.Generator, *, variance: float = 1.0) -> torch.Tensor:
    return math.sqrt(variance) * torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def reference_soft_rank(w: np.ndarray, variance: float) -> float:
    w = w if w.shape[0] >= w.shape[1] else w.T
    n, m = w.shape
    values = np.linalg.eigvalsh(w.T @ w / n)
    return variance * (1 + 1 / math.sqrt(n / m)) ** 2 / values.max()


def test_against_the_slow_twins(generator: torch.Generator) -> None:
    for shape in ((7, 4), (4, 7)):
        w = random(*shape, generator)
        s = np.linalg.svd(w.numpy(), compute_uv=False)
        REFERENCE.check(stable_rank(w), (s**2).sum() / s.max() ** 2)
        REFERENCE.check(soft_rank(w, 0.7), reference_soft_rank(w.numpy(), 0.7))
        REFERENCE.check(entry_variance(w), (w.numpy() ** 2).sum() / 28)


def test_stable_rank_ignores_scale_however_small(generator: torch.Generator) -> None:
    w = random(6, 5, generator)
    assert float(stable_rank(1e-200 * w)) == pytest.approx(float(stable_rank(w)), rel=1e-12)
    assert 1 <= float(stable_rank(w)) <= 5


def test_the_bulk_of_a_random_matrix_is_found_beside_large_eigenvalues(generator: torch.Generator) -> None:
    w = random(900, 300, generator, variance=0.25)
    low, high = marchenko_pastur_edges(0.25, 3.0)
    values = torch.linalg.eigvalsh(w.T @ w / 900)
    assert low * 0.9 < float(values[0])
    assert float(values[-1]) < high * 1.05
    spiked = w + 3 * torch.outer(torch.ones(900).double(), torch.ones(300).double())
    assert float(bulk_variance(w)) == pytest.approx(0.25, rel=0.02)
    assert float(bulk_variance(spiked)) == pytest.approx(0.25, rel=0.02)
    assert float(entry_variance(spiked)) > 9
    assert float(soft_rank(w, 0.25)) == pytest.approx(1, abs=0.05)
    assert float(soft_rank(spiked, float(bulk_variance(spiked)))) < 0.001


@pytest.mark.parametrize("aspect", [1.0, 2.0, 10.0])
def test_the_median_halves_the_law(aspect: float) -> None:
    low, high = marchenko_pastur_edges(1.0, aspect)

    def mass(until: float) -> float:
        # Plain midpoint sum over the logarithm: near 0 the density of square matrices is unbounded.
        edges = np.exp(np.linspace(math.log(max(low, 1e-12)), math.log(until), 400001))
        at = (edges[1:] + edges[:-1]) / 2
        density = aspect * np.sqrt(np.maximum((high - at) * (at - low), 0)) / (2 * math.pi * at)
        return float((density * np.diff(edges)).sum())

    assert mass(high) == pytest.approx(1, abs=1e-5)
    assert mass(_median(aspect)) == pytest.approx(0.5, abs=2e-4)


def test_rank_loss_depends_on_the_type_it_is_stored_in() -> None:
    w = torch.diag(torch.tensor([1.0, 1e-3, 1e-9]))
    assert int(rank_loss(w)) == 1
    assert int(rank_loss(w.double())) == 0
    assert int(rank_loss(torch.zeros(2, 3))) == 2


def test_what_has_no_value() -> None:
    with pytest.raises(UndefinedMetric, match="the matrix is 0, and so is its largest singular value"):
        stable_rank(torch.zeros(2, 2))
    with pytest.raises(UndefinedMetric, match="the matrix is 0, and so is its largest eigenvalue"):
        soft_rank(torch.zeros(2, 2), 1.0)
    low_rank = torch.ones(6, 5)
    assert float(bulk_variance(low_rank)) < 1e-25
    assert float(soft_rank(low_rank, 0.0)) == 0


def test_arrays_are_taken_as_tensors_are() -> None:
    weight = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    array: Any = weight.numpy()
    assert int(rank_loss(array)) == int(rank_loss(weight)) == 0
    assert float(bulk_variance(array)) == float(bulk_variance(weight))
    assert float(soft_rank(array, 1.0)) == float(soft_rank(weight, 1.0))


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match=r"weight must be a matrix \(rows, columns\)"):
        stable_rank(torch.ones(3))
    with pytest.raises(InputError, match=r"variance must be a finite number of at least 0, got -1"):
        marchenko_pastur_edges(-1.0, 2.0)
    with pytest.raises(InputError, match=r"aspect must be a finite number of at least 1, got 0.5"):
        marchenko_pastur_edges(1.0, 0.5)
