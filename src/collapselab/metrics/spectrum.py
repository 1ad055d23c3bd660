"""Along how many directions features vary: of all samples, within classes, and of the class means."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._directions import two_classes
from collapselab.metrics._limits import OF_MEANS, on_a_simplex
from collapselab.metrics._rounding import resolution
from collapselab.metrics._spec import metric

_SIMPLEX_RANK = on_a_simplex(lambda num_classes: num_classes - 1.0)


def _exponential_of_entropy(eigenvalues: Float[Tensor, " r"]) -> Float[Tensor, ""]:
    p = eigenvalues.clamp_min(0) / eigenvalues.clamp_min(0).sum()
    return torch.special.entr(p).sum().exp().clamp_min(1.0)  # 1 - 1e-16 is rounding


def _means_variances(stats: ClassStats) -> Float[Tensor, " r"]:
    """Eigenvalues of Sigma_B, up to a factor, of the at most K - 1 directions there are."""
    two_classes(stats)
    s = stats.means_spectrum[0][: stats.num_seen - 1]
    if float(s[0]) <= math.sqrt(stats.num_seen) * resolution(stats):
        raise UndefinedMetric("the class means coincide")
    return (s / s[0]).square()


@metric(
    label="Effective rank of the features",
    symbol=r"\exp H\left(\lambda(\Sigma_T)/\operatorname{tr}\Sigma_T\right)",
    at_collapse=None,
    range=(1.0, math.inf),
    invariant_under=OF_MEANS,
    needs=("scatter",),
    source="roy2007",
)
def effective_rank(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Exponential of the entropy of the spectrum of the total covariance of the features.

    Roy and Vetterli's effective rank of $\Sigma_T=\tfrac1N\sum_i(h_i-\bar h)(h_i-\bar h)^T$: the singular values of a
    covariance are its eigenvalues, divided by their sum. Labels play no part. Collapse on a simplex with equally large
    classes brings it to K - 1; with other class sizes the limit depends on them.

    Args:
        stats: Class statistics with the scatter.

    Returns:
        Number between 1 and d.

    Raises:
        UndefinedMetric: If all samples are equal.
    """
    share = stats.counts.double() / stats.num_samples
    rows = (stats.means - stats.sample_mean) * share.sqrt()[:, None]
    total = torch.addmm(stats.within, rows.T, rows)
    if float(torch.trace(total)) <= resolution(stats) ** 2:
        raise UndefinedMetric("all samples are equal: nothing varies")
    return _exponential_of_entropy(torch.linalg.eigvalsh(total))


@metric(
    label="Effective rank of the class means",
    symbol=r"\exp H\left(\lambda(\Sigma_B)/\operatorname{tr}\Sigma_B\right)",
    at_collapse=_SIMPLEX_RANK,
    range=(1.0, math.inf),
    invariant_under=OF_MEANS,
    source="roy2007",
)
def effective_rank_means(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Exponential of the entropy of the spectrum of the covariance of the class means.

    Roy and Vetterli's effective rank of $\Sigma_B$, each class counted once: of the covariance, whose eigenvalues are
    the squared singular values of the centred means.

    Args:
        stats: Class statistics of at least two classes.

    Returns:
        Number between 1 and min(d, K - 1); K - 1 on a simplex.

    Example:
        >>> round(float(effective_rank_means(collapsed(classes=4))), 9)
        3.0
    """
    return _exponential_of_entropy(_means_variances(stats))


@metric(
    label="Participation ratio within classes",
    symbol=r"(\operatorname{tr}\Sigma_W)^2/\operatorname{tr}\Sigma_W^2",
    at_collapse=None,
    range=(1.0, math.inf),
    invariant_under=OF_MEANS,
    needs=("scatter",),
    source="gao2017",
)
def participation_ratio(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Effective number of directions of the within-class covariance.

    $(\operatorname{tr}\Sigma_W)^2/\operatorname{tr}(\Sigma_W^2)$, the $d_{\mathrm{eff}}$ of noise-corrected statistics.
    Collapse makes $\Sigma_W$ small and says nothing about its shape.

    Args:
        stats: Class statistics with the scatter.

    Returns:
        Number between 1 and d.

    Raises:
        UndefinedMetric: If the samples of each class are equal up to rounding.
    """
    within = stats.within
    trace = torch.trace(within)
    if float(trace) <= resolution(stats) ** 2:
        raise UndefinedMetric("the samples of each class are equal up to rounding: nothing varies within classes")
    return (within / trace).square().sum().reciprocal().clamp_min(1.0)  # 1 - 1e-16 is rounding


@metric(
    label="Participation ratio of the class means",
    symbol=r"(\operatorname{tr}\Sigma_B)^2/\operatorname{tr}\Sigma_B^2",
    at_collapse=_SIMPLEX_RANK,
    range=(1.0, math.inf),
    invariant_under=OF_MEANS,
    source="gao2017",
)
def participation_ratio_means(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Effective number of directions of the class means.

    $(\operatorname{tr}\Sigma_B)^2/\operatorname{tr}(\Sigma_B^2)$, each class counted once.

    Args:
        stats: Class statistics of at least two classes.

    Returns:
        Number between 1 and min(d, K - 1); K - 1 on a simplex.

    Example:
        >>> round(float(participation_ratio_means(collapsed(classes=4))), 9)
        3.0
    """
    variances = _means_variances(stats)
    return variances.sum().square() / variances.square().sum()
