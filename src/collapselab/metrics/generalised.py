"""Generalised collapse (Jiang et al. 2023): what NC1 and NC2 become on the sphere, for any number of classes.

GNC3 is `generalised_nc3`, among the metrics of duality.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import NotKnown, UndefinedMetric
from collapselab.core.linalg import structural_rank
from collapselab.evidence.features import FeatureSource, LabelledFeatures
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats, OnlineStats
from collapselab.geometry import code_distance, smallest_one_versus_rest
from collapselab.metrics._directions import two_classes, weight_directions
from collapselab.metrics._limits import OF_WEIGHTS
from collapselab.metrics._rounding import resolution
from collapselab.metrics._samples import unit_chunks
from collapselab.metrics._spec import metric

# Each step of the bounds costs K^3: for 512 classes half a second in all, for 1000 two to three, at every measurement.
MOST_CLASSES = 512
"""Most classes whose one-versus-rest distance is measured."""


@metric(
    label="Generalised NC1",
    symbol=r"\tfrac1K\operatorname{tr}(\tilde\Sigma_W\tilde\Sigma_B^{+}),\ \tilde h=h/\|h\|",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=("rotation", "scale", "relabelling", "duplication"),
    needs=("features",),
    source="jiang2023",
)
def generalised_nc1(features: FeatureSource) -> Float[Tensor, ""]:
    r"""Within-class covariance in the metric of the class means, of features divided by their norms.

    `nc1_pinv` of $h/\|h\|$, for models whose last layer looks at directions alone. Two looks at the features, and no
    d x d matrix: residuals are projected on the at most K - 1 directions in which the class means differ.

    Args:
        features: The samples, of at least two classes.

    Returns:
        Non-negative number; 0 at collapse.

    Raises:
        UndefinedMetric: If a feature is zero, or the means of the unit features coincide.
    """
    stats = _of_directions(features)
    two_classes(stats)
    s, v = stats.means_spectrum
    rank = structural_rank(s, floor=math.sqrt(stats.num_seen) * resolution(stats), most=stats.num_seen - 1)
    if rank == 0:
        raise UndefinedMetric("the class means of the unit features coincide")
    axes = v[:, :rank] / s[:rank]
    row_of = torch.zeros(features.num_classes, dtype=torch.int64, device=axes.device)
    row_of[stats.labels] = torch.arange(stats.num_seen, device=axes.device)
    total = axes.new_zeros(())
    for unit, labels in unit_chunks(features):
        total += ((unit - stats.means[row_of[labels]]) @ axes).square().sum()
    return total / stats.num_samples


def _of_directions(features: FeatureSource) -> ClassStats:
    """Class statistics of unit features, without the scatter."""
    online = OnlineStats(features.num_classes, scatter=False)
    for unit, labels in unit_chunks(features):
        online.absorb(ClassStats.of(LabelledFeatures(unit, labels, features.num_classes), scatter=False))
    return online.stats()


def _code_distance(num_classes: int, num_features: int) -> float | None:
    """One-versus-rest distance of the softmax code; None where it is not known."""
    try:
        return code_distance(num_classes, num_features) if num_classes > 1 else None
    except NotKnown:
        return None


@metric(
    label="Generalised NC2",
    symbol=r"\min_k\operatorname{dist}\bigl(\hat w_k,\operatorname{conv}\{\hat w_j\}_{j\ne k}\bigr)",
    at_collapse=_code_distance,
    range=(0.0, 2.0),
    invariant_under=OF_WEIGHTS,
    needs=("head",),
    source="jiang2023",
)
def generalised_nc2(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    r"""Smallest distance of a class's direction in the classifier from the convex hull of all others.

    As large as possible in a softmax code, which class vectors on the sphere tend to as the temperature falls: K/(K-1)
    on a simplex, 1 for d + 2 to 2d classes. Exact to rounding, where a descent on the dual can end below zero.

    Args:
        stats: Class statistics of 2 to 512 classes.
        head: The classifier.

    Returns:
        Distance in [0, 2]; 0 where a row lies in the hull of the others.

    Raises:
        UndefinedMetric: If a row is zero, or there are more classes than that.
    """
    two_classes(stats)
    if stats.num_seen > MOST_CLASSES:
        raise UndefinedMetric(
            f"takes too long for {stats.num_seen} classes, the limit is {MOST_CLASSES}:"
            " ask geometry.smallest_one_versus_rest for it"
        )
    return smallest_one_versus_rest(weight_directions(head.weight[stats.labels])).to(stats.means.device)
