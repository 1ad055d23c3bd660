"""The CDNV family: identities, sampling bias, matrices, scale, undefined cases."""

import itertools
import math
import resource

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures
from collapselab.metrics import pairs as p
from collapselab.metrics.directional import directional_cdnv
from collapselab.metrics.ratio import nc1_trace_ratio
from configurations import collapsed
from metrics import reference_directional, reference_pairs
from metrics.samples import SHAPES, apart, evidence, problem
from tolerances import IDENTITY, REFERENCE

MEANS = (p.cdnv, p.cdnv_ordered, p.cdnv_unhalved, p.cdnv_max, p.class_cdnv_nearest)
ALL = (*MEANS, p.cdnv_aggregate, p.cdnv_aggregate_debiased, p.cdnv_debiased)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("shape", SHAPES)
def test_twin(metric, shape):
    h, y = problem(*SHAPES[shape])
    expected = getattr(reference_pairs, f"reference_{metric.__name__}")(h, y, None, None)
    REFERENCE.check(metric(evidence(h, y)[0]), expected)


# ---------------------------------------------------------------------------------------------------- identities


@given(seed=st.integers(0, 2**16), shape=st.sampled_from(sorted(SHAPES)))
def test_normalisations(seed, shape):
    stats, _ = evidence(*problem(*SHAPES[shape], seed=seed))
    IDENTITY.check(p.cdnv_ordered(stats), p.cdnv(stats))
    IDENTITY.check(p.cdnv_unhalved(stats), 2 * p.cdnv(stats))
    k = stats.num_seen
    IDENTITY.check(p.cdnv_aggregate(stats), nc1_trace_ratio(stats) * (k - 1) / (2 * k))
    IDENTITY.check(p.class_cdnv_nearest(stats).max(), p.cdnv_max(stats))
    assert float(p.cdnv_max(stats)) >= float(p.cdnv(stats)) * (1 - 1e-12)


def test_aggregate_is_the_mean_where_all_distances_are_equal():
    exact = collapsed(classes=6, features=9, offset=2.0)
    spread = torch.rand(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    stats = ClassStats(6, exact.labels, exact.counts, exact.means, spread, exact.scatter)
    IDENTITY.check(p.cdnv_aggregate(stats), p.cdnv(stats))


def test_matrices_hold_the_pairs():
    h, y = problem(7, 5, 80)
    stats, _ = evidence(h, y)
    v, means = stats.class_variances.numpy(), stats.means.numpy()
    half, ordered, whole = (
        matrix(stats, diagonal=0.0) for matrix in (p.cdnv_matrix, p.cdnv_ordered_matrix, p.cdnv_unhalved_matrix)
    )
    for i, j in itertools.permutations(range(7), 2):
        squared = np.sum((means[i] - means[j]) ** 2)
        REFERENCE.check(half[i, j], (v[i] + v[j]) / (2 * squared))
        REFERENCE.check(ordered[i, j], v[i] / squared)
        REFERENCE.check(whole[i, j], (v[i] + v[j]) / squared)
    IDENTITY.check(half.sum() / 42, p.cdnv(stats))
    assert half.diagonal().tolist() == [0.0] * 7
    assert all(math.isinf(value) for value in p.cdnv_matrix(stats, diagonal=math.inf).diagonal().tolist())


def test_a_matrix_is_refused_past_what_can_be_looked_at():
    k = p.LARGEST_MATRIX + 1
    means = torch.arange(k, dtype=torch.float64)[:, None]
    stats = ClassStats(k, torch.arange(k), torch.full((k,), 2), means, torch.ones(k, dtype=torch.float64))
    for matrix in (p.cdnv_matrix, p.cdnv_ordered_matrix, p.cdnv_unhalved_matrix):
        with pytest.raises(InputError, match="at most 4096 classes, got 4097"):
            matrix(stats, diagonal=0.0)


# ------------------------------------------------------------------------------------------- sampling and numbers


def test_debiased_values_of_few_samples():
    """K = 10, d = 512, n = 5: the raw value is a third of the truth, the debiased one is right."""
    k, d, n = 10, 512, 5
    g = np.random.default_rng(0)
    centres = g.normal(size=(k, d)) * 0.576
    true = np.mean([2 * d / (2 * np.sum((a - b) ** 2)) for a, b in itertools.combinations(centres, 2)])
    raw, debiased, aggregate = [], [], []
    for _ in range(40):
        y = np.arange(k * n) % k
        stats, _ = evidence(centres[y] + g.normal(size=(k * n, d)), y)
        raw.append(float(p.cdnv(stats)))
        debiased.append(float(p.cdnv_debiased(stats)))
        aggregate.append(float(p.cdnv_aggregate_debiased(stats)))
    assert 1 < true < 4
    assert np.mean(raw) < 0.7 * true
    assert np.mean(debiased) == pytest.approx(true, rel=0.06)
    assert np.mean(aggregate) == pytest.approx(true, rel=0.03)


@pytest.mark.parametrize("spread", [1e-4, 1e-6])
def test_float32_features_close_to_collapse(spread):
    k, d, n = 10, 64, 4000
    g = torch.Generator().manual_seed(0)
    y = torch.arange(n) % k
    centres = 5 + torch.randn(k, d, generator=g, dtype=torch.float64)
    h = (centres[y] + spread * torch.randn(n, d, generator=g, dtype=torch.float64)).float()
    x = h.double().numpy()
    for metric in MEANS:
        expected = getattr(reference_pairs, f"reference_{metric.__name__}")(x, y.numpy(), None, None)
        REFERENCE.times(1e3).check(metric(ClassStats.of(LabelledFeatures.of(h, y))), expected)
    stats, features = evidence(h, y)
    expected = reference_directional.reference_directional_cdnv(x, y.numpy(), None, None)
    REFERENCE.times(1e3).check(directional_cdnv(stats, features), expected)


def test_an_empty_class_has_no_distance():
    h, y = problem(4, 5, 40)
    gaps = evidence(h, y + 2 * (y >= 2), num_classes=9)[0]
    for metric in ALL:
        IDENTITY.check(metric(gaps), metric(evidence(h, y)[0]))


@pytest.mark.slow
def test_twenty_thousand_classes_without_a_matrix():
    """What is allocated beside the statistics stays far below the 3.2 GB of K x K."""
    k, d = 20_000, 64
    g = torch.Generator().manual_seed(0)
    means = torch.randn(k, d, generator=g, dtype=torch.float64)
    stats = ClassStats(k, torch.arange(k), torch.full((k,), 5), means, torch.rand(k, generator=g).double())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    value = float(p.cdnv(stats))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300 * 1024  # in KiB
    some = torch.randint(k, (200_000, 2), generator=g)
    some = some[some[:, 0] != some[:, 1]]
    v = stats.class_variances
    sampled = (v[some[:, 0]] + v[some[:, 1]]) / 2 / (means[some[:, 0]] - means[some[:, 1]]).square().sum(1)
    assert value == pytest.approx(float(sampled.mean()), abs=5 * float(sampled.std()) / 440)


# ---------------------------------------------------------------------------------------------------- undefined


@pytest.mark.parametrize("metric", ALL)
def test_one_class(metric):
    with pytest.raises(UndefinedMetric, match="at least two classes"):
        metric(evidence(np.random.default_rng(0).normal(size=(9, 3)), np.zeros(9, int))[0])


@pytest.mark.parametrize("offset", [0.0, 5.0, 1e8])
@pytest.mark.parametrize("metric", [*MEANS, p.cdnv_debiased])
def test_two_of_many_means_coincide(metric, offset):
    g = np.random.default_rng(0)
    samples = offset + g.normal(size=(301, 4))
    h = np.concatenate([offset + 3 + g.normal(size=(20, 4)), samples, g.permutation(samples)])
    y = np.repeat([1, 0, 4], [20, 301, 301])
    with pytest.raises(UndefinedMetric, match="classes 0 and 4 coincide"):
        metric(evidence(h, y)[0])
    assert math.isfinite(p.cdnv_aggregate(evidence(h, y)[0]))


def test_matrix_of_coinciding_means():
    samples = np.random.default_rng(0).normal(size=(9, 3))
    with pytest.raises(UndefinedMetric, match="classes 0 and 1 coincide"):
        p.cdnv_matrix(apart(samples, samples)[0], diagonal=0.0)


def test_inseparable_pairs_are_counted():
    noise = np.random.default_rng(0).normal(size=(60, 3))
    with pytest.raises(UndefinedMetric, match=r"\d+ of 435 pairs of classes are not separable"):
        p.cdnv_debiased(evidence(noise, np.arange(60) % 30)[0])
    with pytest.raises(UndefinedMetric, match="two samples of every class, class 3 has one"):
        p.cdnv_debiased(evidence(noise[:13], np.r_[np.arange(12) % 3, 3])[0])


def test_collapse():
    stats = collapsed(classes=5, features=9)
    for metric in ALL:
        assert not metric(stats).any()


# -------------------------------------------------------------------------------------------------- directional


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sums", [1, 20, 2**24])
def test_directional_twin(shape, sums, monkeypatch):
    monkeypatch.setattr("collapselab.metrics.directional._SUMS", sums)  # columns in one look: 1, some, all
    h, y = problem(*SHAPES[shape])
    expected = reference_directional.reference_directional_cdnv(h, y, None, None)
    REFERENCE.check(directional_cdnv(*evidence(h, y)), expected)


@given(seed=st.integers(0, 2**16))
def test_directional_is_at_most_cdnv_and_a_share_of_it_if_isotropic(seed):
    stats, features = evidence(*problem(4, 6, 40, seed=seed))
    assert float(directional_cdnv(stats, features)) <= float(p.cdnv_ordered(stats)) * (1 + 1e-12)


def test_directional_of_isotropic_noise_is_one_part_in_d():
    g = np.random.default_rng(0)
    y = np.arange(60_000) % 3
    stats, features = evidence(4 * g.normal(size=(3, 8))[y] + g.normal(size=(60_000, 8)), y)
    assert float(directional_cdnv(stats, features)) == pytest.approx(float(p.cdnv(stats)) / 8, rel=0.03)


def test_directional_with_classes_never_seen_and_classes_unknown():
    h, y = problem(4, 5, 40)
    stats, features = evidence(h, y + 2 * (y >= 2), num_classes=9)
    IDENTITY.check(directional_cdnv(stats, features), directional_cdnv(*evidence(h, y)))
    with pytest.raises(UndefinedMetric, match="class 0 has samples but no mean"):
        directional_cdnv(evidence(h[y > 0], y[y > 0])[0], LabelledFeatures.of(h, y))
    with pytest.raises(UndefinedMetric, match="class 0 has a mean but no sample"):
        directional_cdnv(evidence(h, y)[0], LabelledFeatures.of(h[y > 0], y[y > 0]))


def test_directional_of_coinciding_means():
    samples = np.random.default_rng(0).normal(size=(9, 3))
    with pytest.raises(UndefinedMetric, match="coincide"):
        directional_cdnv(*apart(samples, samples))
    with pytest.raises(UndefinedMetric, match="at least two classes"):
        directional_cdnv(*evidence(samples, np.zeros(9, int)))
