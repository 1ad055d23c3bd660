"""The arrays of a snapshot: shapes, the picture of collapse, bounds on what is kept."""

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.metrics import mean_cosines, snapshot_arrays
from configurations import etf_rows
from metrics.contract_problems import PROBLEMS, collapsed_problem, random_problem


def arrays_of(problem, **options):
    return snapshot_arrays(ClassStats.of(problem.features), problem.h, problem.y, **options)


@pytest.mark.parametrize(("classes", "features"), [(2, 1), (4, 3), (5, 20)])
def test_collapse_puts_every_sample_on_its_vertex(classes, features):
    problem = collapsed_problem(classes, features)
    arrays = arrays_of(problem, head=LinearHead(problem.w))
    vertex = arrays["simplex"][arrays["labels"]]
    np.testing.assert_allclose(arrays["coordinates"], vertex, atol=1e-6)
    np.testing.assert_allclose(arrays["centres"], arrays["simplex"], atol=1e-6)
    np.testing.assert_allclose(arrays["weight_coordinates"], arrays["simplex"], atol=1e-6)
    np.testing.assert_allclose(arrays["cosines"][~np.eye(classes, dtype=bool)], -1 / (classes - 1), atol=1e-6)


def test_shapes_and_dtypes():
    problem = random_problem((60, 10, 0, 50), 6)
    arrays = arrays_of(problem)
    assert {name: (a.shape, str(a.dtype)) for name, a in arrays.items()} == {
        "coordinates": ((90, 2), "float32"),
        "centres": ((3, 2), "float32"),
        "simplex": ((3, 2), "float32"),
        "labels": ((90,), "int64"),
        "classes": ((3,), "int64"),
        "cosines": ((3, 3), "float32"),
        "cosine_classes": ((3,), "int64"),
    }
    assert arrays["classes"].tolist() == [0, 1, 3]
    assert np.bincount(arrays["labels"]).tolist() == [40, 10, 0, 40]


def test_the_first_samples_of_each_class_are_kept():
    problem = random_problem((9, 9), 1, spread=0.1)
    few = arrays_of(problem, samples_per_class=2)
    everything = arrays_of(problem)
    for label in (0, 1):
        own = everything["coordinates"][everything["labels"] == label]
        first = [i for i, y in enumerate(problem.y.tolist()) if y == label][:2]
        assert len(own) == 9
        scale = (problem.h[first, 0] - problem.evidence().stats.global_mean[0]).abs()
        shown = np.abs(few["coordinates"][few["labels"] == label][:, 0])
        np.testing.assert_allclose(shown / shown[0], (scale / scale[0]).numpy(), rtol=1e-5)


def test_distances_survive_where_all_dimensions_fit():
    problem = PROBLEMS["more classes than the simplex fits"]  # d = 3 < k - 1 = 6: the map is an isometry of all of it
    arrays, stats = arrays_of(problem), problem.evidence().stats
    size = stats.centred_means.square().sum(1).mean().sqrt()
    order = torch.argsort(problem.y, stable=True)
    expected = torch.cdist(problem.h[order], problem.h[order]) / size
    found = torch.cdist(torch.from_numpy(arrays["coordinates"]), torch.from_numpy(arrays["coordinates"]))
    torch.testing.assert_close(found.double(), expected, atol=2e-3, rtol=1e-4)


def test_many_classes_keep_the_first_and_a_bounded_map():
    g = torch.Generator().manual_seed(0)
    for k, mapped in ((30, True), (201, False)):
        h = torch.randn(2 * k, 8, generator=g)
        problem = LabelledFeatures(h, torch.arange(2 * k) % k, k)
        stats = ClassStats.of(problem)
        arrays = snapshot_arrays(stats, problem.h, problem.y, head=LinearHead(torch.randn(k, 8, generator=g)))
        assert arrays["classes"].tolist() == list(range(20))
        assert arrays["coordinates"].shape == (40, 19)
        assert arrays["weight_coordinates"].shape == (20, 19)
        assert ("cosines" in arrays) == mapped
        if mapped:
            np.testing.assert_allclose(arrays["cosines"], mean_cosines(stats).numpy(), atol=1e-6)
            assert arrays["cosine_classes"].tolist() == list(range(30))


def test_shown_classes_of_many_on_a_simplex_stand_on_a_simplex():
    rows = etf_rows(25, features=40)
    y = torch.arange(50) % 25
    arrays = snapshot_arrays(ClassStats.of(LabelledFeatures(rows[y], y, 25)), rows[y], y)
    np.testing.assert_allclose(arrays["centres"], arrays["simplex"], atol=1e-6)


def test_what_has_no_picture():
    one = random_problem((0, 5), 3)
    with pytest.raises(UndefinedMetric, match="two classes"):
        arrays_of(one)
    same = LabelledFeatures(torch.ones(6, 2), torch.arange(6) % 3, 3)
    with pytest.raises(UndefinedMetric, match="coincide"):
        snapshot_arrays(ClassStats.of(same), same.h, same.y)
    problem = PROBLEMS["balanced"]
    stats = problem.evidence().stats
    with pytest.raises(InputError, match="features must have 6 columns"):
        snapshot_arrays(stats, problem.h[:, :3], problem.y)
    with pytest.raises(InputError, match="one per row"):
        snapshot_arrays(stats, problem.h, problem.y[:3])
    with pytest.raises(InputError, match="samples_per_class"):
        snapshot_arrays(stats, problem.h, problem.y, samples_per_class=0)
