"""Class-distance normalised variance (CDNV): how large two classes are, seen from each other.

Three normalisations of a pair are in circulation, each with its own name here: half-symmetric `cdnv`, `cdnv_ordered`
and `cdnv_unhalved`. The mean over pairs is undefined where two class means coincide; `cdnv_aggregate`, a ratio of
averages, is not. The K x K values themselves are given by the ``..._matrix`` functions.
"""

import math

from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._directions import two_classes
from collapselab.metrics._limits import OF_MEANS
from collapselab.metrics._pairs import ClassPairs, class_pairs
from collapselab.metrics._spec import metric
from collapselab.metrics._tiles import upper_tiles
from collapselab.metrics.ratio import nc1_trace_ratio, nc1_trace_ratio_debiased

# Past this many classes a dense K x K matrix is no longer something to look at (128 MB).
LARGEST_MATRIX = 4096


def distinct_pairs(stats: ClassStats) -> ClassPairs:
    """Sums over pairs, if no two class means coincide.

    Args:
        stats: Class statistics.

    Returns:
        The sums.

    Raises:
        UndefinedMetric: If two class means are equal up to rounding; the message names the classes.
    """
    pairs = class_pairs(stats)
    if pairs.coincident is not None:
        a, b = pairs.coincident
        raise UndefinedMetric(f"the means of classes {a} and {b} coincide: their distance is zero")
    return pairs


def _mean_over_pairs(stats: ClassStats) -> Float[Tensor, ""]:
    # (v_i + v_j) / (2 D^2) summed over i < j is half of v_i / D^2 summed over all ordered pairs.
    return stats.class_variances @ distinct_pairs(stats).inverse_squared / (stats.num_seen * (stats.num_seen - 1))


@metric(
    label="CDNV",
    symbol=r"\operatorname{mean}_{i<j}\frac{v_i+v_j}{2\|\mu_i-\mu_j\|^2}",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="galanti2021",
)
def cdnv(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Class-distance normalised variance, mean over pairs of classes.

    $V_{ij}=(v_i+v_j)/(2\|\mu_i-\mu_j\|^2)$ with $v_k$ the mean squared distance of a class to its mean: the
    half-symmetric form of Galanti et al. 2021.

    Args:
        stats: Class statistics of at least two classes.

    Returns:
        Non-negative number; 0 at collapse.

    Example:
        >>> float(cdnv(collapsed(classes=3)))
        0.0
    """
    return _mean_over_pairs(stats)


@metric(
    label="CDNV, ordered pairs",
    symbol=r"\operatorname{mean}_{i\ne j}\frac{v_i}{\|\mu_i-\mu_j\|^2}",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="galanti2022",
)
def cdnv_ordered(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Class-distance normalised variance of ordered pairs, mean over them.

    $V_{ij}=v_i/\|\mu_i-\mu_j\|^2$, the asymmetric form of the later papers of Galanti et al. Single pairs differ from
    the half-symmetric form; the mean over all ordered pairs is the same number as `cdnv`.

    Args:
        stats: Class statistics of at least two classes.

    Returns:
        Non-negative number; 0 at collapse.
    """
    return _mean_over_pairs(stats)


@metric(
    label="CDNV, not halved",
    symbol=r"\operatorname{mean}_{i<j}\frac{v_i+v_j}{\|\mu_i-\mu_j\|^2}",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="luthra2025",
)
def cdnv_unhalved(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Class-distance normalised variance without the factor one half, mean over pairs.

    $V_{ij}=(v_i+v_j)/\|\mu_i-\mu_j\|^2$, twice `cdnv`.

    Args:
        stats: Class statistics of at least two classes.

    Returns:
        Non-negative number; 0 at collapse.
    """
    return 2 * _mean_over_pairs(stats)


@metric(
    label="CDNV of averages",
    symbol=r"\frac{\operatorname{mean}_k v_k}{\operatorname{mean}_{i<j}\|\mu_i-\mu_j\|^2}=\frac{K-1}{2K}R",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="galanti2021",
)
def cdnv_aggregate(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Ratio of averages in place of the average of ratios: mean variance over mean squared distance of two means.

    The mean of $\|\mu_i-\mu_j\|^2$ over pairs is $\tfrac{2K}{K-1}\operatorname{tr}\Sigma_B$, so this is
    `nc1_trace_ratio` times $\tfrac{K-1}{2K}$. It differs from `cdnv` only through unequal distances.

    Args:
        stats: Class statistics of at least two classes.

    Returns:
        Non-negative number; 0 at collapse.
    """
    return nc1_trace_ratio(stats) * ((stats.num_seen - 1) / (2 * stats.num_seen))


@metric(
    label="CDNV of averages, without sampling bias",
    symbol=r"\tfrac{K-1}{2K}\hat R",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=("rotation", "scale", "translation", "relabelling"),
    source="kothapalli2023",
)
def cdnv_aggregate_debiased(stats: ClassStats) -> Float[Tensor, ""]:
    r"""`cdnv_aggregate` with unbiased estimates of variance and squared distance.

    Defined for fewer samples than `cdnv_debiased`, because only the average distance must rise above the noise.

    Args:
        stats: Class statistics of at least two classes, with two samples of each.

    Returns:
        Non-negative number; 0 at collapse.
    """
    return nc1_trace_ratio_debiased(stats) * ((stats.num_seen - 1) / (2 * stats.num_seen))


@metric(
    label="CDNV without sampling bias",
    symbol=r"\operatorname{mean}_{i<j}\frac{\hat v_i+\hat v_j}{2(\|\mu_i-\mu_j\|^2-\hat v_i/n_i-\hat v_j/n_j)}",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=("rotation", "scale", "translation", "relabelling"),
    source="galanti2021",
)
def cdnv_debiased(stats: ClassStats) -> Float[Tensor, ""]:
    r"""`cdnv` with unbiased estimates of variances and squared distances: few samples do not make it small.

    Args:
        stats: Class statistics of at least two classes, with two samples of each.

    Returns:
        Non-negative number; 0 at collapse.

    Raises:
        UndefinedMetric: If the means of some pair are no further apart than sampling alone would put them, or a class
            has a single sample.
    """
    variances, pairs = stats.class_variances_unbiased, distinct_pairs(stats)
    if pairs.inseparable or pairs.debiased_inverse is None:
        share = f"{pairs.inseparable} of {pairs.num_pairs} pairs of classes"
        raise UndefinedMetric(f"{share} are not separable at this sample size; cdnv_aggregate_debiased may exist")
    return variances @ pairs.debiased_inverse / (2 * pairs.num_pairs)


@metric(
    label="CDNV, worst pair",
    symbol=r"\max_{i<j}\frac{v_i+v_j}{2\|\mu_i-\mu_j\|^2}",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="galanti2021",
)
def cdnv_max(stats: ClassStats) -> Float[Tensor, ""]:
    """Largest half-symmetric class-distance normalised variance of a pair.

    Args:
        stats: Class statistics of at least two classes.

    Returns:
        Non-negative number; 0 at collapse.
    """
    return distinct_pairs(stats).worst.max()


@metric(
    label="CDNV with the worst other class",
    symbol=r"\max_{j\ne k}\frac{v_k+v_j}{2\|\mu_k-\mu_j\|^2}",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    source="galanti2021",
    per_class=True,
)
def class_cdnv_nearest(stats: ClassStats) -> Float[Tensor, " k"]:
    """Largest half-symmetric class-distance normalised variance of each class with another.

    Args:
        stats: Class statistics of at least two classes.

    Returns:
        One non-negative number for each seen class; 0 at collapse.
    """
    return distinct_pairs(stats).worst.clone()


def cdnv_matrix(stats: ClassStats, *, diagonal: float) -> Tensor:
    """Half-symmetric values $(v_i+v_j)/(2|mu_i-mu_j|^2)$ of all pairs, in the order of `stats.labels`.

    Args:
        stats: Class statistics of 2 to 4096 classes.
        diagonal: What to put where there is no pair.

    Returns:
        (k, k), symmetric.
    """
    v, inverse = stats.class_variances, _inverse_squares(stats)
    return _filled((v[:, None] + v) / 2 * inverse, diagonal)


def cdnv_ordered_matrix(stats: ClassStats, *, diagonal: float) -> Tensor:
    """Ordered values $v_i/|mu_i-mu_j|^2$, row i and column j, in the order of `stats.labels`.

    Args:
        stats: Class statistics of 2 to 4096 classes.
        diagonal: What to put where there is no pair.

    Returns:
        (k, k).
    """
    return _filled(stats.class_variances[:, None] * _inverse_squares(stats), diagonal)


def cdnv_unhalved_matrix(stats: ClassStats, *, diagonal: float) -> Tensor:
    """Values without the half, $(v_i+v_j)/|mu_i-mu_j|^2$, of all pairs, in the order of `stats.labels`.

    Args:
        stats: Class statistics of 2 to 4096 classes.
        diagonal: What to put where there is no pair.

    Returns:
        (k, k), symmetric.
    """
    v, inverse = stats.class_variances, _inverse_squares(stats)
    return _filled((v[:, None] + v) * inverse, diagonal)


def _inverse_squares(stats: ClassStats) -> Float[Tensor, "k k"]:
    """1 / D_ij^2 of all pairs; zero on the diagonal."""
    k = stats.num_seen
    if k > LARGEST_MATRIX:
        raise InputError(f"a matrix of pairs holds at most {LARGEST_MATRIX} classes, got {k}; cdnv needs no matrix")
    two_classes(stats)
    distinct_pairs(stats)
    inverse = stats.means.new_zeros(k, k)
    for tile in upper_tiles(stats.centred_means):
        inverse[tile.rows, tile.columns] = tile.values.reciprocal_()
    return inverse + inverse.T


def _filled(values: Float[Tensor, "k k"], diagonal: float) -> Float[Tensor, "k k"]:
    return values.fill_diagonal_(diagonal)
