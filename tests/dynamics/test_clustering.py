"""Kernel k-means against loops and against k-means on points, what becomes of empty clusters, and the best matching."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.dynamics.clustering import _distances, _filled, _step, clustering_accuracy, kernel_kmeans, kmeans
from collapselab.training.data.nuisance_blobs import NuisanceBlobs
from collapselab.training.data.rings import Rings
from tolerances import EXACT, IDENTITY, REFERENCE


def distances_by_loops(kernel: np.ndarray, assignment: list[int], clusters: int) -> np.ndarray:
    """K_ii + mean of K within the cluster - 2 mean of K between the sample and the cluster (spec 2.3)."""
    n = len(kernel)
    found = np.empty((n, clusters))
    for c in range(clusters):
        members = [a for a in range(n) if assignment[a] == c]
        within = sum(kernel[a, b] for a in members for b in members) / len(members) ** 2
        for i in range(n):
            found[i, c] = kernel[i, i] + within - 2 * sum(kernel[i, a] for a in members) / len(members)
    return found


def accuracy_by_permutations(assignment: list[int], groups: list[int], most: int) -> float:
    return max(
        sum(order[a] == g for a, g in zip(assignment, groups, strict=True)) / len(groups)
        for order in itertools.permutations(range(most))
    )


def positive(n: int, generator: torch.Generator) -> Tensor:
    rows = torch.randn(n, n, generator=generator, dtype=torch.float64)
    return rows @ rows.T


def points(generator: torch.Generator, *, far: float = 0.0) -> tuple[Tensor, Tensor]:
    groups = torch.arange(4).repeat_interleave(12)
    corners = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]], dtype=torch.float64)
    return far + corners[groups] + torch.randn(48, 2, generator=generator, dtype=torch.float64), groups


def test_steps_are_those_of_the_loops(generator: torch.Generator) -> None:
    kernel = positive(9, generator)
    starts = torch.stack([torch.randperm(9, generator=generator) % 3 for _ in range(5)])
    found = _distances(kernel, starts, 3)
    moved = _step(kernel, starts, 3)
    for start, own, after in zip(starts.tolist(), found, moved, strict=True):
        wanted = distances_by_loops(kernel.numpy(), start, 3)
        REFERENCE.floor(float(kernel.diagonal().max())).check(own, wanted)
        if len(set(wanted.argmin(1))) == 3:  # nobody ran empty
            assert after.tolist() == wanted.argmin(1).tolist()


def test_the_end_is_a_fixed_point_with_its_objective(generator: torch.Generator) -> None:
    kernel = positive(14, generator)
    found = kernel_kmeans(kernel, 3, generator=generator)
    distances = distances_by_loops(kernel.numpy(), found.assignment.tolist(), 3)
    own = distances[np.arange(14), found.assignment.numpy()]
    assert found.status == "converged"
    REFERENCE.check(found.objective, own.sum())
    assert (own <= distances.min(1) + 1e-10).all()


@pytest.mark.parametrize("far", [0.0, 1e5])
def test_of_inner_products_it_is_k_means(far: float, generator: torch.Generator) -> None:
    x, groups = points(generator, far=far)
    found = kernel_kmeans(x @ x.T, 4, generator=generator)
    theirs = KMeans(4, n_init=20, random_state=0).fit((x - far).numpy())
    # Inner products of points at 1e5 are 1e10, and lose ten digits of distances of 1.
    (IDENTITY if far == 0 else IDENTITY.times(1e4)).check(found.objective, theirs.inertia_)
    assert clustering_accuracy(found.assignment, torch.from_numpy(theirs.labels_)) == 1.0
    assert clustering_accuracy(found.assignment, groups) > 0.9
    assert found.agreeing > 1


def test_k_means_on_rows_far_from_the_origin(generator: torch.Generator) -> None:
    x, _ = points(generator, far=1e8)
    found = kmeans(x, 4, generator=generator)
    theirs = KMeans(4, n_init=20, random_state=0).fit((x - 1e8).numpy())
    IDENTITY.check(found.objective, theirs.inertia_)


def test_a_constant_part_of_a_kernel_and_its_scale_change_nothing(generator: torch.Generator) -> None:
    kernel = positive(20, generator)
    first, second = (
        kernel_kmeans(one, 3, generator=torch.Generator().manual_seed(1)) for one in (kernel, 2 * kernel + 7)
    )
    EXACT.check(second.assignment, first.assignment)
    IDENTITY.check(second.objective, 2 * first.objective)


def test_the_best_of_all_partitions_is_found(generator: torch.Generator) -> None:
    kernel = positive(8, generator)
    partitions = [list(p) for p in itertools.product(range(2), repeat=8) if 0 < sum(p) < 8]
    objectives = [distances_by_loops(kernel.numpy(), p, 2)[np.arange(8), p].sum() for p in partitions]
    found = kernel_kmeans(kernel, generator=generator, restarts=200)
    REFERENCE.check(found.objective, min(objectives))


def test_a_cluster_that_runs_empty_takes_the_farthest() -> None:
    assignment = torch.tensor([[0, 0, 0, 1], [0, 0, 3, 1]])
    own = torch.tensor([[1.0, 5.0, 2.0, 9.0], [1.0, 5.0, 7.0, 9.0]], dtype=torch.float64)
    # In the first row clusters 2 and 3 are empty; the sample alone in cluster 1 stays there, far as it is.
    assert _filled(assignment, own, 4).tolist() == [[0, 2, 3, 1], [0, 2, 3, 1]]


def test_as_many_clusters_as_samples_and_samples_that_coincide(generator: torch.Generator) -> None:
    x = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    alone = kmeans(x, 6, generator=generator)
    assert sorted(alone.assignment.tolist()) == list(range(6))
    assert alone.objective == pytest.approx(0, abs=1e-12)
    same = kmeans(torch.ones(6, 2, dtype=torch.float64), 3, generator=generator)
    assert (same.objective, same.status) == (0.0, "converged")
    assert len(same.assignment.unique()) == 3
    one = kmeans(x, 1, generator=generator)
    REFERENCE.check(one.objective, float((x - x.mean(0)).square().sum()))


def test_the_same_draws_give_the_same_clusters(generator: torch.Generator) -> None:
    kernel = positive(30, generator)
    first, second = (kernel_kmeans(kernel, 5, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    EXACT.check(second.assignment, first.assignment)
    assert kernel_kmeans(kernel, 5, generator=generator, steps=1).status == "stopped"


@pytest.mark.parametrize("make", [Rings, NuisanceBlobs])
def test_k_means_on_points_does_not_find_the_hidden_groups(make: type[Rings | NuisanceBlobs]) -> None:
    found = []
    for seed in range(10):
        drawn = make().draw(torch.Generator().manual_seed(seed))
        rows = (drawn.train > 0).nonzero()[:, 0]
        clusters = kmeans(drawn.splits.train.take(rows)[0], generator=torch.Generator().manual_seed(seed))
        found.append(clustering_accuracy(clusters.assignment, drawn.train[rows]))
    assert 0.5 <= sum(found) / 10 <= 0.60  # acceptance row 8


@pytest.mark.parametrize("most", [2, 3, 4])
def test_accuracy_is_that_of_the_best_matching(most: int, generator: torch.Generator) -> None:
    for _ in range(5):
        assignment, groups = (torch.randint(most, (15,), generator=generator) for _ in range(2))
        wanted = accuracy_by_permutations(assignment.tolist(), groups.tolist(), most)
        assert clustering_accuracy(assignment, groups) == wanted


@pytest.mark.parametrize(
    ("assignment", "groups", "accuracy"),
    [
        ([0, 0, 1, 1], [7, 7, 3, 3], 1.0),
        ([0, 0, 0, 0], [1, 1, 1, 2], 0.75),
        ([0, 1, 2, 2], [0, 0, 0, 0], 0.5),
        ([0, 1, 2, 2], [0, 0, 1, 1], 0.75),
    ],
)
def test_accuracy_of_unequal_numbers_of_clusters_and_groups(
    assignment: list[int], groups: list[int], accuracy: float
) -> None:
    assert clustering_accuracy(torch.tensor(assignment), torch.tensor(groups)) == accuracy


def test_what_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match=r"kernel must be square, got Tensor of shape \(2, 3\)"):
        kernel_kmeans(torch.ones(2, 3), generator=generator)
    lopsided = torch.eye(3).index_put((torch.tensor([0]), torch.tensor([1])), torch.tensor(0.5))
    with pytest.raises(InputError, match=r"kernel must be symmetric, got entries that differ .* by 0.5"):
        kernel_kmeans(lopsided, generator=generator)
    with pytest.raises(InputError, match="clusters must be at most 3, the number of samples, got 4"):
        kernel_kmeans(torch.eye(3), 4, generator=generator)
    with pytest.raises(InputError, match="restarts must be an integer of at least 1, got 0"):
        kernel_kmeans(torch.eye(3), generator=generator, restarts=0)
    with pytest.raises(InputError, match=r"kernel must be finite, got nan at index \(0, 0\)"):
        kernel_kmeans(torch.full((2, 2), torch.nan), generator=generator)
    with pytest.raises(InputError, match="groups must be one per row: 3 rows, 2 labels"):
        clustering_accuracy(torch.zeros(3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InputError, match="assignment must have at least one sample, got none"):
        clustering_accuracy(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
