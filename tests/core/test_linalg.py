"""Thresholds and factorisations, against direct computation in NumPy."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from collapselab.core import linalg
from tolerances import IDENTITY, REFERENCE


def _matrix(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize(("k", "d"), [(3, 8), (8, 3), (200, 130), (1, 4)])
def test_right_svd_is_the_svd(k, d):
    rows = _matrix(k, d)
    s, v = linalg.right_svd(rows)
    assert s.shape == (min(k, d),)
    REFERENCE.floor(1).check(s, np.linalg.svd(rows.numpy(), compute_uv=False))
    REFERENCE.floor(float(s[0])).check((rows @ v).norm(dim=0), s)


def test_right_svd_keeps_small_singular_values_that_a_gram_matrix_loses():
    q = torch.linalg.qr(_matrix(300, 3)).Q
    s, _ = linalg.right_svd(q * torch.tensor([1.0, 1e-6, 1e-10], dtype=torch.float64))
    IDENTITY.times(1e4).check(s, [1.0, 1e-6, 1e-10])


@pytest.mark.parametrize("d", [1, 5, 128, 129, 300])
def test_gram_of_the_upper_triangle_is_mirrored(d):
    rows = _matrix(40, d)
    total = torch.zeros(d, d, dtype=torch.float64)
    linalg.add_gram(total, rows)
    linalg.add_gram(total, rows)
    REFERENCE.floor(100).check(linalg.mirrored(total), 2 * rows.T @ rows)


def test_mirrored_of_a_batch():
    batch = _matrix(4, 6, 6)
    for one, both in zip(batch, linalg.mirrored(batch), strict=True):
        assert torch.equal(both, both.T)
        assert torch.equal(torch.triu(both), torch.triu(one))


@pytest.mark.parametrize("offset", [0.0, 5.0, 1e6])
@pytest.mark.parametrize("n", [10, 100_000])
def test_mean_rounding_bounds_the_rounding_of_means(offset, n):
    g = np.random.default_rng(0)
    samples = offset + g.normal(size=(n, 8))
    exact = np.array([math.fsum(column) for column in samples.T]) / n
    once = torch.from_numpy(samples).mean(0)
    running = torch.from_numpy(np.add.accumulate(samples)[-1] / n)  # one by one: the worst order of summation
    bound = linalg.mean_rounding(once[None], torch.tensor([8.0], dtype=torch.float64))
    for mean in (once, running):
        assert float((mean - torch.from_numpy(exact)).norm()) < float(bound)
    assert float(bound) < 1e-12 * math.sqrt(8 * (offset**2 + 1))


def test_structural_rank_counts_what_is_above_rounding_and_rank_tolerance():
    s = torch.tensor([1.0, 1e-3, 1e-6, 1e-9], dtype=torch.float64)
    assert linalg.structural_rank(s, floor=0.0, most=9) == 3
    assert linalg.structural_rank(s, floor=1e-4, most=9) == 2
    assert linalg.structural_rank(s, floor=0.0, most=1) == 1
    assert linalg.structural_rank(s, floor=2.0, most=9) == 0
    assert linalg.structural_rank(s * 0, floor=0.0, most=9) == 0


@pytest.mark.parametrize("k", [4, 30])
@pytest.mark.parametrize("size", [1.0, 1e-6, 1e-14, 1e6])
def test_shares_solve_the_generalised_eigenproblem(k, size):
    rows, root = _matrix(k, 6), _matrix(20, 6, seed=1)
    within = size * root.T @ root
    shares, rank = linalg.discriminant_shares(rows, within, rank=min(k, 6))
    eigenvalues = scipy.linalg.eigh((rows.T @ rows).numpy(), within.numpy(), eigvals_only=True)[::-1][: min(k, 6)]
    assert rank == 6
    # The small shares have a relative precision of their own, which an eigenvalue of the total covariance has not.
    IDENTITY.check(np.sort(shares.numpy()), np.sort(1 / (1 + eigenvalues)))


def test_shares_without_variation_within_are_zero():
    shares, rank = linalg.discriminant_shares(_matrix(3, 5), torch.zeros(5, 5, dtype=torch.float64), rank=3)
    assert shares.tolist() == [0.0, 0.0, 0.0]
    assert rank == 3


def test_log_det_neither_overflows_nor_cancels():
    gram = torch.diag_embed(torch.tensor([[1e300] * 400, [1e-20] + [0.0] * 399], dtype=torch.float64))
    found = linalg.log_det_one_plus(torch.ones(2, dtype=torch.float64), gram)
    REFERENCE.check(found[0], 400 * math.log(1e300))
    assert float(found[1]) == 0.0
