"""Imbalance, group by group: how the geometry of the largest classes differs from that of the smallest.

The head group is the third of the classes with most samples, the tail group that with fewest; `class_groups` of
`collapselab.records.groups` states the rule. Sizes are those of the data at hand. On a simplex the groups look alike.
Under imbalance the classifier's rows of the tail are short and close to one another; where regularisation vanishes, the
class means of the tail are longer than the others and farther apart instead.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._class_groups import group_of, mean_cosine_between, mean_cosine_within
from collapselab.metrics._directions import mean_directions, mean_norms, three_classes, weight_directions
from collapselab.metrics._limits import OF_MEANS, OF_WEIGHTS, on_a_simplex
from collapselab.metrics._spec import metric
from collapselab.metrics.ratio import nc1_trace_ratio
from collapselab.records.groups import ClassGroup

_EQUAL = on_a_simplex(lambda num_classes: -1 / (num_classes - 1))
_ONE = on_a_simplex(lambda num_classes: 1.0)


def _means(stats: ClassStats, group: ClassGroup, *, at_least: int = 1) -> Float[Tensor, "m d"]:
    """Directions of the centred means of a group."""
    place = group_of(stats, group, at_least=at_least)
    three_classes(stats)
    return mean_directions(stats)[place]


def _weights(stats: ClassStats, head: LinearHead, group: ClassGroup, *, at_least: int = 1) -> Float[Tensor, "m d"]:
    """Directions of the classifier's rows of a group."""
    return weight_directions(head.weight[stats.labels[group_of(stats, group, at_least=at_least)]])


@metric(
    label="Cosine of means, head group",
    symbol=r"\operatorname{mean}_{k\ne l\in\mathrm{head}}\cos(\mu_k-\mu_G,\mu_l-\mu_G)",
    at_collapse=_EQUAL,
    range=(-1.0, 1.0),
    invariant_under=OF_MEANS,
    source="thrampoulidis2022",
)
def head_group_cosine_means(stats: ClassStats) -> Float[Tensor, ""]:
    """Mean cosine between the centred means of the largest classes, the head group.

    Args:
        stats: Class statistics of at least three classes of different sizes, two of them in the head group.

    Returns:
        Number in [-1, 1]; -1/(K-1) on a simplex.
    """
    return mean_cosine_within(_means(stats, "head", at_least=2))


@metric(
    label="Cosine of means, tail group",
    symbol=r"\operatorname{mean}_{k\ne l\in\mathrm{tail}}\cos(\mu_k-\mu_G,\mu_l-\mu_G)",
    at_collapse=_EQUAL,
    range=(-1.0, 1.0),
    invariant_under=OF_MEANS,
    source="thrampoulidis2022",
)
def tail_group_cosine_means(stats: ClassStats) -> Float[Tensor, ""]:
    """Mean cosine between the centred means of the smallest classes, the tail group.

    Args:
        stats: Class statistics of at least three classes of different sizes, two of them in the tail group.

    Returns:
        Number in [-1, 1]; -1/(K-1) on a simplex.
    """
    return mean_cosine_within(_means(stats, "tail", at_least=2))


@metric(
    label="Cosine of means, head with tail",
    symbol=r"\operatorname{mean}_{k\in\mathrm{head},\,l\in\mathrm{tail}}\cos(\mu_k-\mu_G,\mu_l-\mu_G)",
    at_collapse=_EQUAL,
    range=(-1.0, 1.0),
    invariant_under=OF_MEANS,
    source="thrampoulidis2022",
)
def head_tail_cosine_means(stats: ClassStats) -> Float[Tensor, ""]:
    """Mean cosine between a centred mean of the largest classes (head group) and one of the smallest (tail group).

    Args:
        stats: Class statistics of at least three classes of different sizes.

    Returns:
        Number in [-1, 1]; -1/(K-1) on a simplex.
    """
    return mean_cosine_between(_means(stats, "head"), _means(stats, "tail"))


@metric(
    label="Cosine of weights, head group",
    symbol=r"\operatorname{mean}_{k\ne l\in\mathrm{head}}\cos(w_k,w_l)",
    at_collapse=_EQUAL,
    range=(-1.0, 1.0),
    invariant_under=OF_WEIGHTS,
    needs=("head",),
    source="fang2021",
)
def head_group_cosine_weights(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Mean cosine between the classifier's rows of the largest classes, the head group, not centred.

    Args:
        stats: Class statistics of classes of different sizes, at least two of them in the head group.
        head: The classifier.

    Returns:
        Number in [-1, 1]; -1/(K-1) on a simplex.
    """
    return mean_cosine_within(_weights(stats, head, "head", at_least=2))


@metric(
    label="Cosine of weights, tail group",
    symbol=r"\operatorname{mean}_{k\ne l\in\mathrm{tail}}\cos(w_k,w_l)",
    at_collapse=_EQUAL,
    range=(-1.0, 1.0),
    invariant_under=OF_WEIGHTS,
    needs=("head",),
    source="fang2021",
)
def tail_group_cosine_weights(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Mean cosine between the classifier's rows of the smallest classes, the tail group, not centred.

    1 is minority collapse. `minority_cosine_weights` takes all classes of at most average size, a larger part of a long
    tail.

    Args:
        stats: Class statistics of classes of different sizes, at least two of them in the tail group.
        head: The classifier.

    Returns:
        Number in [-1, 1]; -1/(K-1) on a simplex.
    """
    return mean_cosine_within(_weights(stats, head, "tail", at_least=2))


@metric(
    label="Cosine of weights, head with tail",
    symbol=r"\operatorname{mean}_{k\in\mathrm{head},\,l\in\mathrm{tail}}\cos(w_k,w_l)",
    at_collapse=_EQUAL,
    range=(-1.0, 1.0),
    invariant_under=OF_WEIGHTS,
    needs=("head",),
    source="fang2021",
)
def head_tail_cosine_weights(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Mean cosine between a classifier's row of the largest classes (head group) and one of the smallest (tail group).

    Args:
        stats: Class statistics of classes of different sizes.
        head: The classifier.

    Returns:
        Number in [-1, 1]; -1/(K-1) on a simplex.
    """
    return mean_cosine_between(_weights(stats, head, "head"), _weights(stats, head, "tail"))


@metric(
    label="Norm of means, head over tail",
    symbol=r"\operatorname{mean}_{k\in\mathrm{head}}\|\mu_k-\mu_G\|\,/\,\operatorname{mean}_{k\in\mathrm{tail}}\|\mu_k-\mu_G\|",
    at_collapse=_ONE,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="thrampoulidis2022",
)
def head_tail_norm_ratio_means(stats: ClassStats) -> Float[Tensor, ""]:
    """Mean norm of the centred means of the largest classes (head group) over that of the smallest (tail group).

    Args:
        stats: Class statistics of at least three classes of different sizes.

    Returns:
        Non-negative number; 1 on a simplex.

    Raises:
        UndefinedMetric: If the means of the tail group lie at the global mean.
    """
    head, tail = group_of(stats, "head"), group_of(stats, "tail")
    three_classes(stats)
    mean_directions(stats)  # refuses a mean at the global mean: its norm is rounding
    norms = mean_norms(stats)
    return norms[head].mean() / norms[tail].mean()


@metric(
    label="Norm of weights, head over tail",
    symbol=r"\operatorname{mean}_{k\in\mathrm{head}}\|w_k\|\,/\,\operatorname{mean}_{k\in\mathrm{tail}}\|w_k\|",
    at_collapse=_ONE,
    range=(0.0, math.inf),
    invariant_under=OF_WEIGHTS,
    needs=("head",),
    source="thrampoulidis2022",
)
def head_tail_norm_ratio_weights(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Mean norm of the classifier's rows of the largest classes (head group) over that of the smallest (tail group).

    Args:
        stats: Class statistics of classes of different sizes.
        head: The classifier.

    Returns:
        Non-negative number; 1 on a simplex.

    Raises:
        UndefinedMetric: If the rows of the tail group are zero.
    """
    large, small = group_of(stats, "head"), group_of(stats, "tail")
    norms = torch.linalg.vector_norm(head.weight[stats.labels], dim=1)
    if float(norms[small].max()) == 0:
        raise UndefinedMetric("the classifier's rows of the tail group are zero: their norm has no ratio to another")
    return norms[large].mean() / norms[small].mean()


def _alone(stats: ClassStats, group: ClassGroup) -> ClassStats:
    """The statistics of a group, as if there were no other classes."""
    at = group_of(stats, group, at_least=2)
    return ClassStats(stats.num_classes, stats.labels[at], stats.counts[at], stats.means[at], stats.class_scatter[at])


@metric(
    label="NC1, trace ratio, head group",
    symbol=r"\operatorname{tr}\Sigma_{W,\mathrm{head}}/\operatorname{tr}\Sigma_{B,\mathrm{head}}",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="tirer2022",
)
def head_group_trace_ratio(stats: ClassStats) -> Float[Tensor, ""]:
    """`nc1_trace_ratio` of the largest classes, the head group alone, centred at the mean of their own means.

    Args:
        stats: Class statistics of classes of different sizes, at least two of them in the head group.

    Returns:
        Non-negative number; 0 at collapse.
    """
    return nc1_trace_ratio(_alone(stats, "head"))


@metric(
    label="NC1, trace ratio, tail group",
    symbol=r"\operatorname{tr}\Sigma_{W,\mathrm{tail}}/\operatorname{tr}\Sigma_{B,\mathrm{tail}}",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="tirer2022",
)
def tail_group_trace_ratio(stats: ClassStats) -> Float[Tensor, ""]:
    """`nc1_trace_ratio` of the smallest classes, the tail group alone, centred at the mean of their own means.

    Large where small classes lie as close to one another as their own samples do: the spread of the other classes does
    not hide it.

    Args:
        stats: Class statistics of classes of different sizes, at least two of them in the tail group.

    Returns:
        Non-negative number; 0 at collapse.
    """
    return nc1_trace_ratio(_alone(stats, "tail"))
