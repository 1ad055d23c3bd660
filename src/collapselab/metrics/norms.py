"""Sizes: how long features and classifier are. Collapse says nothing of them; models with decay do."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._rounding import resolution
from collapselab.metrics._spec import metric


@metric(
    label="Norm of the classifier",
    symbol=r"\|W\|_F",
    at_collapse=None,
    range=(0.0, math.inf),
    invariant_under=("rotation", "scale", "translation", "relabelling", "linear", "duplication"),
    needs=("head",),
    source="zhu2021",
)
def weight_norm(head: LinearHead) -> Float[Tensor, ""]:
    r"""Frobenius norm of the weight of the classifier, rows of classes never seen included.

    Where head and features are decayed with coefficients $\lambda_W$ and $\lambda_H$, every critical point of free
    features has $\lambda_W\|W\|_F^2=\lambda_H\|H\|_F^2$, with $\|H\|_F^2$ the number of samples times the square of
    `feature_norm`.

    Args:
        head: The classifier.

    Returns:
        Non-negative number.
    """
    largest = head.weight.abs().max()
    # Divided first, so that no square overflows.
    return largest * torch.linalg.vector_norm(head.weight / largest) if float(largest) > 0 else largest


@metric(
    label="Norm of the features",
    symbol=r"\|H\|_F/\sqrt N",
    at_collapse=None,
    range=(0.0, math.inf),
    invariant_under=("rotation", "relabelling", "head_scale", "duplication"),
    source="zhu2021",
)
def feature_norm(stats: ClassStats) -> Float[Tensor, ""]:
    r"""Root mean square norm of the features, over samples and not centred.

    $\sqrt{\tfrac1N\sum_i\|h_i\|^2}$: what the decay of features acts on.

    Args:
        stats: Class statistics.

    Returns:
        Non-negative number.

    Raises:
        UndefinedMetric: If squares of the features leave the range of float64.

    Example:
        >>> round(float(feature_norm(collapsed(classes=3))), 12)
        1.0
    """
    resolution(stats)  # refuses features whose squares are no numbers
    squares = stats.counts.double() * stats.means.square().sum(1) + stats.class_scatter
    return (squares.sum() / stats.num_samples).sqrt()
