"""One sweep over all pairs of class means, from which every pair metric reads its sums. Memory is O(K d)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.linalg import CLOSE_PAIR, mean_rounding
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._directions import two_classes
from collapselab.metrics._once import once
from collapselab.metrics._tiles import TILE_ROWS, Tile, Workspace, gram_tiles, sharpen


@dataclass(frozen=True, eq=False)
class ClassPairs:
    """Sums over pairs of classes; D_ij is the distance of two class means, u_k the direction of a centred mean.

    Pairs that have no value are named, not hidden in a sum: ask `coincident`, `parallel` and `central` first.

    Attributes:
        num_pairs: Unordered pairs, K (K - 1) / 2.
        inverse_squared: (k,) sum over j of 1 / D_ij^2.
        worst: (k,) largest over j of (v_i + v_j) / (2 D_ij^2).
        debiased_inverse: (k,) sum over j of 1 / (D_ij^2 - noise_i - noise_j), with noise_k the unbiased variance of a
            class mean; None if a class has a single sample.
        inseparable: Pairs whose debiased squared distance is not positive.
        coincident: Labels of two classes whose means are equal up to rounding.
        central: Label of a class whose mean is the global mean up to rounding, so that it has no direction.
        parallel: Labels of two classes whose centred means have the same direction up to rounding.
        largest_cosine: (k,) largest over j of the cosine u_i . u_j.
        cosine_deviation: Mean over pairs of |u_i . u_j + 1 / (K - 1)|.
        log_kernel_mean: Mean over pairs of -log |u_i - u_j|.
        log_kernel_variance: Their variance, divided by the number of pairs.
        smallest_distance: Smallest |u_i - u_j|.
    """

    num_pairs: int
    inverse_squared: Float[Tensor, " k"]
    worst: Float[Tensor, " k"]
    debiased_inverse: Float[Tensor, " k"] | None
    inseparable: int
    coincident: tuple[int, int] | None
    central: int | None
    parallel: tuple[int, int] | None
    largest_cosine: Float[Tensor, " k"]
    cosine_deviation: Float[Tensor, ""]
    log_kernel_mean: Float[Tensor, ""]
    log_kernel_variance: Float[Tensor, ""]
    smallest_distance: Float[Tensor, ""]


@once
def class_pairs(stats: ClassStats) -> ClassPairs:
    """Sums over all pairs of class means, computed once for each `stats` however many metrics ask.

    Args:
        stats: Class statistics.

    Returns:
        The sums.
    """
    two_classes(stats)
    return _Sweep(stats).run()


class _Sweep:
    """The sums while they grow. Tiles hold cosines of centred means; distances follow from them and the norms."""

    def __init__(self, stats: ClassStats, *, tile: int = TILE_ROWS) -> None:
        k, means = stats.num_seen, stats.centred_means
        self.stats, self.tile = stats, tile
        self.norms = torch.linalg.vector_norm(means, dim=1)
        self.units = torch.where(self.norms[:, None] > 0, means / self.norms[:, None], 0.0)
        self.rounding = mean_rounding(stats.means, stats.class_variances)
        # Noise of a direction: the rounding of the mean and of the global mean over the length of their difference.
        self.turning = 2 * self.rounding.max() / self.norms
        self.several = int(stats.counts.min()) > 1
        self.noise = stats.class_variances_unbiased / stats.counts.double() if self.several else None
        # Cosine and squared distance on a simplex: sums relative to them lose no digits near collapse.
        self.ideal, self.reference = -1 / (k - 1), 2 * k / (k - 1)
        self.inverse, self.worst, self.debiased = means.new_zeros(3, k)
        self.largest = means.new_full((k,), -math.inf)
        self.deviation, self.log_sum, self.log_squares, self.nearest = 0.0, 0.0, 0.0, math.inf
        self.inseparable = 0
        self.left, self.right = (Workspace(means, min(k, tile)) for _ in range(2))
        self.coincident: tuple[int, int] | None = None
        self.parallel: tuple[int, int] | None = None

    def run(self) -> ClassPairs:
        for tile in gram_tiles(self.units, tile=self.tile):
            self._add_cosines(tile)
            apart, squared = self._distances(tile)
            self._add_logarithms(tile, apart)
            self._add_inverse(tile, squared)
            if self.noise is not None:
                self._add_debiased(tile, squared, self.noise)
        return self._result()

    def _add_cosines(self, tile: Tile) -> None:
        """Leaves entries that are no new pair at the cosine of a simplex, where every later sum of them is zero."""
        cosines, rows, columns = tile.values, tile.rows, tile.columns
        if tile.repeated is not None:
            cosines.masked_fill_(tile.repeated, -math.inf)
        self.largest[rows] = torch.maximum(self.largest[rows], cosines.amax(1))
        self.largest[columns] = torch.maximum(self.largest[columns], cosines.amax(0))
        if tile.repeated is not None:
            cosines.masked_fill_(tile.repeated, self.ideal)
        self.deviation += float(torch.sub(cosines, self.ideal, out=self.left.of(*cosines.shape)).abs_().sum())

    def _distances(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """Squared distances of directions and of means; the latter infinite where there is no new pair."""
        a, b = self.norms[tile.rows, None], self.norms[tile.columns]
        apart = torch.mul(tile.values, -2, out=self.left.of(*tile.values.shape)).add_(2)
        squared = tile.values.mul_(-2 * a).mul_(b).add_(a.square()).add_(b.square())
        if tile.repeated is not None:
            squared.masked_fill_(tile.repeated, math.inf)
        # D^2 / (a^2 + b^2) is at least half of |u - v|^2, so pairs close in distance are among those close in angle.
        if float(apart.amin()) < CLOSE_PAIR:
            sharpen(apart, apart < CLOSE_PAIR, self.units[tile.rows], self.units[tile.columns])
            near = squared < CLOSE_PAIR / 2 * (a.square() + b.square())
            sharpen(squared, near, self.stats.means[tile.rows], self.stats.means[tile.columns])
        return apart, squared

    def _add_inverse(self, tile: Tile, squared: Tensor) -> None:
        rows, columns = tile.rows, tile.columns
        if self.coincident is None:
            self.coincident = self._first_below(tile, squared, self.rounding)
        inverse = torch.reciprocal(squared, out=self.left.of(*squared.shape))
        self.inverse[rows] += inverse.sum(1)
        self.inverse[columns] += inverse.sum(0)
        v = self.stats.class_variances / 2
        ratio = inverse.mul_(torch.add(v[rows, None], v[columns], out=self.right.of(*squared.shape)))
        self.worst[rows] = torch.maximum(self.worst[rows], ratio.amax(1))
        self.worst[columns] = torch.maximum(self.worst[columns], ratio.amax(0))

    def _add_debiased(self, tile: Tile, squared: Tensor, noise: Tensor) -> None:
        left = squared.sub_(noise[tile.rows, None]).sub_(noise[tile.columns])
        if float(left.amin()) <= 0:
            self.inseparable += int((left <= 0).sum())
        inverse = left.reciprocal_()
        self.debiased[tile.rows] += inverse.sum(1)
        self.debiased[tile.columns] += inverse.sum(0)

    def _add_logarithms(self, tile: Tile, apart: Tensor) -> None:
        self.nearest = min(self.nearest, float(apart.amin()))
        if self.parallel is None:
            self.parallel = self._first_below(tile, apart, self.turning)
        kernel = apart.div_(self.reference).log_().mul_(-0.5)
        self.log_sum += float(kernel.sum())
        self.log_squares += float(torch.linalg.vector_norm(kernel)) ** 2

    def _first_below(self, tile: Tile, squared: Tensor, bound: Tensor) -> tuple[int, int] | None:
        """Labels of the first pair nearer than the sum of its bounds."""
        if float(squared.amin()) > 4 * float(bound.max()) ** 2:
            return None
        below = squared <= (bound[tile.rows, None] + bound[tile.columns]).square()
        if tile.repeated is not None:
            below &= ~tile.repeated
        found = below.nonzero()
        if found.shape[0] == 0:
            return None
        labels, (i, j) = self.stats.labels, found[0].tolist()
        return int(labels[tile.first + i]), int(labels[tile.second + j])

    def _result(self) -> ClassPairs:
        k, labels = self.stats.num_seen, self.stats.labels
        pairs = k * (k - 1) // 2
        mean = self.log_sum / pairs
        central = (self.norms <= 2 * self.rounding.max()).nonzero()
        scalar = self.norms.new_tensor
        return ClassPairs(
            num_pairs=pairs,
            inverse_squared=self.inverse,
            worst=self.worst,
            debiased_inverse=self.debiased if self.several else None,
            inseparable=self.inseparable,
            coincident=self.coincident,
            central=int(labels[central[0, 0]]) if central.shape[0] else None,
            parallel=self.parallel,
            largest_cosine=self.largest,
            cosine_deviation=scalar(self.deviation / pairs),
            log_kernel_mean=scalar(mean - 0.5 * math.log(self.reference)),
            log_kernel_variance=scalar(max(self.log_squares / pairs - mean**2, 0.0)),
            smallest_distance=scalar(math.sqrt(self.nearest)),
        )
