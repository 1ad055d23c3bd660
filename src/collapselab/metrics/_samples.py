"""A second look at the samples, chunk by chunk, in float64 on the CPU or wherever the features are."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.core.linalg import accumulator_device
from collapselab.evidence.features import FeatureSource
from collapselab.evidence.stats import ClassStats

# Rows looked at together: with K scores or d coordinates for each, 2048 x 1000 float64 is 16 MB.
_ROWS = 2048


def unit_chunks(features: FeatureSource) -> Iterator[tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]]:
    """Features divided by their norms.

    Args:
        features: The samples.

    Yields:
        Unit rows in float64, with their labels.

    Raises:
        UndefinedMetric: If a feature is zero; the message names the sample.
    """
    seen = 0
    for chunk in features.chunks(_ROWS):
        device = accumulator_device(chunk.h.device)
        rows, labels = chunk.h.to(device).double(), chunk.y.to(device)
        norms = torch.linalg.vector_norm(rows, dim=1)
        if float(norms.min()) == 0:
            raise UndefinedMetric(f"the feature of sample {seen + int(norms.argmin())} is zero: it has no direction")
        yield rows / norms[:, None], labels
        seen += rows.shape[0]


def residual_chunks(
    stats: ClassStats, features: FeatureSource
) -> Iterator[tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]]:
    """Features minus the mean of their class.

    Args:
        stats: Where the means come from.
        features: The samples.

    Yields:
        Residuals in float64, and the row of `stats` that each sample's class has.

    Raises:
        UndefinedMetric: If a sample belongs to a class that has no mean.
    """
    device = stats.means.device
    row_of = torch.full((max(stats.num_classes, features.num_classes),), -1, dtype=torch.int64, device=device)
    row_of[stats.labels] = torch.arange(stats.num_seen, device=device)
    for chunk in features.chunks(_ROWS):
        at = row_of[chunk.y.to(device)]
        if int(at.min()) < 0:
            raise UndefinedMetric(f"class {int(chunk.y[at.argmin()])} has samples but no mean")
        yield chunk.h.to(device).double() - stats.means[at], at
