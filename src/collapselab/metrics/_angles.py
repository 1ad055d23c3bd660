"""Cosines between all pairs of directions, in tiles; only the heat-map is a K x K object."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._directions import mean_directions
from collapselab.metrics._pairs import class_pairs
from collapselab.metrics._tiles import gram_tiles

# Past this many classes a dense K x K matrix is no longer something to look at (128 MB).
_LARGEST_MAP = 4096


@dataclass(frozen=True, eq=False)
class Angles:
    """What the cosines between pairs of unit rows come to.

    Attributes:
        largest: (k,) largest cosine of each row with another.
        deviation: Mean over pairs of |cos + 1/(K-1)|.
    """

    largest: Float[Tensor, " k"]
    deviation: Float[Tensor, ""]

    @classmethod
    def between(cls, rows: Float[Tensor, "k d"]) -> "Angles":
        """Look at all pairs once.

        Args:
            rows: At least two unit rows.

        Returns:
            The summary.
        """
        k = rows.shape[0]
        largest, total = rows.new_full((k,), -math.inf), rows.new_zeros(())
        for tile in gram_tiles(rows):
            cosines = tile.values
            if tile.repeated is not None:
                cosines.masked_fill_(tile.repeated, -math.inf)
            largest[tile.rows] = torch.maximum(largest[tile.rows], cosines.amax(1))
            largest[tile.columns] = torch.maximum(largest[tile.columns], cosines.amax(0))
            if tile.repeated is not None:
                cosines.masked_fill_(tile.repeated, -1 / (k - 1))  # no pair: at its target, it adds nothing
            total += cosines.add_(1 / (k - 1)).abs_().sum()
        return cls(largest.clamp(-1.0, 1.0), total * (2 / (k * (k - 1))))


def mean_angles(stats: ClassStats) -> Angles:
    """Angles between centred class means, from the sweep over pairs that all metrics of means share.

    Args:
        stats: Class statistics.

    Returns:
        The summary.
    """
    mean_directions(stats)  # refuses coinciding means and a mean without direction
    pairs = class_pairs(stats)
    return Angles(pairs.largest_cosine.clamp(-1.0, 1.0), pairs.cosine_deviation)


def mean_cosines(stats: ClassStats) -> Tensor:
    """Cosines between all centred class means, for heat-maps.

    Args:
        stats: Class statistics.

    Returns:
        (k, k) matrix; the diagonal is 1.

    Raises:
        InputError: If there are too many classes for a dense matrix.
    """
    if stats.num_seen > _LARGEST_MAP:
        raise InputError(f"a matrix of cosines must have at most {_LARGEST_MAP} classes, got {stats.num_seen}")
    rows = mean_directions(stats)
    return (rows @ rows.T).clamp(-1.0, 1.0).fill_diagonal_(1.0)
