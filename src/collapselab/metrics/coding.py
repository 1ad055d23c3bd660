"""Maximal coding rate reduction (MCR2): bits, here nats, needed for the features as a whole and class by class.

Yu et al. 2020. Features are divided by their norms and not centred; the precision is their eps^2 = 0.5.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.linalg import add_gram, log_det_one_plus, mirrored
from collapselab.evidence.features import FeatureSource
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._class_grams import class_log_dets
from collapselab.metrics._directions import two_classes
from collapselab.metrics._samples import unit_chunks
from collapselab.metrics._spec import Invariance, metric

EPSILON_SQUARED = 0.5
"""Squared precision per sample at which rates are counted."""

_OF_UNIT_FEATURES: tuple[Invariance, ...] = ("rotation", "scale", "relabelling", "duplication")


def _gram(features: FeatureSource) -> tuple[Float[Tensor, "m m"], int, int]:
    """Z^T Z, or Z Z^T where there are fewer samples than coordinates; N; d."""
    held: list[Tensor] = []
    total: Tensor | None = None
    seen, d = 0, 0
    for z, _ in unit_chunks(features):
        seen, d = seen + z.shape[0], z.shape[1]
        held.append(z)
        if seen > d:
            total = z.new_zeros(d, d) if total is None else total
            for rows in held:
                add_gram(total, rows)
            held = []
    if total is not None:
        return mirrored(total), seen, d
    rows = torch.cat(held)
    return rows @ rows.T, seen, d


@metric(
    label="Coding rate",
    symbol=r"R=\tfrac12\log\det\left(I+\tfrac{d}{N\varepsilon^2}Z^TZ\right)",
    at_collapse=None,
    range=(0.0, math.inf),
    invariant_under=_OF_UNIT_FEATURES,
    needs=("features",),
    unit="nat",
    source="yu2020",
)
def coding_rate(features: FeatureSource) -> Float[Tensor, ""]:
    r"""Rate needed to code the features divided by their norms, all classes together.

    $R=\tfrac12\log\det(I+\tfrac{d}{N\varepsilon^2}Z^TZ)$ with unit rows in Z and $\varepsilon^2=0.5$. With fewer
    samples than coordinates the determinant is taken on the side of the samples.

    Args:
        features: The samples.

    Returns:
        Positive number of nats.
    """
    gram, n, d = _gram(features)
    return 0.5 * log_det_one_plus(gram.new_tensor([d / (n * EPSILON_SQUARED)]), gram[None])[0]


@metric(
    label="Coding rate of the classes",
    symbol=r"R_c=\sum_k\tfrac{n_k}{2N}\log\det\left(I+\tfrac{d}{n_k\varepsilon^2}Z_k^TZ_k\right)",
    at_collapse=lambda num_classes, num_features: 0.5 * math.log1p(num_features / EPSILON_SQUARED),
    range=(0.0, math.inf),
    invariant_under=_OF_UNIT_FEATURES,
    needs=("features",),
    unit="nat",
    source="yu2020",
)
def coding_rate_classes(stats: ClassStats, features: FeatureSource) -> Float[Tensor, ""]:
    r"""Rate needed to code the features divided by their norms, each class with a code of its own.

    $R_c=\sum_k\tfrac{n_k}{2N}\log\det(I+\tfrac{d}{n_k\varepsilon^2}Z_k^TZ_k)$. Up to 2^25 / d^2 classes of more than d
    samples, or 2^25 / d samples of smaller classes, one look at the features is enough.

    Args:
        stats: Sizes of the classes.
        features: The same samples again.

    Returns:
        Positive number of nats; half of log(1 + 2 d), the smallest possible, at collapse.
    """
    counts = stats.counts.double()
    log_dets = class_log_dets(stats, features, stats.num_features / (counts * EPSILON_SQUARED))
    return 0.5 * (counts / stats.num_samples) @ log_dets


@metric(
    label="Coding rate reduction",
    symbol=r"\Delta R=R-R_c",
    at_collapse=None,
    range=(0.0, math.inf),
    invariant_under=_OF_UNIT_FEATURES,
    needs=("features",),
    unit="nat",
    source="yu2020",
)
def coding_rate_reduction(stats: ClassStats, features: FeatureSource) -> Float[Tensor, ""]:
    r"""What knowing the classes saves: `coding_rate` minus `coding_rate_classes`.

    The objective of maximal coding rate reduction. It rewards classes that lie in mutually orthogonal subspaces and
    fill them, so a collapsed network does not have the largest value.

    Args:
        stats: Sizes of the classes, at least two.
        features: The same samples again.

    Returns:
        Non-negative number of nats.
    """
    two_classes(stats)
    # log det is concave, so the difference cannot be negative; rounding can.
    return (coding_rate(features) - coding_rate_classes(stats, features)).clamp_min(0)
