r"""How far weight matrices are from random ones and from full rank: stable rank, Marchenko-Pastur bulk, rank loss.

The spectrum is that of $X = W^TW/N$ for W with N rows and M columns, N at least M (a wide matrix is transposed), and
$Q = N/M$. Where the entries are independent with variance $\sigma^2$, it fills the interval
$\sigma^2(1 \pm 1/\sqrt Q)^2$ as the matrix grows. Rank collapse is a spectrum of a few large eigenvalues with the rest
shrunk to nothing: a stable rank near 1, and a rank loss above 0. The other phases of Martin and Mahoney (2021) are told
apart by fits of power laws to the tail, which say little for matrices as small as those of most classifiers; they are
left out.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import UndefinedMetric

# Points of the angle at which the Marchenko-Pastur density is added up; smooth there, so that many digits are right.
_POINTS = 20001


def stable_rank(weight: Tensor) -> Tensor:
    r"""How many directions a matrix acts in, weighted by how much, $\lVert W\rVert_F^2/\lVert W\rVert_2^2$.

    Args:
        weight: A matrix (rows, columns).

    Returns:
        0-d in float64, from 1 to the rank.

    Raises:
        UndefinedMetric: If the matrix is 0.

    Example:
        >>> float(stable_rank(torch.diag(torch.tensor([2.0, 1.0, 1.0]))))
        1.5
    """
    s = _singular_values(weight)
    return (s / _positive(s[0], "the matrix is 0, and so is its largest singular value")).square().sum()


def rank_loss(weight: Tensor) -> Tensor:
    r"""How many singular values are 0 but for the rounding of the numbers that the matrix is stored in.

    Those up to $\max(N, M)\,\epsilon\,s_1$ with the resolution $\epsilon$ of the matrix's own type count as 0.

    Args:
        weight: A matrix (rows, columns).

    Returns:
        0-d in int64, from 0 to the smaller of the two sizes.

    Example:
        >>> int(rank_loss(torch.ones(3, 2)))
        1
    """
    weight = checks.matrix(weight, "weight", axes="(rows, columns)")
    s, resolution = _singular_values(weight), torch.finfo(weight.dtype).eps
    return (s <= max(weight.shape) * resolution * s[0]).sum()


def marchenko_pastur_edges(variance: float, aspect: float) -> tuple[float, float]:
    r"""Where the spectrum of a large random matrix begins and ends, $\sigma^2(1 \pm 1/\sqrt Q)^2$.

    Args:
        variance: Of the entries.
        aspect: Q, rows over columns, at least 1.

    Returns:
        Lower and upper edge.

    Example:
        >>> marchenko_pastur_edges(1.0, 4.0)
        (0.25, 2.25)
    """
    variance = checks.real(variance, "variance", at_least=0)
    half = 1 / math.sqrt(checks.real(aspect, "aspect", at_least=1))
    return variance * (1 - half) ** 2, variance * (1 + half) ** 2


def entry_variance(weight: Tensor) -> Tensor:
    r"""Mean square of the entries, $\lVert W\rVert_F^2/(NM)$: the variance of a bulk that is all there is.

    Args:
        weight: A matrix (rows, columns).

    Returns:
        0-d in float64; large eigenvalues outside the bulk raise it.
    """
    return checks.matrix(weight, "weight", axes="(rows, columns)").double().square().mean()


def bulk_variance(weight: Tensor) -> Tensor:
    r"""Variance of the entries of the random matrix with the same median eigenvalue.

    Eigenvalues outside the bulk hardly move it while they are few. Where the rank is low the median is 0, and so is it.

    Args:
        weight: A matrix (rows, columns).

    Returns:
        0-d in float64.
    """
    x, aspect = _spectrum(weight)
    return x.quantile(0.5) / _median(aspect)


def soft_rank(weight: Tensor, variance: float) -> Tensor:
    r"""Upper edge of the random bulk over the largest eigenvalue, $\lambda^+/\lambda_{\max}$.

    About 1 for a random matrix of that variance, and near 0 where few eigenvalues stand far above the bulk.

    Args:
        weight: A matrix (rows, columns).
        variance: Of the entries that make the bulk: `bulk_variance` or `entry_variance`, or that of the initialisation.

    Returns:
        0-d in float64; 0 for a bulk without variance.

    Raises:
        UndefinedMetric: If the matrix is 0.
    """
    x, aspect = _spectrum(weight)
    upper = marchenko_pastur_edges(variance, aspect)[1]
    return upper / _positive(x[-1], "the matrix is 0, and so is its largest eigenvalue")


def _spectrum(weight: Tensor) -> tuple[Float[Tensor, " m"], float]:
    """Ascending eigenvalues of X, and Q."""
    weight = checks.matrix(weight, "weight", axes="(rows, columns)")
    s, rows, columns = _singular_values(weight), max(weight.shape), min(weight.shape)
    return (s.square() / rows).flip(0), rows / columns


def _singular_values(weight: Tensor) -> Float[Tensor, " m"]:
    return torch.linalg.svdvals(checks.matrix(weight, "weight", axes="(rows, columns)").double())


def _positive(value: Tensor, otherwise: str) -> Tensor:
    if not value > 0:
        raise UndefinedMetric(otherwise)
    return value


def _median(aspect: float) -> float:
    """Of the Marchenko-Pastur law of unit variance."""
    # With x = a + b cos t the density Q sqrt((high - x)(x - low)) / (2 pi x) is Q b^2 sin^2 t / (2 pi x) in t: smooth.
    low, high = marchenko_pastur_edges(1.0, aspect)
    a, b = (high + low) / 2, (high - low) / 2
    theta = (torch.arange(_POINTS, dtype=torch.float64) + 0.5) * (math.pi / _POINTS)
    places = a + b * theta.cos()
    mass = (aspect * b**2 * theta.sin().square() / (2 * math.pi * places) * (math.pi / _POINTS)).cumsum(0)
    return float(places[int(torch.searchsorted(mass, 0.5))])
