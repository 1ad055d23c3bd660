"""Directions on the sphere: reference energies, coinciding directions, Rankin's bound."""

import math

import pytest
import torch

from collapselab import metrics
from collapselab.core.errors import UndefinedMetric
from collapselab.geometry import orthoplex
from collapselab.metrics.uniformity import reference_energy
from configurations import collapsed
from metrics.contract_problems import stats_of
from tolerances import MONTE_CARLO


@pytest.mark.parametrize(("features", "expected"), [(8, -0.3083), (64, -0.3426), (768, -0.3462)])
def test_reference_of_independent_directions(features, expected):
    assert reference_energy(10**6, features) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("features", [2, 3, 10])
def test_reference_is_the_mean_over_independent_pairs(features, generator):
    u, v = torch.nn.functional.normalize(
        torch.randn(2, 4000, features, generator=generator, dtype=torch.float64), dim=2
    )
    MONTE_CARLO.check(-(u - v).norm(dim=1).log(), reference_energy(10**6, features))


def test_reference_is_the_simplex_where_it_fits():
    assert reference_energy(5, 4) == -0.5 * math.log(10 / 4)
    with pytest.raises(UndefinedMetric, match="line"):
        reference_energy(3, 1)


def test_many_random_directions_have_no_excess(generator):
    stats = stats_of(torch.randn(1500, 8, generator=generator, dtype=torch.float64))
    assert float(metrics.uniformity_excess(stats)) == pytest.approx(0.0, abs=5e-3)


@pytest.mark.parametrize("name", ["uniformity_mean", "uniformity_variance", "uniformity_excess"])
def test_equal_directions_are_named(name):
    means = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-3.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    with pytest.raises(UndefinedMetric, match="classes 0 and 1 have the same direction"):
        metrics.REGISTRY[name].fn(stats_of(means))


def test_orthoplex_reaches_the_bound_past_the_simplex():
    stats = stats_of(orthoplex(8, 4))
    assert float(metrics.minimum_distance(stats)) == pytest.approx(math.sqrt(2), abs=1e-14)
    limit = metrics.REGISTRY["minimum_distance"].limit
    assert limit(8, 4) == math.sqrt(2)
    assert limit(9, 4) is None
    assert limit(5, 4) == math.sqrt(10 / 4)


def test_variance_is_small_and_not_negative_next_to_the_simplex():
    assert 0 <= float(metrics.uniformity_variance(collapsed(10, features=64, offset=5.0))) < 1e-28


def test_nearly_equal_directions_keep_their_digits():
    angle = 1e-7
    means = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)], [-1.0, 1.0], [-1.0, -1.0]]).double()
    means[1] = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    means -= means.mean(0)
    u, v = torch.nn.functional.normalize(means[:2], dim=1)
    assert float(metrics.minimum_distance(stats_of(means))) == pytest.approx(float((u - v).norm()), rel=1e-8)
