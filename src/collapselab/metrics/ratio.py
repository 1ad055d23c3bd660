"""NC1 from traces alone: within-class over between-class spread, no d x d matrix.

Each class counts once, within and between, unless the name says sample-weighted.
"""

import math

from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.core.linalg import MEAN_ROUNDING
from collapselab.evidence.features import FeatureSource
from collapselab.evidence.stats import ClassStats, OnlineStats
from collapselab.metrics._directions import two_classes
from collapselab.metrics._limits import OF_MEANS
from collapselab.metrics._rounding import resolution
from collapselab.metrics._samples import unit_chunks
from collapselab.metrics._spec import metric


def separated_trace(stats: ClassStats) -> Float[Tensor, ""]:
    """Trace of Sigma_B, if there are two classes and their means differ by more than rounding.

    Args:
        stats: Class statistics.

    Returns:
        A positive number.

    Raises:
        UndefinedMetric: If the class means coincide.
    """
    two_classes(stats)
    if float(stats.between_trace) <= resolution(stats) ** 2:
        raise UndefinedMetric("the class means coincide")
    return stats.between_trace


@metric(
    label="NC1, trace ratio",
    symbol=r"R=\operatorname{tr}\Sigma_W/\operatorname{tr}\Sigma_B",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="tirer2022",
)
def nc1_trace_ratio(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Within-class over between-class spread, each class counted once.

    $R=\tfrac1K\sum_k v_k\,/\,\tfrac1K\sum_k\|\mu_k-\mu_G\|^2$ with $v_k$ the mean squared distance of a class to its
    mean.

    Args:
        stats: Class statistics of at least two classes.

    Returns:
        Non-negative number; 0 at collapse.

    Example:
        >>> float(nc1_trace_ratio(collapsed(classes=3)))
        0.0
    """
    return stats.class_variances.mean() / separated_trace(stats)


@metric(
    label="NC1, trace ratio per sample",
    symbol=r"\operatorname{tr}\Sigma_W/\operatorname{tr}\Sigma_{B,N}",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="tirer2022",
)
def nc1_trace_ratio_sample_weighted(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Within-class over between-class spread, each sample counted once.

    $\tfrac1N\sum_i\|h_i-\mu_{y_i}\|^2\,/\,\sum_k\tfrac{n_k}{N}\|\mu_k-\bar h\|^2$ about the mean of samples $\bar h$.
    These are the two parts of the total variance.

    Args:
        stats: Class statistics of at least two classes.

    Returns:
        Non-negative number, equal to `nc1_trace_ratio` where classes are equally large; 0 at collapse.
    """
    separated_trace(stats)
    share = stats.counts.double() / stats.num_samples
    between = share @ (stats.means - stats.sample_mean).square().sum(1)
    return stats.class_scatter.sum() / stats.num_samples / between


@metric(
    label="NC1, trace ratio without sampling bias",
    symbol=r"\hat R=\operatorname{tr}\hat\Sigma_W/\operatorname{tr}\hat\Sigma_B",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=("rotation", "scale", "translation", "relabelling"),
    source="kothapalli2023",
)
def nc1_trace_ratio_debiased(stats: ClassStats) -> Float[Tensor, ""]:
    r"""`nc1_trace_ratio` with unbiased estimates of both traces, comparable across sample sizes.

    $\operatorname{tr}\hat\Sigma_W=\tfrac1K\sum_k\hat v_k$ with $\hat v_k$ divided by $n_k-1$, and
    $\operatorname{tr}\hat\Sigma_B=\operatorname{tr}\Sigma_B-\tfrac{K-1}{K^2}\sum_k\hat v_k/n_k$: the means of few
    samples lie apart even where the classes do not.

    Args:
        stats: Class statistics of at least two classes, with two samples of each.

    Returns:
        Non-negative number; 0 at collapse.

    Raises:
        UndefinedMetric: If the class means are no further apart than sampling alone would put them.
    """
    between, k = separated_trace(stats), stats.num_seen
    variances = stats.class_variances_unbiased
    corrected = between - (k - 1) / k**2 * (variances / stats.counts.double()).sum()
    if float(corrected) <= 0:
        raise UndefinedMetric("the classes are not separable at this sample size: their means differ as noise would")
    return variances.mean() / corrected


@metric(
    label="Share of variation within classes",
    symbol=r"\omega=R/(1+R)",
    at_collapse=0.0,
    range=(0.0, 1.0),
    invariant_under=OF_MEANS,
    unit="fraction",
    source="tirer2022",
)
def within_fraction(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Share of the spread that lies within classes, each class counted once.

    $\omega=R/(1+R)=\operatorname{tr}\Sigma_W/(\operatorname{tr}\Sigma_W+\operatorname{tr}\Sigma_B)$ with R of
    `nc1_trace_ratio`; 1 where the class means coincide.

    Args:
        stats: Class statistics of at least two classes.

    Returns:
        Number in [0, 1]; 0 at collapse.

    Raises:
        UndefinedMetric: If all samples are equal.
    """
    two_classes(stats)
    within, total = stats.class_variances.mean(), stats.class_variances.mean() + stats.between_trace
    if float(total) <= resolution(stats) ** 2:
        raise UndefinedMetric("all samples are equal: nothing varies")
    return within / total


@metric(
    label="Variability of a class",
    symbol=r"v_k/\operatorname{tr}\Sigma_B",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="tirer2022",
    per_class=True,
)
def class_variability(stats: ClassStats) -> Float[Tensor, " k"]:
    """Mean squared distance of each class to its mean, over the spread of the class means.

    Their mean is `nc1_trace_ratio`.

    Args:
        stats: Class statistics of at least two classes.

    Returns:
        One non-negative number for each seen class; 0 at collapse.
    """
    return stats.class_variances / separated_trace(stats)


@metric(
    label="Class separation R²",
    symbol=r"R^2=1-\bar d_{\mathrm{within}}/\bar d_{\mathrm{total}}",
    at_collapse=1.0,
    range=(0.0, 1.0),
    invariant_under=("rotation", "scale", "relabelling", "duplication"),
    needs=("features",),
    source="kornblith2021",
)
def class_separation_r2(features: FeatureSource) -> Float[Tensor, ""]:
    r"""Share of the mean cosine distance between samples that lies between classes (Kornblith et al. 2021).

    $1-\bar d_{\mathrm{within}}/\bar d_{\mathrm{total}}$, pairs of samples weighted so that each class counts once, the
    pair of a sample with itself included. Equal to $\operatorname{tr}\Sigma_B/(\operatorname{tr}\Sigma_W+
    \operatorname{tr}\Sigma_B)$ of the features divided by their norms, hence O(N d) and without cancellation. Features
    are not centred: a common offset makes it large for any labels.

    Args:
        features: At least two classes.

    Returns:
        Number in [0, 1]; 1 at collapse.

    Raises:
        UndefinedMetric: If a feature is zero and so has no direction, or all have the same direction.
    """
    online = OnlineStats(features.num_classes, scatter=False)
    for z, y in unit_chunks(features):
        online.update(z, y)
    stats = online.stats()
    two_classes(stats)
    within, between = stats.class_variances.mean(), stats.between_trace
    if float(within + between) <= MEAN_ROUNDING**2:
        raise UndefinedMetric("all features have the same direction")
    return between / (within + between)
