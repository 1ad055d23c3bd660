"""Log-determinants of I + f_k Z_k^T Z_k for every class k, in bounded memory whatever the sizes.

The determinant is the same on either side, so a class of n <= d samples keeps its rows and takes the n x n side, and a
larger one adds up its d x d side. Classes are handled in groups that fit a budget; as many groups as fit share one look
at the features.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.core.linalg import add_gram, log_det_one_plus, mirrored
from collapselab.evidence.features import FeatureSource
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._samples import unit_chunks

# Float64 values kept between two looks at the features: 256 MB.
BUDGET = 2**25

# Values of the matrices factorised together: 32 MB.
_BATCH = 2**22

# Owner of a class in a look at the features: the number of its group, or one of these.
_ANOTHER_LOOK, _UNKNOWN = -1, -2


class _Group:
    """Some classes of one kind: all small (rows are kept, padded with zeros) or all large (d x d sums)."""

    def __init__(self, classes: Int[Tensor, " c"], counts: Int[Tensor, " c"], d: int) -> None:
        self.classes, self.counts, self.d = classes, counts, d
        self.rows = min(int(counts.max()), d)
        self.small = int(counts.max()) <= d
        self.size = classes.shape[0] * self.rows * d
        self.values: Tensor = torch.empty(0)

    def start(self, like: Tensor) -> None:
        self.values = like.new_zeros(self.classes.shape[0], self.rows, self.d)
        self.filled = torch.zeros_like(self.counts)

    def add(self, z: Float[Tensor, "n d"], at: Int[Tensor, " n"]) -> None:
        """Take in samples; `at` is the position of their class in this group, ascending."""
        present, number = torch.unique_consecutive(at, return_counts=True)
        if self.small:
            first = torch.repeat_interleave(number.cumsum(0) - number, number)
            place = torch.arange(at.shape[0], device=at.device) - first + self.filled[at]
            kept = place < self.rows  # a surplus is found and refused at the end
            self.values[at[kept], place[kept]] = z[kept]
        else:
            # One BLAS call for each class; there are at most N / d classes this large.
            for one, part in zip(present.tolist(), torch.split(z, number.tolist()), strict=True):
                add_gram(self.values[one], part)
        self.filled[present] += number

    def log_dets(self, factor: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
        """Of each class."""
        batch = max(_BATCH // self.rows**2, 1)
        found = []
        for values, f in zip(torch.split(self.values, batch), torch.split(factor, batch), strict=True):
            found.append(log_det_one_plus(f, values @ values.mT if self.small else mirrored(values)))
        self.values = torch.empty(0)
        return torch.cat(found)


def class_log_dets(
    stats: ClassStats, features: FeatureSource, factor: Float[Tensor, " k"], *, budget: int = BUDGET
) -> Float[Tensor, " k"]:
    """Logarithm of det(I + f_k Z_k^T Z_k) for every class k, with its unit features in the rows of Z_k.

    Args:
        stats: Which classes there are, and how large they are.
        features: The same samples.
        factor: f.
        budget: Float64 values that may be kept at once; one class may exceed it by itself.

    Returns:
        One number for each seen class.

    Raises:
        UndefinedMetric: If the features are not the samples of the statistics, or one is zero.
    """
    found = torch.zeros_like(factor)
    for groups in _looks(_groups(stats, budget), budget):
        for group in groups:
            group.start(factor)
        _look(stats, features, groups)
        for group in groups:
            if not torch.equal(group.filled, group.counts):
                raise UndefinedMetric("the features are not the samples of the statistics: class sizes differ")
            found[group.classes] = group.log_dets(factor[group.classes])
    return found


def _groups(stats: ClassStats, budget: int) -> Iterator[_Group]:
    """Classes of similar size together, so that padding is short."""
    d, order = stats.num_features, torch.argsort(stats.counts)
    counts = stats.counts[order].tolist()
    start = 0
    for stop in range(1, len(counts) + 1):
        last = stop == len(counts)
        changes_kind = not last and (counts[stop] <= d) != (counts[start] <= d)
        if last or changes_kind or (stop + 1 - start) * min(counts[stop], d) * d > budget:
            classes = order[start:stop]
            yield _Group(classes, stats.counts[classes], d)
            start = stop


def _looks(groups: Iterator[_Group], budget: int) -> Iterator[Sequence[_Group]]:
    """As many groups as fit the budget, at least one."""
    taken: list[_Group] = []
    for group in groups:
        if taken and sum(one.size for one in taken) + group.size > budget:
            yield taken
            taken = []
        taken.append(group)
    yield taken


def _look(stats: ClassStats, features: FeatureSource, groups: Sequence[_Group]) -> None:
    """Hand every sample to the group of its class."""
    device = stats.means.device
    owner = torch.full((max(stats.num_classes, features.num_classes),), _UNKNOWN, device=device)
    owner[stats.labels] = _ANOTHER_LOOK
    position = torch.zeros_like(owner)
    for number, group in enumerate(groups):
        owner[stats.labels[group.classes]] = number
        position[stats.labels[group.classes]] = torch.arange(group.classes.shape[0], device=device)
    for rows, labels in unit_chunks(features):
        order = torch.argsort(labels, stable=True)
        z, y = rows.to(device)[order], labels.to(device)[order]
        if bool((owner[y] == _UNKNOWN).any()):
            raise UndefinedMetric("the features are not the samples of the statistics: they have more classes")
        for number, group in enumerate(groups):
            mine = owner[y] == number
            if bool(mine.any()):
                at, inner = position[y[mine]].sort(stable=True)
                group.add(z[mine][inner], at)
