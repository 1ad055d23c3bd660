"""Clusters of samples by their similarities: kernel k-means from many starts at once, and how well groups are found."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks, extras
from collapselab.core.errors import InputError
from collapselab.core.linalg import accumulator_device

# What a move must gain, as a part of the mean squared distance from the centre of all: less is rounding.
ROUNDING = 1e-12

# How unsymmetric a kernel may be, as a part of its largest entry.
UNSYMMETRIC = 1e-6


@dataclass(frozen=True, eq=False)
class Clusters:
    """What the best start led to.

    Attributes:
        assignment: Cluster (n,) of each sample, from 0.
        objective: Sum of the squared distances of the samples from the centres of their clusters.
        status: Whether no sample moved in the last step, or the steps were used up.
        agreeing: Starts that ended with this objective, up to rounding; one of many says that more may find better.
    """

    assignment: Tensor
    objective: float
    status: Literal["converged", "stopped"]
    agreeing: int


def kernel_kmeans(
    kernel: Tensor, clusters: int = 2, *, generator: torch.Generator, restarts: int = 20, steps: int = 100
) -> Clusters:
    r"""Clusters around centres in the feature space of a kernel, by Lloyd's steps from random starts, all at once.

    The squared distance of sample $i$ from the centre of $C$ is
    $K_{ii} - \tfrac{2}{|C|}\sum_{a\in C} K_{ia} + \tfrac{1}{|C|^2}\sum_{a,b\in C} K_{ab}$, and each step moves every
    sample to the nearest centre. A cluster that runs empty takes the sample that is farthest from its own centre. With
    $K = XX^\top$ this is k-means on the rows of $X$.

    Args:
        kernel: Symmetric (n, n). The objective falls in every step if it is positive semi-definite, as tangent kernels
            are; otherwise it need not, and the end may be `stopped`.
        clusters: How many.
        generator: Draws the starts.
        restarts: How many starts; the one that ends lowest is kept.
        steps: Most steps of each.

    Returns:
        The best clusters.

    Raises:
        InputError: If the kernel is not square, finite and symmetric, or has fewer samples than clusters.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [5.0]], dtype=torch.float64)
        >>> found = kernel_kmeans(x @ x.T, generator=torch.Generator().manual_seed(0))
        >>> clustering_accuracy(found.assignment, torch.tensor([0, 0, 1])), round(found.objective, 6)
        (1.0, 0.005)
    """
    kernel = _centred(_symmetric(kernel))
    k = checks.whole(clusters, "clusters", at_least=1)
    if k > len(kernel):
        raise InputError(f"clusters must be at most {len(kernel)}, the number of samples, got {k}")
    starts = (checks.whole(restarts, "restarts", at_least=1), len(kernel))
    assignment = torch.randint(k, starts, generator=generator).to(kernel.device)
    moved = torch.ones(len(assignment), dtype=torch.bool, device=kernel.device)
    for _ in range(checks.whole(steps, "steps", at_least=1)):
        before = assignment
        assignment = _step(kernel, before, k)
        moved = (assignment != before).any(1)
        if not moved.any():
            break
    return _best(kernel, assignment, k, moved)


def kmeans(
    rows: Tensor, clusters: int = 2, *, generator: torch.Generator, restarts: int = 20, steps: int = 100
) -> Clusters:
    """K-means on rows, by way of their inner products.

    He and Su cluster the rows of the symmetrised relative similarity in this way: each sample by how all others move
    with it.

    Args:
        rows: (n, d).
        clusters: How many.
        generator: Draws the starts.
        restarts: How many starts.
        steps: Most steps of each.

    Returns:
        The best clusters.

    Raises:
        InputError: If the rows are no finite matrix, or fewer than the clusters.
    """
    rows = checks.matrix(rows, "rows")
    rows = rows.to(accumulator_device(rows.device)).double()
    rows = rows - rows.mean(0)
    return kernel_kmeans(rows @ rows.T, clusters, generator=generator, restarts=restarts, steps=steps)


def clustering_accuracy(assignment: Tensor, groups: Tensor) -> float:
    """Share of the samples that are in the right group, once clusters are matched with groups as well as possible.

    For two clusters and two groups it is one half and more, and one half and a little by chance.

    Args:
        assignment: Cluster (n,) of each sample.
        groups: Group (n,) of each sample.

    Returns:
        Fraction; a cluster that has no group to itself counts as wrong.

    Raises:
        InputError: If they are not as many integers each, at least one.
    """
    assignment = checks.labels(assignment, "assignment")
    groups = checks.labels(groups, "groups", num_rows=len(assignment))
    if len(assignment) == 0:
        raise InputError("assignment must have at least one sample, got none")
    ours, theirs = (one.cpu().unique(return_inverse=True)[1] for one in (assignment, groups))
    k, g = int(ours.max()) + 1, int(theirs.max()) + 1
    counts = torch.bincount(ours * g + theirs, minlength=k * g).view(k, g)
    if max(k, g) <= 2:
        square = functional.pad(counts, (0, 2 - g, 0, 2 - k))
        return float(torch.stack([square.trace(), square.fliplr().trace()]).max()) / len(ours)
    optimize = extras.require("scipy.optimize", extra="train", purpose="matching clusters with more than two groups")
    rows, columns = optimize.linear_sum_assignment(counts.numpy(), maximize=True)
    return float(counts[rows, columns].sum()) / len(ours)


def _symmetric(kernel: Tensor) -> Tensor:
    kernel = checks.matrix(kernel, "kernel", axes="(samples, samples)")
    kernel = kernel.to(accumulator_device(kernel.device)).double()
    if kernel.shape[0] != kernel.shape[1]:
        raise InputError(f"kernel must be square, got {checks.described(kernel)}")
    apart = float((kernel - kernel.T).abs().max())
    if apart > UNSYMMETRIC * float(kernel.abs().max()):
        raise InputError(f"kernel must be symmetric, got entries that differ from their mirror images by {apart:.3g}")
    return (kernel + kernel.T) / 2


def _centred(kernel: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """With the origin at the centre of all samples: distances stay, and do not drown in a common part."""
    rows = kernel.mean(0)
    return kernel - rows - rows[:, None] + rows.mean()


def _distances(kernel: Float[Tensor, "n n"], assignment: Int[Tensor, "r n"], k: int) -> Float[Tensor, "r n k"]:
    """Squared distance of each sample from the centre of each cluster; infinite for an empty one."""
    members = functional.one_hot(assignment, k).to(kernel.dtype)
    counts = members.sum(1)
    sums = (kernel @ members.transpose(0, 1).flatten(1)).unflatten(1, counts.shape).transpose(0, 1)
    within = (members * sums).sum(1) / counts.square()  # 0 / 0 where there is nobody
    found = kernel.diagonal()[:, None] + within[:, None] - 2 * sums / counts[:, None]
    return found.masked_fill((counts == 0)[:, None], torch.inf)


def _step(kernel: Float[Tensor, "n n"], assignment: Int[Tensor, "r n"], k: int) -> Int[Tensor, "r n"]:
    """Every sample to the nearest centre, unless its own is as near."""
    distances = _distances(kernel, assignment, k)
    own = distances.gather(2, assignment[..., None]).squeeze(2)
    nearest, where = distances.min(2)
    gains = own - nearest > ROUNDING * kernel.diagonal().abs().mean()
    return _filled(torch.where(gains, where, assignment), torch.where(gains, nearest, own), k)


def _filled(assignment: Int[Tensor, "r n"], own: Float[Tensor, "r n"], k: int) -> Int[Tensor, "r n"]:
    """With the samples that are farthest from their centres moved to the clusters that are empty."""
    counts = functional.one_hot(assignment, k).sum(1)
    restart, cluster = (counts == 0).nonzero(as_tuple=True)
    if len(restart) == 0:
        return assignment
    own = own.masked_fill(counts.gather(1, assignment) == 1, -torch.inf)  # whoever is alone stays
    farthest = own.topk(k).indices
    place = (counts == 0).cumsum(1)[restart, cluster] - 1
    return assignment.index_put((restart, farthest[restart, place]), cluster)


def _best(kernel: Float[Tensor, "n n"], assignment: Int[Tensor, "r n"], k: int, moved: Tensor) -> Clusters:
    distances = _distances(kernel, assignment, k).gather(2, assignment[..., None])
    objectives = distances.squeeze(2).sum(1)
    at = int(objectives.argmin())
    agreeing = objectives - objectives[at] <= ROUNDING * kernel.diagonal().abs().sum()
    return Clusters(
        assignment[at], float(objectives[at]), "stopped" if bool(moved[at]) else "converged", int(agreeing.sum())
    )
