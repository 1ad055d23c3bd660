"""The geometry of orthogonal class vectors aligned with orthogonal class means, where classes of one size are alike."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._geometry import Geometry


def frame_geometry(
    counts: Sequence[int], squared_weight: Callable[[int], float], squared_mean: Callable[[int], float]
) -> Geometry:
    """Orthogonal class vectors and class means, each class vector in the direction of its mean, no bias.

    Args:
        counts: Samples of each class.
        squared_weight: Squared norm of a class vector, by size of its class.
        squared_mean: Squared norm of a class mean, by size of its class.

    Returns:
        The geometry, with one group for each size of a class.
    """
    groups = Counter(counts)
    zeros = ((0.0,) * len(groups),) * len(groups)

    def frame(own: Callable[[int], float]) -> BlockMatrix:
        return BlockMatrix(tuple(groups.values()), tuple(own(count) for count in groups), zeros)

    logits = frame(lambda count: math.sqrt(squared_weight(count) * squared_mean(count)))
    return Geometry(frame(squared_weight), frame(squared_mean), logits, (0.0,) * len(groups))
