"""NC3: do the rows of the classifier point where the centred class means point?

Means are centred at the mean of class means; rows of the classifier are taken as they are, for the seen classes only.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._directions import (
    mean_directions,
    mean_norms,
    simplex_distance,
    two_classes,
    weight_directions,
)
from collapselab.metrics._limits import OF_MEANS, ZERO
from collapselab.metrics._spec import Invariance, metric

_OF_BOTH: tuple[Invariance, ...] = (*OF_MEANS, "head_scale")


def _rows(stats: ClassStats, head: LinearHead) -> Float[Tensor, "k d"]:
    """Classifier rows of the seen classes."""
    return head.weight[stats.labels]


def _cosines(stats: ClassStats, head: LinearHead) -> Float[Tensor, " k"]:
    """Cosine of each row with its own class mean. From half the squared difference: 1 - 1e-20 is not rounded to 1."""
    return 1 - _gaps(stats, head)


def _gaps(stats: ClassStats, head: LinearHead) -> Float[Tensor, " k"]:
    """1 - cosine of each row with its own class mean, as half the squared distance of the directions."""
    return (weight_directions(_rows(stats, head)) - mean_directions(stats)).square().sum(1) / 2


@metric(
    label="NC3, self-duality",
    symbol=r"\left\|\frac{W}{\|W\|_F}-\frac{M}{\|M\|_F}\right\|_F^2",
    at_collapse=0.0,
    range=(0.0, 4.0),
    invariant_under=_OF_BOTH,
    needs=("head",),
    source="papyan2020",
)
def nc3_duality(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    r"""Squared distance of the normalised classifier from the normalised matrix of centred class means.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        Number in [0, 4]; 0 where the rows are proportional to the means, 2 for an unrelated classifier.

    Raises:
        UndefinedMetric: If the classifier is zero or the class means coincide.
    """
    length, weight = torch.linalg.vector_norm(mean_norms(stats)), _rows(stats, head)
    size = torch.linalg.matrix_norm(weight)
    if float(size) == 0:
        raise UndefinedMetric("every classifier row is zero")
    return (weight / size - stats.centred_means / length).square().sum()


@metric(
    label="NC3, duality error",
    symbol=r"\left\|\frac{WM^T}{\|WM^T\|_F}-\frac{I-\frac1K11^T}{\sqrt{K-1}}\right\|_F",
    at_collapse=ZERO,
    range=(0.0, 2.0),
    invariant_under=_OF_BOTH,
    needs=("head",),
    source="zhu2021",
)
def duality_error(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    r"""Distance of the normalised product of classifier and centred class means from the Gram matrix of a simplex.

    For K > d + 1 it has a floor, and the norm of the product follows from two d x d matrices. Otherwise the K x K
    product is no larger than the means, and the small difference is formed entry by entry: nothing cancels.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        Number in [0, 2]; 0 where product and simplex agree.
    """
    mean_norms(stats)  # refuses coinciding means
    weight, means, k = _rows(stats, head), stats.centred_means, stats.num_seen
    trace = (weight * means).sum()  # the mean over all classes, which Pi takes away, is zero: means are centred
    if k > stats.num_features + 1:
        residual = ((means.T @ means) * (weight.T @ weight)).sum() - trace.square() / (k - 1)
        return simplex_distance(trace, residual.clamp_min(0), k)
    along = trace / (k - 1)
    product = weight @ means.T + along / k
    product.diagonal().sub_(along)
    return simplex_distance(trace, product.square().sum(), k)


@metric(
    label="NC3, cosine of weights and means",
    symbol=r"\operatorname{mean}_k\cos(w_k,\mu_k-\mu_G)",
    at_collapse=1.0,
    range=(-1.0, 1.0),
    invariant_under=_OF_BOTH,
    needs=("head",),
    source="papyan2020",
)
def nc3_cosine(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Mean cosine between the classifier's rows and their centred class means.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        Number in [-1, 1]; 1 where every row points along its class mean.
    """
    return _cosines(stats, head).mean()


@metric(
    label="Generalised NC3",
    symbol=r"\operatorname{mean}_k\,1-\cos(w_k,\mu_k-\mu_G)",
    at_collapse=0.0,
    range=(0.0, 2.0),
    invariant_under=_OF_BOTH,
    needs=("head",),
    source="jiang2023",
)
def generalised_nc3(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Mean of 1 - cosine between the classifier's rows and their centred class means.

    1 - `nc3_cosine`, computed from the differences of directions so that it keeps its digits near 0.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        Number in [0, 2]; 0 where every row points along its class mean.
    """
    return _gaps(stats, head).mean()


@metric(
    label="UNC3, mean cosine",
    symbol=r"\operatorname{mean}_k\cos(w_k,\mu_k-\mu_G)",
    at_collapse=1.0,
    range=(-1.0, 1.0),
    invariant_under=_OF_BOTH,
    needs=("head",),
    source="wu2024",
)
def unc3_mean(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Mean of the cosines whose variance is `unc3_variance`: the number `nc3_cosine`, under the name it is read by.

    A variance alone is no evidence of duality: an untrained classifier can have a small one, at a mean near 0.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        Number in [-1, 1]; 1 where every row points along its class mean.
    """
    return nc3_cosine(stats, head)


@metric(
    label="UNC3, variance of cosines",
    symbol=r"\operatorname{var}_k\cos(w_k,\mu_k-\mu_G)",
    at_collapse=0.0,
    range=(0.0, 1.0),
    invariant_under=_OF_BOTH,
    needs=("head",),
    source="wu2024",
)
def unc3_variance(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Variance over classes of the cosines between the classifier's rows and their class means, divided by K.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        Number in [0, 1]; 0 where all rows are equally well aligned.
    """
    return torch.var(_gaps(stats, head), correction=0)


@metric(
    label="UNC3, variance of inner products",
    symbol=r"\operatorname{var}_k\langle w_k,\mu_k-\mu_G\rangle",
    at_collapse=ZERO,
    range=(0.0, math.inf),
    invariant_under=("rotation", "translation", "relabelling", "duplication"),
    unit="logit^2",
    needs=("head",),
    source="wu2024",
)
def unc3_dot_variance(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Variance over classes of the inner products of the classifier's rows and their class means, divided by K.

    In squared logits: compare it only between models of the same scale.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        Non-negative number; 0 where all products are equal.
    """
    two_classes(stats)
    return torch.var((_rows(stats, head) * stats.centred_means).sum(1), correction=0)


@metric(
    label="Logits at the global mean",
    symbol=r"\|W\mu_G+b\|_2",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=("rotation", "relabelling", "duplication"),
    unit="logit",
    needs=("head",),
    source="zhu2021",
)
def bias_collapse(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    r"""Norm of the logits at the global mean of the features.

    $\|W\mu_G+b\|$ over the seen classes, with b = 0 for a classifier without bias, as the code published with the paper
    counts it. A constant added to every logit changes no decision but enters here.

    Args:
        stats: Class statistics.
        head: The classifier.

    Returns:
        Non-negative number; 0 where the bias does no more than centre the features.
    """
    logits = _rows(stats, head) @ stats.global_mean
    if head.bias is not None:
        logits = logits + head.bias[stats.labels]
    return torch.linalg.vector_norm(logits)


@metric(
    label="Cosine of a class's weight and mean",
    symbol=r"\cos(w_k,\mu_k-\mu_G)",
    at_collapse=1.0,
    range=(-1.0, 1.0),
    invariant_under=_OF_BOTH,
    needs=("head",),
    source="papyan2020",
    per_class=True,
)
def class_duality_cosine(stats: ClassStats, head: LinearHead) -> Float[Tensor, " k"]:
    """Cosine between each class's classifier row and its centred mean.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        One number for each seen class; 1 where the row points along the mean.
    """
    return _cosines(stats, head)
