"""Directional CDNV: only the variation along the line that joins two class means makes them overlap."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence.features import FeatureSource
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._limits import OF_MEANS
from collapselab.metrics._samples import residual_chunks
from collapselab.metrics._spec import metric
from collapselab.metrics._tiles import Tile, squared_distances
from collapselab.metrics.pairs import distinct_pairs

# Sums of K x columns held at once: 2^24 values are 128 MB. Up to 4096 classes one look at the features is enough.
_SUMS = 2**24


@metric(
    label="Directional CDNV",
    symbol=r"\operatorname{mean}_{i\ne j}\frac{u_{ij}^T\Sigma_iu_{ij}}{\|\mu_i-\mu_j\|^2}",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    needs=("features",),
    source="luthra2025",
)
def directional_cdnv(stats: ClassStats, features: FeatureSource) -> Float[Tensor, ""]:
    r"""Variance of a class along the line to another class mean, over their squared distance, mean over ordered pairs.

    $\tilde V_{ij}=u^T\Sigma_iu/D^2$ with $D=\|\mu_i-\mu_j\|$ and $u=(\mu_j-\mu_i)/D$. At most `cdnv_ordered`, and far
    below it where most of the variation is orthogonal to the means. No class covariance is formed: the projections of
    all residuals on all differences of means are one N x K product.

    Args:
        stats: Class statistics of at least two classes.
        features: The same samples again.

    Returns:
        Non-negative number; 0 at collapse.

    Raises:
        UndefinedMetric: If two class means coincide, or a class has a mean but no sample or the other way round.
    """
    distinct_pairs(stats)
    k = stats.num_seen
    width = max(_SUMS // k, 1)
    total = sum(_columns(stats, features, start, width) for start in range(0, k, width))
    return torch.as_tensor(total, dtype=torch.float64, device=stats.means.device) / (k * (k - 1))


def _columns(stats: ClassStats, features: FeatureSource, start: int, width: int) -> Tensor:
    """Sum of u^T Sigma_i u / D^2 over all i and the columns j = start, start + 1, ..."""
    centres = stats.centred_means
    some = centres[start : start + width]
    sums, counts = centres.new_zeros(centres.shape[0], some.shape[0]), centres.new_zeros(centres.shape[0])
    for residuals, at in residual_chunks(stats, features):
        own = (residuals * centres[at]).sum(1, keepdim=True)
        sums.index_add_(0, at, torch.mm(residuals, some.T).sub_(own).square_())
        counts += torch.bincount(at, minlength=centres.shape[0])
    if float(counts.min()) == 0:
        label = int(stats.labels[counts.argmin()])
        raise UndefinedMetric(f"class {label} has a mean but no sample among the features looked at")
    block = Tile(0, start, centres @ some.T)
    squared_distances(centres, centres.square().sum(1), block)
    inverse = block.values.reciprocal_()
    inverse[start : start + width].fill_diagonal_(0.0)  # a class and itself are no pair
    return sums.mul_(inverse).mul_(inverse).sum(1) @ counts.reciprocal()
