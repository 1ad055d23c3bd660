"""NC2 after Papyan: norms and angles."""

import math

import numpy as np
import pytest
import torch

from collapselab import metrics
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from configurations import collapsed, etf_rows
from metrics.contract_problems import PROBLEMS, random_problem, stats_of
from tolerances import IDENTITY, REFERENCE

NC2 = ("nc2_equinorm_means", "nc2_equiangularity_means", "nc2_max_angle_means")
OF_MEANS = (*NC2, "class_mean_norm", "class_max_cosine")


def test_equal_norms_divide_by_one_less_than_the_number_of_classes():
    head = LinearHead(torch.diag(torch.tensor([1.0, 2.0, 3.0])).double())
    assert float(metrics.nc2_equinorm_weights(collapsed(3, features=3), head)) == pytest.approx(0.5, abs=1e-15)


def test_orthogonal_rows_have_equal_angles_that_are_not_the_largest():
    head, stats = LinearHead(torch.eye(5, dtype=torch.float64)), collapsed(5, features=5)
    assert float(metrics.nc2_equiangularity_weights(stats, head)) < 1e-15
    assert float(metrics.nc2_max_angle_weights(stats, head)) == pytest.approx(0.25, abs=1e-15)


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize(("classes", "features"), [(4, 3), (7, 20)])
def test_keeps_its_digits_next_to_the_simplex(size, classes, features, generator):
    rows = etf_rows(classes, features=features)
    rows = rows + size * torch.randn(rows.shape, generator=generator, dtype=torch.float64)
    head, wide = LinearHead(rows), rows.numpy().astype(np.longdouble)
    wide = wide / np.sqrt((wide**2).sum(1, keepdims=True))
    cosines = (wide @ wide.T)[~np.eye(classes, dtype=bool)]
    exact = np.sqrt(((cosines - cosines.mean()) ** 2).mean())
    found = metrics.nc2_equiangularity_weights(collapsed(classes, features=features), head)
    np.testing.assert_allclose(float(found), float(exact), rtol=1e-9, atol=2e-15)


@pytest.mark.parametrize("name", OF_MEANS)
def test_two_classes_say_nothing(name):
    with pytest.raises(UndefinedMetric, match="whatever the data"):
        metrics.REGISTRY[name].fn(collapsed(2, features=3))


def test_two_rows_of_weights_do_say_something():
    head = LinearHead(torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64))
    stats = collapsed(2, features=2)
    assert float(metrics.nc2_equinorm_weights(stats, head)) == pytest.approx(math.sqrt(2) / 2)
    assert float(metrics.nc2_max_angle_weights(stats, head)) == pytest.approx(1.0)
    with pytest.raises(UndefinedMetric, match="one angle"):
        metrics.nc2_equiangularity_weights(stats, head)


@pytest.mark.parametrize("name", OF_MEANS)
def test_one_class_is_undefined(name):
    with pytest.raises(UndefinedMetric, match="two classes"):
        metrics.REGISTRY[name].fn(random_problem((0, 5), 3).evidence().stats)


def test_a_mean_at_the_global_mean_is_named():
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    stats = ClassStats.of(LabelledFeatures(means[[0, 1, 2]], torch.tensor([0, 3, 7]), 8))
    assert float(metrics.nc2_equinorm_means(stats)) > 0
    with pytest.raises(UndefinedMetric, match="class 7 lies at the global mean"):
        metrics.nc2_equiangularity_means(stats)


def test_coinciding_means_are_undefined_even_after_rounding():
    h = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)[torch.arange(30) % 3][:, None] + 1.0
    y = (torch.arange(30) // 3) % 5
    with pytest.raises(UndefinedMetric, match="coincide"):
        metrics.nc2_equinorm_means(ClassStats.of(LabelledFeatures(h, y, 5)))


@pytest.mark.parametrize("name", [*NC2, "etf_error"])
def test_a_class_never_seen_changes_nothing(name):
    problem = PROBLEMS["an empty class"]
    kept = torch.tensor([0, 1, -1, 2, 3, 4])
    without = ClassStats.of(LabelledFeatures(problem.h, kept[problem.y], 5))
    metric = metrics.REGISTRY[name].fn
    IDENTITY.check(metric(problem.evidence().stats), metric(without))


@pytest.mark.parametrize("classes", [1024, 1025, 1500])
def test_pairs_are_complete_across_tiles(classes, generator):
    means = torch.randn(classes, 3, generator=generator, dtype=torch.float64)
    stats = stats_of(means)
    cosines = metrics.mean_cosines(stats)
    pairs = cosines[~torch.eye(classes, dtype=torch.bool)].view(classes, classes - 1)
    REFERENCE.check(metrics.nc2_max_angle_means(stats), (pairs + 1 / (classes - 1)).abs().mean())
    REFERENCE.check(metrics.nc2_equiangularity_means(stats), pairs.std(correction=0))
    REFERENCE.check(metrics.class_max_cosine(stats), pairs.amax(1))
    head = LinearHead(stats.centred_means)
    REFERENCE.check(metrics.nc2_max_angle_weights(stats, head), metrics.nc2_max_angle_means(stats))


def test_map_of_cosines():
    cosines = metrics.mean_cosines(collapsed(4, features=6))
    expected = torch.full((4, 4), -1 / 3, dtype=torch.float64).fill_diagonal_(1.0)
    torch.testing.assert_close(cosines, expected, rtol=0, atol=1e-14)
    many = stats_of(torch.randn(4097, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    with pytest.raises(InputError, match="at most 4096 classes, got 4097"):
        metrics.mean_cosines(many)
