"""NC1 from covariances: identities, defects of other implementations, hardness, undefined cases."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, OnlineStats
from collapselab.metrics import variability as v
from configurations import collapsed
from metrics import reference_variability as reference
from metrics.samples import SHAPES, apart, evidence, problem
from tolerances import IDENTITY, REFERENCE

PINV = (v.nc1_pinv, v.nc1_pinv_sum, v.nc1_pinv_sample_weighted, v.fuzziness)
ALL = (*PINV, v.vci, v.h_score)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("shape", SHAPES)
def test_twin(metric, shape):
    h, y = problem(*SHAPES[shape])
    expected = getattr(reference, f"reference_{metric.__name__}")(h, y, None, None)
    REFERENCE.times(10).check(metric(evidence(h, y)[0]), expected)  # 10: condition of the between-class covariance


# ---------------------------------------------------------------------------------------------------- identities


@given(seed=st.integers(0, 2**16))
def test_all_weightings_agree_on_balanced_classes(seed):
    stats, _ = evidence(*problem(5, 7, 60, seed=seed, balanced=True))
    k = stats.num_seen
    IDENTITY.check(v.nc1_pinv_sample_weighted(stats), v.nc1_pinv(stats))
    IDENTITY.check(v.nc1_pinv_sum(stats), k * v.nc1_pinv(stats))
    IDENTITY.check(v.fuzziness(stats), v.nc1_pinv_sum(stats))


def test_weightings_differ_on_unbalanced_classes():
    stats, _ = evidence(*problem(4, 6, 40))
    IDENTITY.check(v.fuzziness(stats), 4 * v.nc1_pinv_sample_weighted(stats))
    assert abs(float(v.nc1_pinv(stats) / v.nc1_pinv_sample_weighted(stats)) - 1) > 1e-3


@given(seed=st.integers(0, 2**16), shape=st.sampled_from(sorted(SHAPES)))
def test_h_score_is_an_alias_of_vci(seed, shape):
    stats, _ = evidence(*problem(*SHAPES[shape], seed=seed))
    rank = min(stats.num_features, stats.num_seen - 1)
    IDENTITY.check(v.h_score(stats), rank * (1 - v.vci(stats)))


def test_linear_probe_error_is_vci():
    # Balanced, d >= K - 1: least squares on one-hot targets leaves (K - 1)/K * vci of error per sample.
    h, y = problem(4, 6, 80, balanced=True)
    design = np.c_[h, np.ones(len(h))]
    targets = np.eye(4)[y]
    solution = np.linalg.lstsq(design, targets, rcond=None)[0]
    error = ((design @ solution - targets) ** 2).sum(1).mean()
    IDENTITY.check(v.vci(evidence(h, y)[0]), error * 4 / 3)


def test_classical_nc1_is_affine_invariant_only_up_to_d_of_k_minus_one():
    g = np.random.default_rng(3)
    for (k, d), same in {(6, 5): True, (3, 5): False}.items():
        h, y = problem(k, d, 90)
        moved = v.nc1_pinv_sum(evidence(h @ g.normal(size=(d, d)), y)[0])
        ratio = float(moved / v.nc1_pinv_sum(evidence(h, y)[0]))
        assert (abs(ratio - 1) < 1e-9) == same
    stats, _ = evidence(*problem(6, 5, 90, balanced=True))
    # ... where it is the sum of 1 / lambda_j: share / (1 - share) of each discriminant direction.
    shares = v._shares(stats)
    IDENTITY.check(v.nc1_pinv_sum(stats), (shares / (1 - shares)).sum())


# --------------------------------------------------------------------------------- what went wrong elsewhere


@pytest.mark.parametrize("spread", [1e-4, 1e-6])
@pytest.mark.parametrize("chunk", [20_000, 1_000])
def test_float32_features_close_to_collapse(spread, chunk):
    """Within 1e-3 of the float64 two-pass value of the same float32 features: offset 5, spread 1e-4 and 1e-6."""
    k, d, n = 10, 512, 20_000
    g = torch.Generator().manual_seed(0)
    centres = 5 + torch.randn(k, d, generator=g, dtype=torch.float64)
    y = torch.arange(n) % k
    h = (centres[y] + spread * torch.randn(n, d, generator=g, dtype=torch.float64)).float()
    online = OnlineStats(num_classes=k)
    for rows, labels in zip(h.split(chunk), y.split(chunk), strict=True):
        online.update(rows, labels)
    x = h.double()
    means = torch.stack([x[y == c].mean(0) for c in range(k)])
    residuals, centred = x - means[y], means - means.mean(0)
    within = residuals.T @ residuals / n
    inverse = torch.linalg.pinv(centred.T @ centred / k, hermitian=True, rtol=1e-9)
    expected = float(torch.trace(within @ inverse)) / k
    assert float(v.nc1_pinv(online.stats())) == pytest.approx(expected, rel=1e-3)
    REFERENCE.times(1e3).check(v.nc1_pinv(online.stats()), expected)  # in fact: 1e-7


def test_spread_of_between_singular_values_survives():
    """A default cut-off of a float32 pseudo-inverse makes this 178 times too small: singular values 1 .. 1e-3."""
    k, d = 7, 20
    g = np.random.default_rng(0)
    left = np.linalg.qr(np.c_[np.ones(k), g.normal(size=(k, k - 1))])[0][:, 1:]  # orthogonal to the ones: centred
    right = np.linalg.qr(g.normal(size=(d, k - 1)))[0].T
    means = left @ np.diag(np.geomspace(1, 1e-3, k - 1)) @ right
    h = np.repeat(means, 50, axis=0) + 1e-4 * g.normal(size=(50 * k, d))
    y = np.repeat(np.arange(k), 50)
    exact = reference.reference_nc1_pinv(h, y, None, None)
    REFERENCE.times(1e3).check(v.nc1_pinv(evidence(h, y)[0]), exact)  # condition number of the means
    PRECISE = v.nc1_pinv(evidence(h.astype(np.float32), y)[0])
    assert float(PRECISE) == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("true", [1e-11, 1e-15])
def test_common_offset_of_a_hundred(true):
    """Accumulated in float32 these read 1e-9 whatever the truth."""
    h, y = problem(5, 16, 200, offset=100.0, spread=1.0)
    means = np.array([h[y == c].mean(0) for c in range(5)])
    h = means[y] + np.sqrt(true) * (h - means[y])
    exact = reference.reference_nc1_pinv(h - means.mean(0), y, None, None)
    # The features themselves are rounded at 100 * 2^-53: that much of their spread is not there to be measured.
    rounding = 100 * 2.0**-53 / np.sqrt(true)
    assert float(v.nc1_pinv(evidence(h, y)[0])) == pytest.approx(exact, rel=max(1e-9, 10 * rounding))


def test_an_empty_class_is_no_mean_at_the_origin():
    h, y = problem(5, 6, 50)
    with_gap = evidence(h, y + (y >= 2), num_classes=7)[0]  # labels 0, 1, 3, 4, 5 of 7
    assert with_gap.empty_classes == (2, 6)
    for metric in ALL:
        IDENTITY.check(metric(with_gap), metric(evidence(h, y)[0]))


def test_as_many_features_as_classes_less_one_and_one_more_or_less():
    for k in (5, 6, 7, 8):  # an svd mode elsewhere raises for K - 1 >= d
        h, y = problem(k, 6, 90)
        expected = reference.reference_nc1_pinv(h, y, None, None)
        REFERENCE.times(1e3).check(v.nc1_pinv(evidence(h, y)[0]), expected)


def test_weights_of_imbalance_are_what_they_say():
    h, y = problem(2, 3, 1010)
    y = np.r_[np.zeros(1000, int), np.ones(10, int)]
    for metric in ALL:
        expected = getattr(reference, f"reference_{metric.__name__}")(h, y, None, None)
        REFERENCE.times(100).check(metric(evidence(h, y)[0]), expected)


@pytest.mark.parametrize("spread", [1e-3, 1e-6, 1e-9])
def test_vci_keeps_its_digits_near_collapse(spread):
    h, y = problem(4, 6, 60, offset=0.0, spread=1.0)
    means = np.array([h[y == c].mean(0) for c in range(4)])
    stats = ClassStats.of(LabelledFeatures.of(h, y))
    small = ClassStats(4, stats.labels, stats.counts, stats.means, 0 * stats.class_scatter, spread**2 * stats.scatter)
    # To first order the index is proportional to the scatter; 1 - (a number near 1) would be noise here.
    assert means.shape == (4, 6)
    tiny = v.vci(ClassStats(4, stats.labels, stats.counts, stats.means, 0 * stats.class_scatter, 1e-20 * stats.scatter))
    assert float(v.vci(small)) == pytest.approx(float(tiny) * spread**2 * 1e20, rel=10 * spread**2 + 1e-9)


# ---------------------------------------------------------------------------------------------------- undefined


@pytest.mark.parametrize("metric", ALL)
def test_one_class(metric):
    with pytest.raises(UndefinedMetric, match="at least two classes"):
        metric(evidence(np.random.default_rng(0).normal(size=(9, 3)), np.zeros(9, int))[0])


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("offset", [0.0, 5.0, 1e8])
def test_coinciding_means(metric, offset):
    """The same samples in another order: the means differ by rounding only."""
    g = np.random.default_rng(0)
    samples = offset + g.normal(size=(1001, 4))
    with pytest.raises(UndefinedMetric, match="class means coincide"):
        metric(apart(samples, g.permutation(samples))[0])


@pytest.mark.parametrize("metric", ALL)
def test_means_that_differ_by_more_than_rounding_are_told_apart(metric):
    samples = 5 + np.random.default_rng(0).normal(size=(40, 4))
    assert np.isfinite(float(metric(apart(samples, samples + 1e-9)[0])))


def test_scatter_that_was_not_kept():
    h, y = problem(3, 4, 30)
    stats = ClassStats.of(LabelledFeatures.of(h, y), scatter=False)
    for metric in ALL:
        with pytest.raises(UndefinedMetric, match="scatter"):
            metric(stats)


@pytest.mark.parametrize("n", [6, 12, 21])
def test_linearly_independent_samples_have_no_index(n):
    h = np.random.default_rng(0).normal(size=(n, 20))
    stats, _ = evidence(h, np.arange(n) % 3)
    for metric in (v.vci, v.h_score):
        with pytest.raises(UndefinedMetric, match=f"{n} samples are linearly independent"):
            metric(stats)


def test_few_samples_in_a_subspace_have_an_index():
    g = np.random.default_rng(0)
    h, y = problem(3, 4, 30)
    turned = h @ np.linalg.qr(g.normal(size=(40, 4)))[0].T  # N - 1 < d, but the samples span four directions
    IDENTITY.check(v.vci(evidence(turned, y)[0]), v.vci(evidence(h, y)[0]))


def test_single_samples_have_no_spread_and_leave_nc1_defined():
    h, y = problem(3, 5, 30)
    h, y = np.r_[h, [[9.0, 9, 9, 9, 9]]], np.r_[y, 3]
    REFERENCE.times(10).check(v.nc1_pinv(evidence(h, y)[0]), reference.reference_nc1_pinv(h, y, None, None))


def test_means_on_a_line_use_the_line():
    """Rank 1 of three classes: the pseudo-inverse and the rank of the index follow the means, not K - 1."""
    g = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 40)
    h = np.outer(np.array([-1.0, 0.0, 3.0])[y], [1.0, 2.0, 2.0, 0.0])
    noise = g.normal(size=h.shape)
    noise -= np.array([noise[y == c].mean(0) for c in range(3)])[y]
    stats, _ = evidence(h + 0.1 * noise, y)
    REFERENCE.times(1e3).check(v.vci(stats), reference.reference_vci(h + 0.1 * noise, y, None, None))
    assert float(v.h_score(stats)) < 1
    line = collapsed(classes=3).means.new_tensor([1.0, 2.0, 2.0, 0.0]) / 3
    along = line @ stats.within @ line
    between = stats.between_trace
    IDENTITY.check(v.nc1_pinv_sum(stats), along / between)


def test_collapse():
    stats = collapsed(classes=5, features=9)
    for metric in (*PINV, v.vci):
        assert float(metric(stats)) == 0.0
    IDENTITY.check(v.h_score(stats), 4.0)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("offset", [0.0, 5.0, 1e8])
def test_two_of_three_means_coincide(metric, offset):
    """The pseudo-inverse leaves out the direction in which they differ by rounding only: no 1e30, and no surprise."""
    g = np.random.default_rng(0)
    samples = g.normal(size=(301, 4))
    h = np.concatenate([3 + g.normal(size=(301, 4)), samples, g.permutation(samples)])
    y = np.repeat([0, 1, 2], 301)
    expected = getattr(reference, f"reference_{metric.__name__}")(h, y, None, None)
    assert float(metric(evidence(h + offset, y)[0])) == pytest.approx(expected, rel=1e-6)
