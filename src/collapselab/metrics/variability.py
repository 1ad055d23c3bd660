"""NC1 from the covariances: how much of the features' variation lies within classes.

"NC1" is several numbers in the literature; `collapselab.metrics.CONVENTIONS` says which paper used which. Sigma_W is
the pooled covariance over samples (divided by N). Sigma_B is that of the class means: each class counted once about the
mean of class means or, where a name says sample-weighted, each sample counted once about the mean of samples. The two
agree where classes are equally large.
"""

import math

from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.core.linalg import discriminant_shares, quadratic_forms, right_svd, structural_rank
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._directions import two_classes
from collapselab.metrics._limits import OF_MEANS
from collapselab.metrics._once import once
from collapselab.metrics._rounding import resolution
from collapselab.metrics._spec import Invariance, metric

# Not duplication: linearly independent samples have no index, and are no longer independent once they are repeated.
_OF_DISCRIMINANTS: tuple[Invariance, ...] = ("rotation", "scale", "translation", "relabelling", "linear")

_COINCIDE = "the class means coincide"


def _sample_weighted_rows(stats: ClassStats) -> Float[Tensor, "k d"]:
    """R with R^T R = Sigma_B, each sample counted once."""
    share = stats.counts.double() / stats.num_samples
    return (stats.means - stats.sample_mean) * share.sqrt()[:, None]


def _against_between(
    stats: ClassStats, s: Float[Tensor, " r"], v: Float[Tensor, "d r"], *, scale: float
) -> Float[Tensor, ""]:
    """tr(Sigma_W Sigma_B^+) with Sigma_B = V diag(s / scale)^2 V^T, in its own span; no d x d matrix is inverted."""
    rank = structural_rank(s, floor=scale * resolution(stats), most=stats.num_seen - 1)
    if rank == 0:
        raise UndefinedMetric(_COINCIDE)
    return (quadratic_forms(stats.within, v[:, :rank]) / (s[:rank] / scale).square()).sum()


@once
def _class_weighted_trace(stats: ClassStats) -> Float[Tensor, ""]:
    two_classes(stats)
    return _against_between(stats, *stats.means_spectrum, scale=math.sqrt(stats.num_seen))


@once
def _sample_weighted_trace(stats: ClassStats) -> Float[Tensor, ""]:
    if stats.imbalance == 1:  # the two weightings are one, and the spectrum is there already
        return _class_weighted_trace(stats)
    two_classes(stats)
    return _against_between(stats, *right_svd(_sample_weighted_rows(stats)), scale=1.0)


@metric(
    label="NC1, within / between",
    symbol=r"\tfrac1K\operatorname{tr}(\Sigma_W\Sigma_B^{+})",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    needs=("scatter",),
    source="papyan2020",
)
def nc1_pinv(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Within-class covariance measured in the metric of the class means, over the number of classes.

    $\tfrac1K \operatorname{tr}(\Sigma_W \Sigma_B^{+})$ with $\Sigma_W$ over samples and $\Sigma_B$ over the K class
    means, each counted once: the form with 1/K of Papyan et al. 2020 and Zhu et al. 2021. Computed in the span of the
    means, where the pseudo-inverse has a rank of at most K - 1. Directions in which the means do not differ do not
    count: with three classes on a line the variation across the line is left out.

    Args:
        stats: Class statistics of at least two classes, with the scatter.

    Returns:
        Non-negative number; 0 at collapse.

    Raises:
        UndefinedMetric: If the class means coincide, so that no direction separates classes.

    Example:
        >>> float(nc1_pinv(collapsed(classes=3)))
        0.0
    """
    return _class_weighted_trace(stats) / stats.num_seen


@metric(
    label="NC1, within / between, not divided by K",
    symbol=r"\operatorname{tr}(\Sigma_W\Sigma_B^{+})",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    needs=("scatter",),
    source="papyan2020",
)
def nc1_pinv_sum(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Within-class covariance in the metric of the class means, summed over directions.

    $\operatorname{tr}(\Sigma_W \Sigma_B^{+})$: the notebook published with Papyan et al. 2020 leaves the 1/K out.

    Args:
        stats: Class statistics of at least two classes, with the scatter.

    Returns:
        Non-negative number, K times `nc1_pinv`; 0 at collapse.

    Raises:
        UndefinedMetric: If the class means coincide.
    """
    return _class_weighted_trace(stats).clone()


@metric(
    label="NC1, within / between, per sample",
    symbol=r"\tfrac1K\operatorname{tr}(\Sigma_W\Sigma_{B,N}^{+})",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    needs=("scatter",),
    source="zhu2021",
)
def nc1_pinv_sample_weighted(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Within-class covariance in the metric of the class means weighted by class size, over the number of classes.

    $\tfrac1K \operatorname{tr}(\Sigma_W \Sigma_B^{+})$ with
    $\Sigma_B=\sum_k\tfrac{n_k}{N}(\mu_k-\bar h)(\mu_k-\bar h)^T$ about the mean of samples $\bar h$.

    Args:
        stats: Class statistics of at least two classes, with the scatter.

    Returns:
        Non-negative number, equal to `nc1_pinv` where classes are equally large; 0 at collapse.

    Raises:
        UndefinedMetric: If the class means coincide.
    """
    return _sample_weighted_trace(stats) / stats.num_seen


@metric(
    label="Fuzziness",
    symbol=r"\operatorname{tr}(SS_W\,SS_B^{+})",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    needs=("scatter",),
    source="he2023",
)
def fuzziness(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Separation fuzziness D of the law of data separation (He and Su 2023).

    $\operatorname{tr}(SS_W\,SS_B^{+})$ with both scatters over samples: $SS_B=\tfrac1N\sum_k
    n_k(\mu_k-\bar h)(\mu_k-\bar h)^T$ about the mean of samples. At the end of training it falls by a constant factor
    from layer to layer.

    Args:
        stats: Class statistics of at least two classes, with the scatter.

    Returns:
        Non-negative number, K times `nc1_pinv_sample_weighted`; 0 at collapse.

    Raises:
        UndefinedMetric: If the class means coincide.
    """
    return _sample_weighted_trace(stats).clone()


@once
def _shares(stats: ClassStats) -> Float[Tensor, " r"]:
    """1 / (1 + lambda_j) for the discriminant directions, both covariances over samples."""
    two_classes(stats)
    rows = _sample_weighted_rows(stats)
    s = right_svd(rows)[0] if stats.imbalance > 1 else stats.means_spectrum[0] / math.sqrt(stats.num_seen)
    rank = structural_rank(s, floor=resolution(stats), most=stats.num_seen - 1)
    if rank == 0:
        raise UndefinedMetric(_COINCIDE)
    shares, total_rank = discriminant_shares(rows, stats.within, rank=rank)
    if total_rank >= stats.num_samples - 1:
        reason = f"the {stats.num_samples} samples are linearly independent (d = {stats.num_features})"
        raise UndefinedMetric(f"{reason}: any labels separate them perfectly, and the value would be the same for all")
    return shares


@metric(
    label="Variability collapse index",
    symbol=r"1-\operatorname{tr}(\Sigma_T^{+}\Sigma_B)/\operatorname{rank}\Sigma_B",
    at_collapse=0.0,
    range=(0.0, 1.0),
    invariant_under=_OF_DISCRIMINANTS,
    needs=("scatter",),
    source="xu2023",
)
def vci(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Variability collapse index: the share of variation within classes, averaged over discriminant directions.

    $1-\operatorname{tr}(\Sigma_T^{+}\Sigma_B)/\operatorname{rank}\Sigma_B$ with both covariances over samples (Xu and
    Liu 2023). In general position the rank is min(d, K - 1). With the generalised eigenvalues $\lambda_j$ of
    $(\Sigma_B,\Sigma_W)$ it is the mean of $1/(1+\lambda_j)$, which is how it is computed.

    Args:
        stats: Class statistics of at least two classes, with the scatter.

    Returns:
        Number in [0, 1]; 0 at collapse.

    Raises:
        UndefinedMetric: If the class means coincide; or if the samples are linearly independent, as N - 1 <= d samples
            are in general: the index is then 0 for any labels.
    """
    return _shares(stats).mean()


@metric(
    label="H-score",
    symbol=r"\operatorname{tr}(\Sigma_T^{+}\Sigma_B)",
    at_collapse=lambda num_classes, num_features: float(min(num_classes - 1, num_features)),
    range=(0.0, math.inf),
    invariant_under=_OF_DISCRIMINANTS,
    needs=("scatter",),
    source="bao2019",
)
def h_score(stats: ClassStats) -> Float[Tensor, ""]:
    r"""H-score $\operatorname{tr}(\Sigma_T^{+}\Sigma_B)$: the number of directions that separate classes, in effect.

    Another scale of `vci`: rank of $\Sigma_B$ times (1 - vci). Both covariances over samples (Bao et al. 2019).

    Args:
        stats: Class statistics of at least two classes, with the scatter.

    Returns:
        Number between 0 and min(d, K - 1), which it reaches at collapse if the means are in general position.

    Raises:
        UndefinedMetric: Where `vci` is.
    """
    return (1 - _shares(stats)).sum()
