"""Minority collapse: do the class vectors of the small classes fall together?

Under imbalance the classifier's rows of classes with few samples approach one another, until past a critical ratio they
are one; the features of those classes need not. The small classes are those of at most average size: the minority
classes of a step profile, the tail of a long-tailed one, and all classes where they are balanced. Sizes are those of
the data at hand, so that only the training split tells which classes training saw little of.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._class_groups import mean_cosine_within
from collapselab.metrics._directions import mean_directions, three_classes, two_classes, weight_directions
from collapselab.metrics._limits import OF_MEANS, OF_WEIGHTS, ZERO, on_a_simplex
from collapselab.metrics._merging import merged_rows
from collapselab.metrics._spec import metric

# Rows whose distance is at most this part of the largest norm count as one: the logits of two such classes differ by at
# most this part of what the largest row makes of the same feature.
MERGED = 0.05

_EQUAL = on_a_simplex(lambda num_classes: -1 / (num_classes - 1))


def _small(stats: ClassStats) -> Tensor:
    """Which seen classes are of at most average size."""
    counts = stats.counts.double()
    small = counts <= counts.mean()
    if int(small.sum()) < 2:
        raise UndefinedMetric("only one class is of at most average size: there is no pair of them")
    return small


@metric(
    label="Minority collapse, cosine of weights",
    symbol=r"\operatorname{mean}_{k\ne l,\;n_k,n_l\le N/K}\cos(w_k,w_l)",
    at_collapse=_EQUAL,
    range=(-1.0, 1.0),
    invariant_under=OF_WEIGHTS,
    needs=("head",),
    source="fang2021",
)
def minority_cosine_weights(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Mean cosine between the classifier's rows of the classes of at most average size, not centred.

    1 is minority collapse: the classifier no longer tells these classes apart. On balanced data it is the mean over all
    pairs of classes, -1/(K-1) for a simplex.

    Args:
        stats: Class statistics; at least two classes of at most average size.
        head: The classifier.

    Returns:
        Number in [-1, 1]; -1/(K-1) on a simplex.

    Raises:
        UndefinedMetric: If only one class is of at most average size, or a row of such a class is zero.
    """
    two_classes(stats)
    return mean_cosine_within(weight_directions(head.weight[stats.labels[_small(stats)]]))


@metric(
    label="Minority collapse, cosine of means",
    symbol=r"\operatorname{mean}_{k\ne l,\;n_k,n_l\le N/K}\cos(\mu_k-\mu_G,\mu_l-\mu_G)",
    at_collapse=_EQUAL,
    range=(-1.0, 1.0),
    invariant_under=OF_MEANS,
    source="fang2021",
)
def minority_cosine_means(stats: ClassStats) -> Float[Tensor, ""]:
    """Mean cosine between the centred means of the classes of at most average size.

    Args:
        stats: Class statistics of at least three classes; at least two of at most average size.

    Returns:
        Number in [-1, 1]; -1/(K-1) on a simplex.

    Raises:
        UndefinedMetric: If there are two classes, or only one is of at most average size.
    """
    three_classes(stats)
    return mean_cosine_within(mean_directions(stats)[_small(stats)])


def _rows(stats: ClassStats, head: LinearHead) -> Float[Tensor, "k d"]:
    """Classifier's rows of the classes seen over their largest entry, so that no square overflows or vanishes."""
    two_classes(stats)
    rows = head.weight[stats.labels]
    largest = rows.abs().max()
    if float(largest) == 0:
        raise UndefinedMetric("every classifier row is zero")
    return rows / largest


@metric(
    label="Classes whose weights have merged",
    symbol=r"\#\{k:\min_{l\ne k}\|w_k-w_l\|\le0.05\max_m\|w_m\|\}",
    at_collapse=ZERO,
    range=(0.0, math.inf),
    invariant_under=OF_WEIGHTS,
    unit="classes",
    needs=("head",),
    source="fang2021",
)
def merged_classifiers(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Number of classes whose row of the classifier coincides with that of another class, to 5 % of the largest row.

    A test of distances, not of cosines: rows that vanish beside the others have merged too, whatever their directions,
    for the classifier no longer tells their classes apart by the features. The bias may still prefer one of them.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        A whole number, 0 or at least 2; 0 on a simplex.

    Raises:
        UndefinedMetric: If every row is zero.
    """
    rows = _rows(stats, head)
    return merged_rows(rows, MERGED * float(torch.linalg.vector_norm(rows, dim=1).max())).double().sum()


@metric(
    label="Norm of a class's weight",
    symbol=r"\|w_k\|\,/\,\operatorname{rms}_l\|w_l\|",
    at_collapse=on_a_simplex(lambda num_classes: 1.0),
    range=(0.0, math.inf),
    invariant_under=OF_WEIGHTS,
    needs=("head",),
    source="thrampoulidis2022",
    per_class=True,
)
def class_weight_norm(stats: ClassStats, head: LinearHead) -> Float[Tensor, " k"]:
    """Norm of each row of the classifier relative to their root mean square; rows are not centred.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        One number for each seen class; 1 where all norms are equal.

    Raises:
        UndefinedMetric: If every row is zero.
    """
    norms = torch.linalg.vector_norm(_rows(stats, head), dim=1)
    return norms / norms.square().mean().sqrt()
