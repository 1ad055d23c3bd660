"""NC2 where the simplex no longer fits: how evenly the directions of the class means lie on the sphere.

All pairs of directions are looked at in tiles, once for all metrics of this family.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._directions import mean_directions, three_classes
from collapselab.metrics._limits import OF_MEANS, ZERO, on_a_simplex
from collapselab.metrics._pairs import ClassPairs, class_pairs
from collapselab.metrics._spec import metric


def _simplex_energy(num_classes: int) -> float:
    """-log of the edge of a unit simplex: the smallest mean energy K points can have in any dimension."""
    return -0.5 * math.log(2 * num_classes / (num_classes - 1))


# No two unit vectors are farther apart than 2.
_SMALLEST = -math.log(2)


def reference_energy(num_classes: int, num_features: int) -> float:
    r"""Mean of -log distance that evenly spread directions have.

    On the simplex for K <= d + 1; otherwise that of independent uniform directions,
    $-\tfrac12[\log 4+\psi(\tfrac{d-1}2)-\psi(d-1)]$, below which K well placed points can still fall a little.

    Args:
        num_classes: K >= 2.
        num_features: d.

    Returns:
        The reference.

    Raises:
        UndefinedMetric: If d = 1 and K > 2: three directions on a line coincide.
    """
    if num_classes <= num_features + 1:
        return _simplex_energy(num_classes)
    if num_features == 1:
        raise UndefinedMetric("more than two directions on a line coincide: -log of their distance is infinite")
    d = torch.tensor(num_features - 1.0, dtype=torch.float64)
    return -0.5 * float(math.log(4) + torch.digamma(d / 2) - torch.digamma(d))


def _pairs(stats: ClassStats) -> ClassPairs:
    three_classes(stats)
    mean_directions(stats)  # refuses coinciding means and a mean without direction
    return class_pairs(stats)


def _distinct_pairs(stats: ClassStats) -> ClassPairs:
    pairs = _pairs(stats)
    if pairs.parallel is not None:
        a, b = pairs.parallel
        raise UndefinedMetric(f"the means of classes {a} and {b} have the same direction: -log distance is infinite")
    return pairs


@metric(
    label="Uniformity of means, mean energy",
    symbol=r"\operatorname{mean}_{k<l}-\log\|\hat\mu_k-\hat\mu_l\|",
    at_collapse=on_a_simplex(_simplex_energy),
    range=(_SMALLEST, math.inf),
    invariant_under=OF_MEANS,
    unit="nat",
    source="liu2023",
)
def uniformity_mean(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Mean over pairs of -log distance between directions of the centred class means.

    Args:
        stats: Class statistics of at least three classes.

    Returns:
        Energy; $-\tfrac12\log\tfrac{2K}{K-1}$, the smallest possible, on a simplex.
    """
    return _distinct_pairs(stats).log_kernel_mean


@metric(
    label="Uniformity of means, variance of energy",
    symbol=r"\operatorname{var}_{k<l}-\log\|\hat\mu_k-\hat\mu_l\|",
    at_collapse=ZERO,
    range=(0.0, math.inf),
    invariant_under=OF_MEANS,
    unit="nat^2",
    source="wu2024",
)
def uniformity_variance(stats: ClassStats) -> Float[Tensor, ""]:
    """Variance over pairs of -log distance between directions of the centred class means.

    Divided by the number of pairs: they are all the pairs there are, not a sample of them.

    Args:
        stats: Class statistics of at least three classes.

    Returns:
        Non-negative number; 0 where all pairs are equally far apart.
    """
    return _distinct_pairs(stats).log_kernel_variance


@metric(
    label="Uniformity of means, energy above reference",
    symbol=r"\operatorname{mean}_{k<l}-\log\|\hat\mu_k-\hat\mu_l\|-e_{\mathrm{ref}}(K,d)",
    at_collapse=ZERO,
    range=(_SMALLEST, math.inf),
    invariant_under=OF_MEANS,
    unit="nat",
    source="liu2023",
)
def uniformity_excess(stats: ClassStats) -> Float[Tensor, ""]:
    """Mean energy of the directions above that of evenly spread ones, see `reference_energy`.

    Args:
        stats: Class statistics of at least three classes.

    Returns:
        Excess; non-negative for K <= d + 1, 0 on a simplex. Past that 0 is what independent directions have.
    """
    three_classes(stats)
    return uniformity_mean(stats) - reference_energy(stats.num_seen, stats.num_features)


def _rankin(num_classes: int, num_features: int) -> float | None:
    """Largest possible smallest distance; known to hold for K <= 2 d."""
    if 2 <= num_classes <= num_features + 1:
        return math.sqrt(2 * num_classes / (num_classes - 1))
    return math.sqrt(2) if num_classes <= 2 * num_features else None


@metric(
    label="Smallest distance between directions",
    symbol=r"\min_{k\ne l}\|\hat\mu_k-\hat\mu_l\|",
    at_collapse=_rankin,
    range=(0.0, 2.0),
    invariant_under=OF_MEANS,
    source="liu2023",
)
def minimum_distance(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Smallest distance between two directions of the centred class means.

    Rankin's bound is the limit: $\sqrt{2K/(K-1)}$ up to d + 1 classes (simplex), $\sqrt2$ up to 2d (orthoplex).

    Args:
        stats: Class statistics of at least three classes.

    Returns:
        Distance in [0, 2].
    """
    return _pairs(stats).smallest_distance
