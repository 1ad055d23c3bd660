"""NC2 as one number: how far the Gram matrix of class vectors is from that of a simplex equiangular tight frame.

The error lies in [0, sqrt 2] for means, whose Gram matrix has no negative eigenvalue. With two classes it is 0 whatever
the data, so it is undefined there; with K > d + 1 it cannot reach 0, and `etf_error_excess` says what is left.
"""

import math

from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._directions import (
    gram_simplex_distance,
    mean_norms,
    simplex_distance,
    spread_of_spectrum,
    three_classes,
    two_classes,
)
from collapselab.metrics._limits import OF_MEANS, OF_WEIGHTS, ZERO
from collapselab.metrics._spec import metric


def rank_floor(num_classes: int, num_features: int) -> float:
    r"""Smallest ETF error that K centred means in d dimensions can have.

    $\sqrt{2-2\sqrt{d/(K-1)}}$ for K > d + 1, reached where the means are a tight frame; 0 otherwise.

    Args:
        num_classes: K.
        num_features: d.

    Returns:
        The floor.
    """
    if num_classes <= num_features + 1:
        return 0.0
    return math.sqrt(2 - 2 * math.sqrt(num_features / (num_classes - 1)))


@metric(
    label="ETF error of means",
    symbol=r"\left\|\frac{G}{\|G\|_F}-\frac{I-\frac1K11^T}{\sqrt{K-1}}\right\|_F",
    at_collapse=ZERO,
    range=(0.0, math.sqrt(2)),
    invariant_under=OF_MEANS,
    source="zhu2021",
)
def etf_error(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Distance of the normalised Gram matrix of the centred class means from that of a simplex ETF.

    From the spectrum: with $\lambda$ the eigenvalues of the Gram matrix its square is
    $\sum_{j\le K-1}(\lambda_j/\|\lambda\|-1/\sqrt{K-1})^2$. No K x K matrix is formed and nothing cancels at collapse.

    Args:
        stats: Class statistics of at least three classes.

    Returns:
        Number in [0, sqrt 2]; 0 on a simplex. For K > d + 1 it cannot fall below `rank_floor`.

    Example:
        >>> round(float(etf_error(collapsed(classes=4))), 12)
        0.0
    """
    three_classes(stats)
    mean_norms(stats)  # refuses coinciding means
    eigenvalues = stats.means_spectrum[0].square()
    return simplex_distance(eigenvalues.sum(), spread_of_spectrum(eigenvalues, stats.num_seen - 1), stats.num_seen)


@metric(
    label="ETF error of means, above the rank floor",
    symbol=r"\frac{\epsilon-\epsilon_{\min}(K,d)}{\sqrt2-\epsilon_{\min}(K,d)}",
    at_collapse=0.0,
    range=(0.0, 1.0),
    invariant_under=OF_MEANS,
    source="wu2024",
)
def etf_error_excess(stats: ClassStats) -> Float[Tensor, ""]:
    r"""ETF error above the smallest value that K means in d dimensions can have, as a share of what remains.

    $(\epsilon-\epsilon_{\min})/(\sqrt2-\epsilon_{\min})$ with $\epsilon_{\min}=\sqrt{2-2\sqrt{d/(K-1)}}$ for K > d + 1
    and 0 otherwise. 0 there means a tight frame, which is as near to a simplex as the rank allows.

    Args:
        stats: Class statistics of at least three classes.

    Returns:
        Number in [0, 1].
    """
    floor = rank_floor(stats.num_seen, stats.num_features)
    return ((etf_error(stats) - floor) / (math.sqrt(2) - floor)).clamp_min(0.0)  # a tight frame rounds to -1e-16


@metric(
    label="ETF error of means, noise removed",
    symbol=r"\left\|\frac{\hat G}{\|\hat G\|_F}-\frac{I-\frac1K11^T}{\sqrt{K-1}}\right\|_F",
    at_collapse=ZERO,
    range=(0.0, math.sqrt(2)),
    invariant_under=("rotation", "scale", "translation", "relabelling"),
    source="zhu2021",
)
def etf_error_debiased(stats: ClassStats) -> Float[Tensor, ""]:
    r"""ETF error of the Gram matrix from which the sampling noise of the class means is taken away.

    $\hat G = CC^T-\Pi\operatorname{diag}(\hat v_k/n_k)\Pi$ with unbiased variances $\hat v_k$. The plug-in error is
    pulled towards 0 by noise, because noise in d >> K dimensions is itself nearly a simplex.

    Args:
        stats: Class statistics of at least three classes with at least two samples each.

    Returns:
        Number in [0, sqrt 2]; 0 on a simplex.

    Raises:
        UndefinedMetric: If a class has a single sample, or the means do not differ by more than their noise.
    """
    three_classes(stats)
    k, norms = stats.num_seen, mean_norms(stats)
    noise = stats.class_variances_unbiased / stats.counts.double()
    eigenvalues = stats.means_spectrum[0].square()
    trace = eigenvalues.sum() - noise.sum() * ((k - 1) / k)
    if float(trace) <= 0:
        raise UndefinedMetric("the class means do not differ by more than their sampling noise")
    # Parts orthogonal to Pi: of C C^T, of Pi diag(noise) Pi, and their inner product; each vanishes on its own.
    uneven, squares = noise - noise.mean(), norms.square()
    residual = spread_of_spectrum(eigenvalues, k - 1)
    residual = residual - 2 * (uneven * (squares - squares.mean())).sum() + uneven.square().sum() * ((k - 2) / k)
    return simplex_distance(trace, residual.clamp_min(0), k)


@metric(
    label="ETF error of weights",
    symbol=r"\left\|\frac{WW^T}{\|WW^T\|_F}-\frac{I-\frac1K11^T}{\sqrt{K-1}}\right\|_F",
    at_collapse=ZERO,
    range=(0.0, math.sqrt(2)),
    invariant_under=OF_WEIGHTS,
    needs=("head",),
    source="zhu2021",
)
def etf_error_weights(stats: ClassStats, head: LinearHead) -> Float[Tensor, ""]:
    """Distance of the normalised Gram matrix of the classifier's rows, not centred, from that of a simplex ETF.

    Args:
        stats: Class statistics of at least two classes.
        head: The classifier.

    Returns:
        Number in [0, sqrt 2]; 0 on a simplex, sqrt 2 where all rows are equal.
    """
    two_classes(stats)
    return gram_simplex_distance(head.weight[stats.labels])
