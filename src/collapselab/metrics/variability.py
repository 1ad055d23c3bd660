"""NC1: how much of the features' variation lies within classes."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.core.linalg import RANK_TOLERANCE
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._spec import metric


@metric(
    label="NC1, within / between",
    symbol=r"\tfrac1K\operatorname{tr}(\Sigma_W\Sigma_B^{+})",
    at_collapse=0.0,
    range=(0.0, math.inf),
    invariant_under=("rotation", "scale", "translation", "relabelling", "duplication"),
    needs=("scatter",),
    source="papyan2020",
)
def nc1_pinv(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Within-class covariance measured in the metric of the class means.

    $\tfrac1K \operatorname{tr}(\Sigma_W \Sigma_B^{+})$ with $\Sigma_W$ over samples and $\Sigma_B$ over the K class
    means, each counted once. Computed in the span of the means: with the thin SVD $C = U S V^T$ of the centred means it
    is $\sum_j v_j^T \Sigma_W v_j / s_j^2$, and no d x d matrix is inverted.

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
    s, v = stats.means_spectrum
    keep = s > RANK_TOLERANCE * s[0]
    keep[stats.num_seen - 1 :] = False  # K centred means span at most K-1 directions
    if stats.num_seen < 2 or float(s[0]) == 0:
        raise UndefinedMetric("the class means coincide")
    spread = ((stats.within @ v[:, keep]) * v[:, keep]).sum(0)
    return (spread / s[keep].square()).sum()
