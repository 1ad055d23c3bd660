"""The ETF error: next to the simplex, past the rank, under noise, and at the size of a vocabulary."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from collapselab import metrics
from collapselab.core.errors import UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.geometry import cube, orthoplex
from collapselab.metrics.frame import rank_floor
from configurations import collapsed, etf_rows
from metrics.contract_problems import stats_of
from tolerances import REFERENCE


def exact_error(rows: torch.Tensor) -> float:
    """The definition in extended precision."""
    wide = rows.numpy().astype(np.longdouble)
    wide = wide - wide.mean(0)
    k, gram = len(wide), wide @ wide.T
    ideal = (np.eye(k, dtype=np.longdouble) - np.longdouble(1) / k) / np.sqrt(np.longdouble(k - 1))
    return float(np.sqrt(((gram / np.sqrt((gram**2).sum()) - ideal) ** 2).sum()))


@pytest.mark.parametrize("size", [1e-2, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize(("classes", "features"), [(3, 2), (10, 9), (10, 64)])
def test_keeps_its_digits_next_to_the_simplex(size, classes, features, generator):
    rows = etf_rows(classes, features=features)
    rows = rows + size * torch.randn(rows.shape, generator=generator, dtype=torch.float64)
    rows -= rows.mean(0)
    expected = exact_error(rows)
    np.testing.assert_allclose(float(metrics.etf_error(stats_of(rows))), expected, rtol=1e-9, atol=5e-15)
    stats = collapsed(classes, features=features)
    np.testing.assert_allclose(
        float(metrics.etf_error_weights(stats, LinearHead(rows))), expected, rtol=1e-9, atol=5e-15
    )


@pytest.mark.parametrize("rows", [orthoplex(10, 5), cube(8, 3)], ids=["orthoplex", "cube"])
def test_a_tight_frame_is_as_near_as_the_rank_allows(rows):
    stats = stats_of(rows)
    assert float(metrics.etf_error(stats)) == pytest.approx(rank_floor(*rows.shape), rel=1e-12)
    assert float(metrics.etf_error_excess(stats)) == pytest.approx(0.0, abs=1e-12)


def test_no_float32_features_fall_below_the_rank_floor(generator):
    rows = torch.randn(3000, 32, generator=generator)
    error = float(metrics.etf_error(stats_of(rows)))
    assert error > rank_floor(3000, 32)
    assert error == pytest.approx(math.sqrt(2 - 2 / math.sqrt(1 + 3000 / 32)), abs=1e-3)  # Gaussian rows


def test_rows_that_are_all_the_same_are_farthest_from_a_simplex():
    head = LinearHead(torch.ones(4, 3, dtype=torch.float64))
    assert float(metrics.etf_error_weights(collapsed(4, features=3), head)) == pytest.approx(math.sqrt(2), abs=1e-12)
    with pytest.raises(UndefinedMetric, match="zero"):
        metrics.etf_error_weights(collapsed(4, features=3), LinearHead(torch.zeros(4, 3, dtype=torch.float64)))


def test_two_classes_are_a_simplex_whatever_the_data(generator):
    for name in ("etf_error", "etf_error_excess", "etf_error_debiased"):
        with pytest.raises(UndefinedMetric, match="whatever the data"):
            metrics.REGISTRY[name].fn(stats_of(torch.randn(2, 5, generator=generator)))


def noisy(signal: torch.Tensor, *, n: int, seed: int) -> ClassStats:
    g = torch.Generator().manual_seed(seed)
    k, d = signal.shape
    y = torch.arange(k).repeat(n)
    return ClassStats.of(LabelledFeatures(signal[y] + torch.randn(k * n, d, generator=g, dtype=torch.float64), y, k))


def test_noise_is_taken_out_of_the_debiased_error():
    signal = 2 * torch.randn(10, 512, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    signal[:, 16:] = 0  # means of rank lower than the noise, far from a simplex
    truth = exact_error(signal)
    raw, debiased = [], []
    for seed in range(8):
        stats = noisy(signal, n=10, seed=seed)
        raw.append(float(metrics.etf_error(stats)))
        debiased.append(float(metrics.etf_error_debiased(stats)))
    assert np.mean(raw) < truth - 0.1  # pulled towards the simplex by the noise
    assert abs(np.mean(debiased) - truth) < 4 * np.std(debiased, ddof=1) / math.sqrt(8) + 0.01


def test_single_samples_cannot_be_debiased():
    with pytest.raises(UndefinedMetric, match="two samples of every class, class 0 has one"):
        metrics.etf_error_debiased(stats_of(torch.eye(4, dtype=torch.float64)))


def test_means_that_differ_by_less_than_their_noise_have_no_debiased_error():
    spread = torch.tensor([[-5.0, 0.0], [5.0, 0.0]], dtype=torch.float64)
    h = torch.cat([spread + 0.1 * k for k in range(3)])
    stats = ClassStats.of(LabelledFeatures(h, torch.arange(6) // 2, 3))
    with pytest.raises(UndefinedMetric, match="more than their sampling noise"):
        metrics.etf_error_debiased(stats)


@pytest.mark.slow
def test_vocabulary_size_is_exact_in_little_memory():
    """K = 20,000, d = 768 in a process of its own: the value to 1e-9, and less than 1 GB on top of the means."""
    script = """
import resource, torch
torch.set_num_threads(1)
from collapselab import metrics
from collapselab.evidence import ClassStats
k, d = 20_000, 768
means = torch.randn(k, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
stats = ClassStats(k, torch.arange(k), torch.ones(k, dtype=torch.int64), means, torch.zeros(k, dtype=torch.float64))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
value = float(metrics.etf_error(stats))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows, squares, trace = means - means.mean(0), 0.0, 0.0
for i in range(0, k, 1000):
    for j in range(i, k, 1000):
        squares += (1 if i == j else 2) * float((rows[i:i + 1000] @ rows[j:j + 1000].T).square_().sum())
trace = float(rows.square().sum())
exact = (2 - 2 * trace / (squares ** 0.5 * (k - 1) ** 0.5)) ** 0.5
print(abs(value - exact) / exact, after - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    error, kibibytes = map(float, done.stdout.split())
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there
    assert error < 1e-9
    assert kibibytes * unit < 1e9


def test_debiased_error_without_noise_is_the_plain_one():
    means = torch.randn(5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.arange(15) % 5
    stats = ClassStats.of(LabelledFeatures(means[y], y, 5))
    REFERENCE.check(metrics.etf_error_debiased(stats), metrics.etf_error(stats))
