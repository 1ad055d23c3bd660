"""Minority collapse: do the class vectors of the small classes fall together?

Under imbalance the classifier's rows of classes with few samples approach one another, until past a critical ratio they
are one; the features of those classes need not. The small classes are those of at most average size: the minority
classes of a step profile, the tail of a long-tailed one, and all classes where they are balanced. Sizes are those of
the data at hand, so that only the training split tells which classes training saw little of.
"""

from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._directions import mean_directions, three_classes, two_classes, weight_directions
from collapselab.metrics._limits import OF_MEANS, OF_WEIGHTS, on_a_simplex
from collapselab.metrics._spec import metric

_EQUAL = on_a_simplex(lambda num_classes: -1 / (num_classes - 1))


def _small(stats: ClassStats) -> Tensor:
    """Which seen classes are of at most average size."""
    counts = stats.counts.double()
    small = counts <= counts.mean()
    if int(small.sum()) < 2:
        raise UndefinedMetric("only one class is of at most average size: there is no pair of them")
    return small


def _mean_cosine(directions: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """Mean over ordered pairs of different unit rows, from the norm of their sum."""
    m = directions.shape[0]
    return ((directions.sum(0).square().sum() - m) / (m * (m - 1))).clamp(-1.0, 1.0)


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
    return _mean_cosine(weight_directions(head.weight[stats.labels[_small(stats)]]))


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
    return _mean_cosine(mean_directions(stats)[_small(stats)])
