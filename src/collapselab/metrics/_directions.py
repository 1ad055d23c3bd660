"""Directions of class vectors, and how far a Gram matrix is from that of a simplex: shared by NC2 and NC3."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.core.linalg import mean_rounding
from collapselab.evidence.stats import ClassStats


def two_classes(stats: ClassStats) -> None:
    """Refuse a single class.

    Args:
        stats: Class statistics.

    Raises:
        UndefinedMetric: If fewer than two classes were seen.
    """
    if stats.num_seen < 2:
        raise UndefinedMetric("needs at least two classes with samples, got one")


def three_classes(stats: ClassStats) -> None:
    """Refuse two classes, where every configuration of centred means is the simplex.

    Args:
        stats: Class statistics.

    Raises:
        UndefinedMetric: If fewer than three classes were seen.
    """
    two_classes(stats)
    if stats.num_seen == 2:
        raise UndefinedMetric("two centred class means are opposite whatever the data: the value would say nothing")


def mean_norms(stats: ClassStats) -> Float[Tensor, " k"]:
    """Norms of the centred class means.

    Args:
        stats: Class statistics.

    Returns:
        One norm for each seen class; not all of them zero.

    Raises:
        UndefinedMetric: If there is a single class, or the means differ by no more than rounding.
    """
    two_classes(stats)
    norms = torch.linalg.vector_norm(stats.centred_means, dim=1)
    if float(norms.max()) <= 2 * float(mean_rounding(stats.means, stats.class_variances).max()):
        raise UndefinedMetric("the class means coincide")
    return norms


def mean_directions(stats: ClassStats) -> Float[Tensor, "k d"]:
    """Centred class means divided by their norms.

    Args:
        stats: Class statistics.

    Returns:
        Unit rows.

    Raises:
        UndefinedMetric: If a class mean lies at the global mean, up to rounding, and so has no direction.
    """
    norms = mean_norms(stats)
    central = norms <= 2 * mean_rounding(stats.means, stats.class_variances).max()
    if bool(central.any()):
        label = int(stats.labels[central.nonzero()[0, 0]])
        raise UndefinedMetric(f"the mean of class {label} lies at the global mean: it has no direction")
    return stats.centred_means / norms[:, None]


def weight_directions(weight: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
    """Classifier rows divided by their norms.

    Args:
        weight: Rows of the seen classes.

    Returns:
        Unit rows.

    Raises:
        UndefinedMetric: If a row is zero.
    """
    norms = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
    if float(norms.min()) == 0:
        raise UndefinedMetric("a classifier row is zero: it has no direction")
    return weight / norms


def spread_of_spectrum(eigenvalues: Float[Tensor, " r"], size: int) -> Float[Tensor, ""]:
    r"""Squared deviation $\sum_{j\le m}(\lambda_j-\bar\lambda)^2$ of the m largest eigenvalues, zeros filled in.

    Args:
        eigenvalues: In any order, r of them.
        size: m. If r > m the smallest are left out, if r < m zeros stand for the missing.

    Returns:
        Non-negative number; 0 exactly where all m are equal.
    """
    top = torch.sort(eigenvalues, descending=True).values[:size]
    mean = top.sum() / size
    return (top - mean).square().sum() + (size - top.shape[0]) * mean.square()


def simplex_distance(trace: Float[Tensor, ""], residual: Float[Tensor, ""], num_classes: int) -> Float[Tensor, ""]:
    r"""$\|A/\|A\|_F-\Pi/\sqrt{K-1}\|_F$ from the part of A along $\Pi=I-\tfrac1K11^T$ and the part orthogonal to it.

    With $A=\tfrac{t}{K-1}\Pi+R$ and $\langle R,\Pi\rangle=0$ both matrices are unit vectors at the angle
    $\theta=\operatorname{atan2}(\|R\|,t/\sqrt{K-1})$, so that the distance is $2\sin(\theta/2)$. The usual form
    $\sqrt{2-2\cos\theta}$ has lost every digit once the distance is 1e-8.

    Args:
        trace: t, the inner product of A with Pi.
        residual: Squared norm of R.
        num_classes: K.

    Returns:
        Distance in [0, 2].

    Raises:
        UndefinedMetric: If A is zero.
    """
    along = trace / math.sqrt(num_classes - 1)
    if float(along) == 0 and float(residual) == 0:
        raise UndefinedMetric("the Gram matrix is zero: there is nothing to compare with a simplex")
    return 2 * torch.sin(torch.atan2(residual.sqrt(), along) / 2)


def _beside_centring(rows: Float[Tensor, "k d"]) -> tuple[Tensor, Tensor, Tensor]:
    """R = R' + 1 m^T with R' centred: the spectrum of R'^T R', |R' m|^2 and |m|^2."""
    mean = rows.mean(0)
    centred = rows - mean
    k, d = rows.shape
    # On the shorter side. Eigenvalues are exact relative to the largest: what a distance from equal ones needs.
    spectrum = torch.linalg.eigvalsh(centred.T @ centred if k > d else centred @ centred.T)
    return spectrum, (centred @ mean).square().sum(), mean.square().sum()


def spread_of_cosines(rows: Float[Tensor, "k d"]) -> Float[Tensor, ""]:
    r"""Standard deviation of the cosines of all pairs, without forming a pair and without cancellation.

    The Gram matrix of unit rows has a unit diagonal, so mean and variance of the rest follow from the centred spectrum
    $\lambda$ and the mean row m: $K(K-1)\operatorname{var}=\sum_{j<K}(\lambda_j-\bar\lambda)^2+2K|R'm|^2$.

    Args:
        rows: Unit rows, at least three.

    Returns:
        Non-negative number, exact to the rounding of a cosine.
    """
    k = rows.shape[0]
    eigenvalues, cross, _ = _beside_centring(rows)
    return ((spread_of_spectrum(eigenvalues, k - 1) + 2 * k * cross) / (k * (k - 1))).sqrt()


def gram_simplex_distance(rows: Float[Tensor, "k d"]) -> Float[Tensor, ""]:
    r"""`simplex_distance` of $RR^T$ for rows that need not be centred.

    Args:
        rows: R, at least two rows.

    Returns:
        Distance in [0, sqrt 2].
    """
    k = rows.shape[0]
    eigenvalues, cross, mean = _beside_centring(rows)
    residual = spread_of_spectrum(eigenvalues, k - 1) + 2 * k * cross + (k * mean).square()
    return simplex_distance(eigenvalues.sum(), residual, k)
