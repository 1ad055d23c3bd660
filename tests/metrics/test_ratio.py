"""NC1 from traces: identities, debiasing, class separation R^2, undefined cases."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence import LabelledFeatures
from collapselab.metrics import ratio as r
from configurations import collapsed
from metrics import reference_ratio as reference
from metrics.samples import SHAPES, apart, evidence, problem
from tolerances import IDENTITY, MONTE_CARLO, REFERENCE

ALL = (
    r.nc1_trace_ratio,
    r.nc1_trace_ratio_sample_weighted,
    r.nc1_trace_ratio_debiased,
    r.within_fraction,
    r.class_variability,
)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("shape", SHAPES)
def test_twin(metric, shape):
    h, y = problem(*SHAPES[shape])
    REFERENCE.check(metric(evidence(h, y)[0]), getattr(reference, f"reference_{metric.__name__}")(h, y, None, None))


@pytest.mark.parametrize("shape", SHAPES)
def test_twin_of_class_separation(shape):
    h, y = problem(*SHAPES[shape])
    found = r.class_separation_r2(evidence(h, y)[1])
    REFERENCE.check(found, reference.reference_class_separation_r2(h, y, None, None))


# ---------------------------------------------------------------------------------------------------- identities


@given(seed=st.integers(0, 2**16), shape=st.sampled_from(sorted(SHAPES)))
def test_mean_squared_distance_of_means(seed, shape):
    """Averaged over i != j, |m_i - m_j|^2 = 2K/(K-1) tr S_B."""
    stats, _ = evidence(*problem(*SHAPES[shape], seed=seed))
    k, means = stats.num_seen, stats.means.numpy()
    squares = [np.sum((means[i] - means[j]) ** 2) for i in range(k) for j in range(k) if i != j]
    IDENTITY.check(np.mean(squares), 2 * k / (k - 1) * r.separated_trace(stats))


def test_parts_of_the_total_variance_add_up_in_each_weighting():
    h, y = problem(4, 6, 40)
    stats, _ = evidence(h, y)
    total = float(((h - h.mean(0)) ** 2).sum(1).mean())
    within = float(stats.class_scatter.sum()) / 40
    IDENTITY.check(r.nc1_trace_ratio_sample_weighted(stats), within / (total - within))
    # Counting classes once mixes badly with a total over samples: the parts do not add up to it.
    assert abs(float(stats.class_variances.mean() + stats.between_trace) / total - 1) > 1e-3


def test_imbalance_of_a_thousand_to_ten():
    h, _ = problem(2, 8, 1010)
    y = np.repeat([0, 1], [1000, 10])
    stats, _ = evidence(h + 3 * y[:, None], y)
    once, each = float(r.nc1_trace_ratio(stats)), float(r.nc1_trace_ratio_sample_weighted(stats))
    assert each > 10 * once


def test_class_variability_averages_to_the_ratio_and_fraction_follows():
    stats, _ = evidence(*problem(5, 7, 60))
    ratio = r.nc1_trace_ratio(stats)
    IDENTITY.check(r.class_variability(stats).mean(), ratio)
    IDENTITY.check(r.within_fraction(stats), ratio / (1 + ratio))


def test_r2_is_the_between_share_of_normalised_features():
    h, y = problem(4, 6, 40)
    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    IDENTITY.check(r.class_separation_r2(evidence(h, y)[1]), 1 - r.within_fraction(evidence(unit, y)[0]))


def test_r2_of_float32_and_any_chunking():
    h, y = problem(3, 5, 5000)
    whole = r.class_separation_r2(evidence(h, y)[1])
    repeated = r.class_separation_r2(_Chunks(h, y, 7))
    IDENTITY.check(repeated, whole)
    assert float(r.class_separation_r2(evidence(h.astype(np.float32), y)[1])) == pytest.approx(float(whole), rel=1e-5)


class _Chunks:
    """A source with chunks of its own size."""

    def __init__(self, h, y, rows):
        self.features, self.rows = LabelledFeatures.of(torch.as_tensor(h), torch.as_tensor(y)), rows
        self.num_classes = self.features.num_classes

    def chunks(self, rows=8192):
        return self.features.chunks(self.rows)


# ---------------------------------------------------------------------------------------------------- sampling


def test_noise_has_the_null_values():
    """No class structure: E R = (n-1) K d / ((K-1) d - 2), and R^2 = (K-1)/(nK-1) in the mean (large d)."""
    k, d, n = 10, 64, 5
    g = np.random.default_rng(0)
    ratios, separations = [], []
    for _ in range(200):
        stats, features = evidence(g.normal(size=(k * n, d)), np.arange(k * n) % k)
        ratios.append(float(r.nc1_trace_ratio(stats)))
        separations.append(float(r.class_separation_r2(features)))
    MONTE_CARLO.check(ratios, (n - 1) * k * d / ((k - 1) * d - 2))
    assert np.mean(separations) == pytest.approx((k - 1) / (n * k - 1), rel=0.01)


def test_debiased_ratio_does_not_depend_on_the_number_of_samples():
    k, d, true = 10, 256, 2.0
    g = np.random.default_rng(0)
    centres = g.normal(size=(k, d))
    centres -= centres.mean(0)
    spread = np.sqrt(true * (centres**2).sum() / k / d)
    for n in (4, 40):
        raw, debiased = [], []
        for _ in range(60):
            y = np.arange(n * k) % k
            stats, _ = evidence(centres[y] + spread * g.normal(size=(n * k, d)), y)
            raw.append(float(r.nc1_trace_ratio(stats)))
            debiased.append(float(r.nc1_trace_ratio_debiased(stats)))
        assert np.mean(debiased) == pytest.approx(true, rel=0.02)
        assert np.mean(raw) < true * (1 - 0.5 / n)


# ---------------------------------------------------------------------------------------------------- undefined


@pytest.mark.parametrize("metric", ALL)
def test_one_class(metric):
    with pytest.raises(UndefinedMetric, match="at least two classes"):
        metric(evidence(np.random.default_rng(0).normal(size=(9, 3)), np.zeros(9, int))[0])


@pytest.mark.parametrize("metric", [m for m in ALL if m is not r.within_fraction])
@pytest.mark.parametrize("offset", [0.0, 5.0, 1e8])
def test_coinciding_means(metric, offset):
    g = np.random.default_rng(0)
    samples = offset + g.normal(size=(1001, 4))
    with pytest.raises(UndefinedMetric, match="class means coincide"):
        metric(apart(samples, g.permutation(samples))[0])


def test_all_of_the_variation_is_within_classes_whose_means_coincide():
    g = np.random.default_rng(0)
    samples = 5 + g.normal(size=(101, 4))
    assert float(r.within_fraction(apart(samples, g.permutation(samples))[0])) == 1.0


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3])
def test_equal_samples(value):
    stats, _ = evidence(np.full((60, 4), value), np.arange(60) % 3)
    for metric in ALL:
        with pytest.raises(UndefinedMetric, match=r"coincide|all samples are equal"):
            metric(stats)


def test_debiasing_needs_two_samples_and_separable_classes():
    h, y = problem(3, 5, 30)
    with pytest.raises(UndefinedMetric, match="class 3 has one"):
        r.nc1_trace_ratio_debiased(evidence(np.r_[h, h[:1] + 9], np.r_[y, 3])[0])
    noise = np.random.default_rng(1).normal(size=(200, 40))
    with pytest.raises(UndefinedMetric, match="not separable at this sample size"):
        r.nc1_trace_ratio_debiased(evidence(noise, np.arange(200) % 100)[0])


def test_r2_names_the_sample_without_direction():
    h, y = problem(3, 4, 5000)
    h[4321] = 0
    with pytest.raises(UndefinedMetric, match="sample 4321 is zero"):
        r.class_separation_r2(evidence(h, y)[1])
    ray = np.outer(np.arange(1.0, 31), [1, 2, 3])
    with pytest.raises(UndefinedMetric, match="same direction"):
        r.class_separation_r2(evidence(ray, np.arange(30) % 3)[1])
    with pytest.raises(UndefinedMetric, match="at least two classes"):
        r.class_separation_r2(evidence(np.eye(3), np.zeros(3, int))[1])


def test_collapse():
    stats = collapsed(classes=5, features=9)
    for metric in ALL:
        assert not metric(stats).any()
    h = stats.means.repeat_interleave(4, 0)
    IDENTITY.check(r.class_separation_r2(LabelledFeatures.of(h, torch.arange(20) // 4)), 1.0)
