"""Distances between all pairs of rows, tile by tile: K x K numbers are seen but never stored.

Metrics of class means do not sweep on their own: `collapselab.metrics._pairs.class_pairs` does one sweep for them all
(distances, cosines, log kernel), because the product behind the distances costs five times what is done with them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from collapselab.core.linalg import CLOSE_PAIR

# 1024 x 1024 float64 is 8 MB: large enough for full BLAS speed, small enough that what follows finds it in the cache.
TILE_ROWS = 1024

# Values subtracted at once where close pairs are computed directly: 32 MB.
_DIRECT_VALUES = 2**22


@dataclass(frozen=True, eq=False)
class Tile:
    """Pairs (i, j) with i in first .. first + a and j in second .. second + b.

    On a tile of the diagonal (``first == second``) only entries above its diagonal are pairs not met elsewhere.

    Attributes:
        first: Index of the first row of the tile.
        second: Index of its first column.
        values: What is known of each pair.
    """

    first: int
    second: int
    values: Float[Tensor, "a b"]

    @property
    def rows(self) -> slice:
        """Indices i."""
        return slice(self.first, self.first + self.values.shape[0])

    @property
    def columns(self) -> slice:
        """Indices j."""
        return slice(self.second, self.second + self.values.shape[1])

    @cached_property
    def repeated(self) -> Bool[Tensor, "a b"] | None:
        """Mask of the entries that are no new pair, on a tile of the diagonal; None elsewhere."""
        if self.first != self.second:
            return None
        return torch.ones_like(self.values, dtype=torch.bool).tril_()


class Workspace:
    """Memory for one tile, used again for the next: fresh pages for 8 MB cost more than most sweeps over them.

    Args:
        like: A tensor of the wanted dtype and device.
        tile: Rows and columns of the largest tile.
    """

    def __init__(self, like: Tensor, tile: int) -> None:
        self._memory = like.new_empty(tile * tile)

    def of(self, a: int, b: int) -> Float[Tensor, "a b"]:
        """Uninitialised values of a tile.

        Args:
            a: Its rows.
            b: Its columns.

        Returns:
            A contiguous view of the memory.
        """
        return self._memory[: a * b].view(a, b)


def gram_tiles(rows: Float[Tensor, "k d"], *, tile: int = TILE_ROWS) -> Iterator[Tile]:
    """Inner products of all unordered pairs of rows.

    Args:
        rows: The rows.
        tile: Rows and columns of a tile.

    Yields:
        Tiles on and above the diagonal; the caller may overwrite each, and the next one does.
    """
    kept = Workspace(rows, min(tile, rows.shape[0]))
    for first in range(0, rows.shape[0], tile):
        for second in range(first, rows.shape[0], tile):
            a, b = rows[first : first + tile], rows[second : second + tile]
            yield Tile(first, second, torch.mm(a, b.T, out=kept.of(a.shape[0], b.shape[0])))


def upper_tiles(rows: Float[Tensor, "k d"], *, tile: int = TILE_ROWS) -> Iterator[Tile]:
    """Squared distances of all unordered pairs of rows, each pair once, exact to about 1e-12 however close it is.

    Rows should be centred: a common offset cancels digits. Entries that are no new pair (the diagonal, and below it on
    a tile of the diagonal) are infinite, so that a minimum or a sum of inverses passes over them.

    Args:
        rows: The rows.
        tile: Rows and columns of a tile.

    Yields:
        Tiles on and above the diagonal; the caller may overwrite each, and the next one does.
    """
    norms = rows.square().sum(1)
    for block in gram_tiles(rows, tile=tile):
        squared_distances(rows, norms, block)
        if block.repeated is not None:
            block.values.masked_fill_(block.repeated, torch.inf)
        yield block


def squared_distances(rows: Float[Tensor, "k d"], norms: Float[Tensor, " k"], block: Tile) -> None:
    """Turn inner products into squared distances, in place.

    Args:
        rows: All rows.
        norms: Their squared norms.
        block: Inner products of some of them.
    """
    a, b = norms[block.rows, None], norms[block.columns]
    squared = block.values.mul_(-2).add_(a).add_(b)
    close = (squared < CLOSE_PAIR * (a + b)).nonzero()
    squared[close.unbind(1)] = direct(rows, close + close.new_tensor([block.first, block.second]))


def direct(rows: Float[Tensor, "k d"], pairs: Int[Tensor, "p 2"]) -> Float[Tensor, " p"]:
    """Squared distances of some pairs of rows, by subtracting them coordinate by coordinate.

    Args:
        rows: The rows.
        pairs: Indices of the rows of each pair.

    Returns:
        One squared distance for each pair.
    """
    size = max(_DIRECT_VALUES // rows.shape[1], 1)
    parts = [(rows[some[:, 0]] - rows[some[:, 1]]).square_().sum(1) for some in torch.split(pairs, size)]
    return torch.cat(parts)
