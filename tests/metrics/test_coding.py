"""Coding rates: twins on either side of the determinant, bounded memory, identities, undefined cases."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence import LabelledFeatures
from collapselab.metrics import _class_grams, coding
from metrics import reference_coding as reference
from metrics.samples import SHAPES, evidence, problem
from tolerances import IDENTITY, REFERENCE

SIZES = {**SHAPES, "small and large classes": (6, 5, 60), "no class as large as d": (4, 40, 60), "N < d": (3, 80, 30)}


@pytest.mark.parametrize("shape", SIZES)
def test_twins(shape):
    h, y = problem(*SIZES[shape])
    stats, features = evidence(h, y)
    REFERENCE.check(coding.coding_rate(features), reference.reference_coding_rate(h, y, None, None))
    for metric in (coding.coding_rate_classes, coding.coding_rate_reduction):
        expected = getattr(reference, f"reference_{metric.__name__}")(h, y, None, None)
        REFERENCE.times(10).check(metric(stats, features), expected)


class _Counted:
    """A source that counts how often it is read, in chunks of its own size."""

    def __init__(self, features, rows):
        self.features, self.rows, self.num_classes, self.looks = features, rows, features.num_classes, 0

    def chunks(self, rows=8192):
        self.looks += 1
        return self.features.chunks(self.rows)


@pytest.mark.parametrize("budget", [1, 60, 200, 1000, 10**6])
@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("shape", ["small and large classes", "no class as large as d", "K > d + 1"])
def test_any_budget_and_any_chunking_give_the_same(shape, rows, budget):
    h, y = problem(*SIZES[shape])
    stats, features = evidence(h, y)
    source = _Counted(features, rows)
    factor = torch.linspace(1, 2, stats.num_seen, dtype=torch.float64)
    unit = features.h / features.h.norm(dim=1, keepdim=True)
    d = h.shape[1]
    expected = [
        float(torch.logdet(torch.eye(d, dtype=torch.float64) + f * unit[y == c].T @ unit[y == c]))
        for c, f in enumerate(factor)
    ]
    IDENTITY.check(_class_grams.class_log_dets(stats, source, factor, budget=budget), expected)
    values = sum(min(int(n), d) * d for n in stats.counts)
    assert source.looks == 1 if budget >= 2 * values else source.looks <= stats.num_seen
    if budget == 1:
        assert source.looks == stats.num_seen


def test_groups_stay_within_the_budget():
    stats, _ = evidence(*problem(40, 8, 900))
    groups = list(_class_grams._groups(stats, 500))
    assert sorted(torch.cat([g.classes for g in groups]).tolist()) == list(range(40))
    assert all(g.size <= 500 for g in groups)
    assert all((g.counts <= 8).all() == g.small for g in groups)
    assert all(sum(g.size for g in look) <= 500 for look in _class_grams._looks(iter(groups), 500))


# ---------------------------------------------------------------------------------------------------- identities


@given(seed=st.integers(0, 2**16), shape=st.sampled_from(sorted(SIZES)))
def test_reduction_is_not_negative_and_zero_for_copies_of_one_class(seed, shape):
    h, y = problem(*SIZES[shape], seed=seed)
    stats, features = evidence(h, y)
    saved = coding.coding_rate_reduction(stats, features)
    assert float(saved) > 0
    IDENTITY.floor(1).check(saved, coding.coding_rate(features) - coding.coding_rate_classes(stats, features))
    twice, both = evidence(np.r_[h, h], np.repeat([0, 1], len(h)))
    assert 0 <= float(coding.coding_rate_reduction(twice, both)) < 1e-9


def test_collapsed_classes_need_the_smallest_rate():
    d = 7
    h = np.random.default_rng(0).normal(size=(3, d))[np.repeat([0, 1, 2], [2, 9, 30])]
    stats, features = evidence(h, np.repeat([0, 1, 2], [2, 9, 30]))
    IDENTITY.check(coding.coding_rate_classes(stats, features), 0.5 * math.log(1 + 2 * d))


def test_orthogonal_classes_save_most():
    axes = np.eye(6)[np.repeat(np.arange(3), 10)]
    mixed = np.ones((30, 6))
    y = np.repeat(np.arange(3), 10)
    saved = [float(coding.coding_rate_reduction(*evidence(h, y))) for h in (axes, mixed)]
    IDENTITY.check(saved[0], 1.5 * math.log(1 + 2 * 6 / 3) - 0.5 * math.log(1 + 2 * 6))
    assert saved[1] < 1e-12


def test_float32_features_are_normalised_in_float64():
    h, y = problem(3, 5, 300)
    x = h.astype(np.float32)
    REFERENCE.check(
        coding.coding_rate(evidence(x, y)[1]), reference.reference_coding_rate(x.astype(float), y, None, None)
    )


# ---------------------------------------------------------------------------------------------------- undefined


def test_a_feature_without_direction_is_named():
    h, y = problem(3, 4, 50)
    h[17] = 0
    stats, features = evidence(h, y)
    for value in (
        lambda: coding.coding_rate(features),
        lambda: coding.coding_rate_classes(stats, features),
        lambda: coding.coding_rate_reduction(stats, features),
    ):
        with pytest.raises(UndefinedMetric, match="sample 17 is zero"):
            value()


def test_one_class_has_rates_but_saves_nothing_by_them():
    stats, features = evidence(np.random.default_rng(0).normal(size=(9, 3)), np.zeros(9, int))
    IDENTITY.check(coding.coding_rate_classes(stats, features), coding.coding_rate(features))
    with pytest.raises(UndefinedMetric, match="at least two classes"):
        coding.coding_rate_reduction(stats, features)


def test_features_of_other_samples_are_refused():
    h, y = problem(4, 5, 60)
    stats, _ = evidence(h, y)
    for other in (h[1:], np.r_[h, h[:1]]):
        with pytest.raises(UndefinedMetric, match="class sizes differ"):
            coding.coding_rate_classes(stats, LabelledFeatures.of(other, np.r_[y, y][: len(other)], num_classes=4))
    with pytest.raises(UndefinedMetric, match="more classes"):
        coding.coding_rate_classes(stats, LabelledFeatures.of(h, y + (y == 3)))
