"""NC2: do the class means (and the rows of the classifier) form a simplex equiangular tight frame?

Everything about means uses them centred at the mean of class means; rows of the classifier are taken as they are. With
two classes the centred means are opposite whatever the data, so a metric of means alone is undefined there: it would
always report its own limit. Up to d + 1 classes fit on a simplex in d dimensions; past that no limit is declared.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._angles import Angles, mean_angles
from collapselab.metrics._directions import (
    mean_directions,
    mean_norms,
    spread_of_cosines,
    three_classes,
    two_classes,
    weight_directions,
)
from collapselab.metrics._limits import OF_MEANS, OF_WEIGHTS, ZERO, on_a_simplex
from collapselab.metrics._spec import metric


def _variation(norms: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """Coefficient of variation; the standard deviation divides by K - 1."""
    if float(norms.max()) == 0:
        raise UndefinedMetric("every classifier row is zero")
    return torch.std(norms) / norms.mean()


@metric(
    label="NC2, equal norms of means",
    symbol=r"\operatorname{sd}_k\|\mu_k-\mu_G\|\,/\,\operatorname{mean}_k\|\mu_k-\mu_G\|",
    at_collapse=ZERO,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="papyan2020",
)
def nc2_equinorm_means(stats: ClassStats) -> Float[Tensor, ""]:
    """Coefficient of variation of the norms of the centred class means.

    The standard deviation divides by K - 1, as in the notebook published with the paper.

    Args:
        stats: Class statistics of at least three classes.

    Returns:
        Non-negative number; 0 where all norms are equal.

    Example:
        >>> round(float(nc2_equinorm_means(collapsed(classes=4))), 12)
        0.0
    """
    three_classes(stats)
    return _variation(mean_norms(stats))


@metric(
    label="NC2, equal norms of weights",
    symbol=r"\operatorname{sd}_k\|w_k\|\,/\,\operatorname{mean}_k\|w_k\|",
    at_collapse=ZERO,
    range=(0.0, math.inf),
    invariant_under=OF_WEIGHTS,
    needs=("head",),
    source="papyan2020",
)
def nc2_equinorm_weights(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Coefficient of variation of the norms of the classifier's rows.

    The standard deviation divides by K - 1; rows of classes never seen do not count.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        Non-negative number; 0 where all norms are equal.
    """
    two_classes(stats)
    return _variation(torch.linalg.vector_norm(head.weight[stats.labels], dim=1))


@metric(
    label="NC2, equal angles of means",
    symbol=r"\operatorname{sd}_{k\ne l}\cos(\mu_k-\mu_G,\mu_l-\mu_G)",
    at_collapse=ZERO,
    range=(0.0, 1.0),
    invariant_under=OF_MEANS,
    source="papyan2020",
)
def nc2_equiangularity_means(stats: ClassStats) -> Float[Tensor, ""]:
    """Standard deviation of the cosines between centred class means.

    Over all pairs, divided by their number. From the spectrum of the directions: no pair is formed, no digit cancels.

    Args:
        stats: Class statistics of at least three classes.

    Returns:
        Number in [0, 1]; 0 where all angles are equal.

    Example:
        >>> round(float(nc2_equiangularity_means(collapsed(classes=4))), 12)
        0.0
    """
    three_classes(stats)
    return spread_of_cosines(mean_directions(stats))


@metric(
    label="NC2, equal angles of weights",
    symbol=r"\operatorname{sd}_{k\ne l}\cos(w_k,w_l)",
    at_collapse=ZERO,
    range=(0.0, 1.0),
    invariant_under=OF_WEIGHTS,
    needs=("head",),
    source="papyan2020",
)
def nc2_equiangularity_weights(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Standard deviation of the cosines between rows of the classifier, not centred.

    Args:
        stats: Class statistics of at least three classes.
        head: The classifier.

    Returns:
        Number in [0, 1]; 0 where all angles are equal.

    Raises:
        UndefinedMetric: If there are two classes: a single angle has no spread.
    """
    two_classes(stats)
    if stats.num_seen == 2:
        raise UndefinedMetric("two classes make one angle: it has no spread")
    return spread_of_cosines(weight_directions(head.weight[stats.labels]))


@metric(
    label="NC2, angle to the simplex, means",
    symbol=r"\operatorname{mean}_{k\ne l}|\cos(\mu_k-\mu_G,\mu_l-\mu_G)+\tfrac1{K-1}|",
    at_collapse=ZERO,
    range=(0.0, 2.0),
    invariant_under=OF_MEANS,
    source="papyan2020",
)
def nc2_max_angle_means(stats: ClassStats) -> Float[Tensor, ""]:
    """Mean distance of the cosines between centred class means from -1/(K-1), the largest equal angle possible.

    Args:
        stats: Class statistics of at least three classes.

    Returns:
        Non-negative number; 0 on a simplex.
    """
    three_classes(stats)
    return mean_angles(stats).deviation


@metric(
    label="NC2, angle to the simplex, weights",
    symbol=r"\operatorname{mean}_{k\ne l}|\cos(w_k,w_l)+\tfrac1{K-1}|",
    at_collapse=ZERO,
    range=(0.0, 2.0),
    invariant_under=OF_WEIGHTS,
    needs=("head",),
    source="papyan2020",
)
def nc2_max_angle_weights(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Mean distance of the cosines between rows of the classifier from -1/(K-1), the largest equal angle possible.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        Non-negative number; 0 on a simplex.
    """
    two_classes(stats)
    return Angles.between(weight_directions(head.weight[stats.labels])).deviation


@metric(
    label="Norm of a class mean",
    symbol=r"\|\mu_k-\mu_G\|\,/\,\operatorname{rms}_l\|\mu_l-\mu_G\|",
    at_collapse=on_a_simplex(lambda num_classes: 1.0),
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="papyan2020",
    per_class=True,
)
def class_mean_norm(stats: ClassStats) -> Float[Tensor, " k"]:
    """Norm of each centred class mean relative to their root mean square.

    Args:
        stats: Class statistics of at least three classes.

    Returns:
        One number for each seen class; 1 where all norms are equal.
    """
    three_classes(stats)
    norms = mean_norms(stats)
    return norms / norms.square().mean().sqrt()


@metric(
    label="Cosine with the nearest other class mean",
    symbol=r"\max_{l\ne k}\cos(\mu_k-\mu_G,\mu_l-\mu_G)",
    at_collapse=on_a_simplex(lambda num_classes: -1 / (num_classes - 1)),
    range=(-1.0, 1.0),
    invariant_under=OF_MEANS,
    source="papyan2020",
    per_class=True,
)
def class_max_cosine(stats: ClassStats) -> Float[Tensor, " k"]:
    """Largest cosine of each centred class mean with another one.

    Args:
        stats: Class statistics of at least three classes.

    Returns:
        One number for each seen class; -1/(K-1) on a simplex.
    """
    three_classes(stats)
    return mean_angles(stats).largest
