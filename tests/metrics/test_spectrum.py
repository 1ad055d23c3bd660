"""Numbers of directions: identities, values with a closed form, undefined cases."""

import numpy as np
import pytest

from collapselab.core.errors import UndefinedMetric
from collapselab.metrics import spectrum as s
from configurations import collapsed
from metrics import reference_spectrum as reference
from metrics.samples import SHAPES, apart, evidence, problem
from tolerances import IDENTITY, REFERENCE

ALL = (s.effective_rank, s.effective_rank_means, s.participation_ratio, s.participation_ratio_means)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("shape", SHAPES)
def test_twin(metric, shape):
    h, y = problem(*SHAPES[shape])
    REFERENCE.check(metric(evidence(h, y)[0]), getattr(reference, f"reference_{metric.__name__}")(h, y, None, None))


def test_equal_variances_count_their_directions():
    # Corners of a cube: identity covariance; four of the eight directions of each class have no variation at all.
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 4)).reshape(4, -1).T
    h = np.pad(np.concatenate([corners, corners + 10]), ((0, 0), (0, 4)))
    stats, _ = evidence(h, np.repeat([0, 1], 16))
    IDENTITY.check(s.participation_ratio(stats), 4.0)
    IDENTITY.check(s.participation_ratio_means(stats), 1.0)
    IDENTITY.check(s.effective_rank_means(stats), 1.0)
    IDENTITY.check(s.effective_rank(evidence(np.pad(corners, ((0, 0), (0, 4))), np.arange(16) % 2)[0]), 4.0)


def test_effective_rank_does_not_look_at_labels():
    h, y = problem(4, 6, 40)
    IDENTITY.check(s.effective_rank(evidence(h, y)[0]), s.effective_rank(evidence(h, np.arange(40) % 2)[0]))


def test_total_rank_of_balanced_collapse_is_that_of_the_means():
    stats = collapsed(classes=5, features=9)
    IDENTITY.check(s.effective_rank(stats), 4.0)
    IDENTITY.check(s.effective_rank_means(stats), 4.0)
    IDENTITY.check(s.participation_ratio_means(stats), 4.0)


def test_more_classes_than_directions():
    stats, _ = evidence(*problem(30, 3, 200))
    for metric in ALL:
        assert 1 <= float(metric(stats)) <= 3


@pytest.mark.parametrize("offset", [0.0, 5.0, 1e8])
def test_undefined(offset):
    g = np.random.default_rng(0)
    samples = offset + g.normal(size=(301, 4))
    same, _ = apart(samples, g.permutation(samples))
    alone, _ = evidence(samples, np.zeros(301, int))
    for metric in (s.effective_rank_means, s.participation_ratio_means):
        with pytest.raises(UndefinedMetric, match="class means coincide"):
            metric(same)
        with pytest.raises(UndefinedMetric, match="at least two classes"):
            metric(alone)
    for metric in (s.effective_rank, s.participation_ratio):
        assert 3 < float(metric(alone)) < 4


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3])
def test_rounding_has_no_directions(value):
    equal, _ = evidence(np.full((60, 4), value), np.arange(60) % 3)
    for metric in ALL:
        with pytest.raises(UndefinedMetric, match=r"equal|coincide"):
            metric(equal)
    classes, _ = evidence(np.full((60, 4), value) + (np.arange(60) % 3)[:, None], np.arange(60) % 3)
    with pytest.raises(UndefinedMetric, match="equal up to rounding"):
        s.participation_ratio(classes)
